//! The boards that can be built: a kas file each. They are listed for people in tables, which have to name them all.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::Context;

use super::{Outcome, files_below};

/// The board whose machine the session of [`super::parse::DEFAULT`] is for.
pub(super) const OF_THE_DEFAULT: &str = "kas/qemux86-64.yml";

/// Where people look for a board.
const TABLES: &[&str] = &["README.md", "meta-fleet/README.md", "docs/layer-report.md"];

/// A kas file that names a machine.
pub(super) struct Board {
    /// From the root of the repository.
    pub(super) file: String,
    pub(super) machine: String,
}

/// All of them.
pub(super) fn all(top: &Path) -> anyhow::Result<Vec<Board>> {
    let mut boards = Vec::new();
    for (file, text) in files(top)? {
        if let Some(machine) = text.lines().find_map(|line| line.strip_prefix("machine: ")) {
            boards.push(Board {
                file,
                machine: machine.trim().to_owned(),
            });
        }
    }
    Ok(boards)
}

/// `kas.yml` with every option, as one kas argument. An option is a file that includes nothing.
pub(super) fn with_every_option(top: &Path) -> anyhow::Result<String> {
    let mut argument = "kas.yml".to_owned();
    for (file, text) in files(top)? {
        if !text.contains("includes:") && file != "kas/base.yml" {
            argument.push(':');
            argument.push_str(&file);
        }
    }
    Ok(argument)
}

/// The files of kas/ that are not only there to be included, and their text.
fn files(top: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let folder = top.join("kas");
    let mut files = Vec::new();
    for path in files_below(&folder)? {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if path.parent() == Some(&folder) && name.ends_with(".yml") && !name.ends_with(".lock.yml") {
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            files.push((format!("kas/{name}"), text));
        }
    }
    Ok(files)
}

/// Whether the tables name every machine in their first column, and no other.
pub(super) fn check(top: &Path) -> anyhow::Result<Outcome> {
    let boards = all(top)?;
    let machines: BTreeSet<&str> = boards.iter().map(|board| board.machine.as_str()).collect();
    let mut problems = Vec::new();
    for table in TABLES {
        let text = fs::read_to_string(top.join(table)).with_context(|| format!("cannot read {table}"))?;
        let named = named(&text);
        for machine in machines.difference(&named) {
            problems.push(format!("{table} has no line for {machine}"));
        }
        for machine in named.difference(&machines) {
            problems.push(format!(
                "{table} has {machine}, for which there is no file in kas/"
            ));
        }
    }
    Ok(if problems.is_empty() {
        Outcome::Passed(machines.into_iter().collect::<Vec<_>>().join(" "))
    } else {
        Outcome::Failed(problems.join("; "))
    })
}

/// The machines in the first column of the table that is headed "machine".
fn named(text: &str) -> BTreeSet<&str> {
    text.lines()
        .skip_while(|line| !line.starts_with("| machine |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .filter_map(|line| line.split('|').nth(1))
        .flat_map(|cell| cell.split(','))
        .map(|machine| machine.trim().trim_matches('`'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_those_of_the_first_column() {
        let text = "| x |\n\n| machine | y |\n|---|---|\n| `a`, `b-64` | `c` |\n\n| `d` | |\n";
        assert_eq!(named(text), ["a", "b-64"].into());
    }
}
