//! Do the Yocto image and the reference image hold the same? Their package lists use the names of two distributions;
//! `reference/counterparts` puts them side by side, and is held against both lists here.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, bail};

use super::{Outcome, recipe};

/// The file that puts them side by side.
const COUNTERPARTS: &str = "reference/counterparts";

/// The recipes that name packages of the image, and in which variables. The services' recipe is one more.
const RECIPES: &[(&str, &[&str])] = &[
    (
        "meta-fleet/recipes-core/packagegroups/packagegroup-fleet.bb",
        &["RDEPENDS:${PN}", "RRECOMMENDS:${PN}"],
    ),
    (
        "meta-fleet/recipes-core/images/fleet-image.bb",
        &["IMAGE_INSTALL"],
    ),
];

/// Holds the three lists together.
pub(super) fn check(top: &Path) -> anyhow::Result<Outcome> {
    let read = |name: &str| fs::read_to_string(top.join(name)).with_context(|| format!("cannot read {name}"));
    let rows = rows(&read(COUNTERPARTS)?)?;

    let debian: BTreeSet<String> = read("reference/packages")?
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    let mut yocto = BTreeSet::new();
    for (path, variables) in RECIPES {
        let text = read(path)?;
        for variable in *variables {
            yocto.extend(
                recipe::values(&text, variable)
                    .iter()
                    .flat_map(|value| packages(value)),
            );
        }
    }
    for variable in ["RDEPENDS:${PN}", "RRECOMMENDS:${PN}"] {
        yocto.extend(recipe::words(top, variable)?);
    }

    let mut problems = Vec::new();
    compare(
        &mut problems,
        "reference/packages",
        &debian,
        rows.iter().flat_map(|row| &row.debian),
    );
    compare(
        &mut problems,
        "the recipes",
        &yocto,
        rows.iter().flat_map(|row| &row.yocto),
    );
    Ok(if problems.is_empty() {
        Outcome::Passed(format!(
            "{} of Debian, {} of OpenEmbedded",
            debian.len(),
            yocto.len()
        ))
    } else {
        Outcome::Failed(problems.join("; "))
    })
}

/// A line of the file: the names of either side.
struct Row {
    debian: Vec<String>,
    yocto: Vec<String>,
}

fn rows(text: &str) -> anyhow::Result<Vec<Row>> {
    let side = |names: &str| -> Vec<String> {
        names
            .split_whitespace()
            .filter(|&name| name != "-")
            .map(str::to_owned)
            .collect()
    };
    let mut rows = Vec::new();
    for line in text.lines() {
        let (names, reason) = line.split_once('#').unwrap_or((line, ""));
        if names.trim().is_empty() {
            continue;
        }
        let Some((debian, yocto)) = names.split_once(" : ") else {
            bail!("{COUNTERPARTS}: {line:?} has no ' : '");
        };
        let row = Row {
            debian: side(debian),
            yocto: side(yocto),
        };
        if (row.debian.is_empty() || row.yocto.is_empty()) && reason.trim().is_empty() {
            bail!("{COUNTERPARTS}: {line:?} does not say why one side has nothing");
        }
        rows.push(row);
    }
    Ok(rows)
}

/// The packages that a value names: its words, but for variables of the machine; and those that
/// `bb.utils.contains` adds where a feature is on, which is the case on the reference image.
fn packages(value: &str) -> Vec<String> {
    let names = match value.strip_prefix("${@bb.utils.contains(") {
        // ('DISTRO_FEATURES', 'wifi', 'these', '', d)
        Some(arguments) => arguments.split('\'').nth(5).unwrap_or_default(),
        None => value,
    };
    names
        .split_whitespace()
        .filter(|name| !name.contains('$'))
        .map(str::to_owned)
        .collect()
}

/// Every package of `list` must be in one row, and every row's in `list`.
fn compare<'a>(
    problems: &mut Vec<String>,
    list: &str,
    there: &BTreeSet<String>,
    rows: impl Iterator<Item = &'a String>,
) {
    let mut seen = BTreeSet::new();
    for name in rows {
        if !there.contains(name) {
            problems.push(format!("{COUNTERPARTS} has {name}, which {list} do not name"));
        }
        if !seen.insert(name) {
            problems.push(format!("{COUNTERPARTS} has {name} twice"));
        }
    }
    for name in there.iter().filter(|name| !seen.contains(name)) {
        problems.push(format!(
            "{name} is in {list} and has no line in {COUNTERPARTS}: name its counterpart, or say why it has none"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_without_a_package_needs_a_reason() {
        assert!(rows("udev : -   # comes with systemd\na b : c\n").is_ok());
        assert!(rows("udev : -\n").is_err());
        assert!(rows("udev\n").is_err());
    }

    #[test]
    fn both_directions_are_compared() {
        let there = ["a", "b"].map(str::to_owned).into();
        let mut problems = Vec::new();
        compare(
            &mut problems,
            "the list",
            &there,
            ["b", "c", "b"].map(str::to_owned).iter(),
        );
        assert_eq!(problems.len(), 3, "{problems:?}");
    }

    #[test]
    fn what_a_feature_adds_counts_and_the_machine_s_variables_do_not() {
        assert_eq!(
            packages("${@bb.utils.contains('DISTRO_FEATURES', 'wifi', 'iw crda', '', d)}"),
            ["iw", "crda"]
        );
        assert_eq!(packages("a ${MACHINE_EXTRA_RDEPENDS} b"), ["a", "b"]);
    }
}
