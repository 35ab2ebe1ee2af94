//! Does the recipe name every licence of what is linked into its executables? cargo knows the crates and what they are
//! under; deny.toml says which licence is taken where a crate leaves the choice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use spdx::{Expression, Licensee, ParseMode};

use super::{Outcome, output, recipe};

/// The workspace's own, whose text is the repository's `LICENSE`.
const OWN: &str = "Apache-2.0";

/// Compares `LICENSE` and `LIC_FILES_CHKSUM` with the crates.
pub(super) fn check(top: &Path) -> anyhow::Result<Outcome> {
    let linked = linked(top)?;
    let named: BTreeSet<String> = recipe::words(top, "LICENSE")?
        .into_iter()
        .filter(|word| word != "&")
        .collect();
    let texts = recipe::words(top, "LIC_FILES_CHKSUM")?;
    let mut problems = Vec::new();
    for (licence, crates) in &linked {
        if !named.contains(licence) {
            let crates: Vec<&str> = crates.iter().map(String::as_str).collect();
            problems.push(format!(
                "LICENSE of the recipe lacks {licence}, of {}",
                crates.join(", ")
            ));
        }
    }
    for licence in &named {
        if !linked.contains_key(licence) {
            problems.push(format!(
                "LICENSE of the recipe has {licence}, which nothing is under"
            ));
        }
        let text = format!("file://${{COMMON_LICENSE_DIR}}/{licence};");
        if licence != OWN && !texts.iter().any(|there| there.starts_with(&text)) {
            problems.push(format!("LIC_FILES_CHKSUM of the recipe has no text of {licence}"));
        }
    }
    Ok(if problems.is_empty() {
        Outcome::Passed(named.into_iter().collect::<Vec<_>>().join(" & "))
    } else {
        Outcome::Failed(problems.join("; "))
    })
}

/// The licences of what the recipe's executables are linked of, and the crates under each. Macros run on the build machine.
fn linked(top: &Path) -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
    let deny = fs::read_to_string(top.join("deny.toml")).context("cannot read deny.toml")?;
    let accepted = list(&deny, "allow")
        .iter()
        .map(|name| Licensee::parse(name).with_context(|| format!("deny.toml allows {name}")))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let flags: Vec<String> = recipe::words(top, "CARGO_BUILD_FLAGS")?
        .into_iter()
        .filter(|flag| flag != "--bins")
        .collect();
    let mut linked: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for target in list(&deny, "targets") {
        let mut cargo = Command::new("cargo");
        cargo
            .args(["tree", "--locked", "--quiet", "--prefix", "none"])
            .args(["--edges", "normal,no-proc-macro", "--format", "{p}|{l}"])
            .args(["--target", target])
            .args(&flags)
            .current_dir(top);
        let (success, said) = output(&mut cargo)?;
        ensure!(success, "cargo tree: {said}");
        for line in said.lines() {
            let Some((package, licence)) = line.split_once('|') else {
                continue;
            };
            let licence = licence.trim_end_matches(" (*)");
            let name = package.split(' ').next().unwrap_or_default();
            for licence in chosen(licence, &accepted).with_context(|| format!("{name} is under {licence}"))? {
                linked.entry(licence).or_default().insert(name.to_owned());
            }
        }
    }
    ensure!(!linked.is_empty(), "cargo tree names no crate");
    Ok(linked)
}

/// What is taken of a crate's licences, by the order of those that are accepted.
fn chosen(licence: &str, accepted: &[Licensee]) -> anyhow::Result<Vec<String>> {
    // Old crates have a slash for OR.
    let expression = Expression::parse_mode(licence, ParseMode::LAX)?;
    let needed = expression.minimized_requirements(accepted)?;
    Ok(needed.iter().map(ToString::to_string).collect())
}

/// The strings of the one-line list `key` in a TOML file.
fn list<'a>(toml: &'a str, key: &str) -> Vec<&'a str> {
    toml.lines()
        .find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix('='))
        .map(|value| value.split('"').skip(1).step_by(2).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_made_and_a_sum_is_not() {
        let accepted = ["Apache-2.0", "MIT", "Unicode-3.0"].map(|name| Licensee::parse(name).unwrap());
        let chosen = |licence| chosen(licence, &accepted).unwrap();
        assert_eq!(chosen("MIT/Apache-2.0"), ["Apache-2.0"]);
        assert_eq!(chosen("Unlicense OR MIT"), ["MIT"]);
        let mut sum = chosen("(MIT OR Apache-2.0) AND Unicode-3.0");
        sum.sort();
        assert_eq!(sum, ["Apache-2.0", "Unicode-3.0"]);
        assert!(super::chosen("GPL-3.0-only", &accepted).is_err());
    }

    #[test]
    fn lists_are_read() {
        assert_eq!(list("allowed = 1\nallow = [\"a\", \"b\"]\n", "allow"), ["a", "b"]);
    }
}
