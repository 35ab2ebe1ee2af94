//! What BitBake has shown of each machine: kept below `build/layer/proofs` as it comes, and written out as
//! docs/layer-report.md, which names no machine that it ran on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use super::bitbake::{Section, name};
use super::parse::{Depth, Figures};
use super::{boards, output};

/// One session that ended without an error or a warning.
#[derive(Serialize, Deserialize)]
pub(super) struct Proof {
    machine: String,
    /// The kas file.
    file: String,
    /// Recipes that were parsed: all, or those of the folders that the images need.
    parsed: String,
    whole: bool,
    /// Recipes and tasks of `fleet-image`.
    recipes: String,
    tasks: String,
    /// Tasks of the dry run.
    attempted: Option<String>,
    date: String,
    commit: String,
}

impl Proof {
    /// Of a session for the kas file `file`.
    pub(super) fn of(top: &Path, file: &str, depth: Depth, sections: &[Section]) -> anyhow::Result<Self> {
        let figures = Figures::of(sections, depth.dry_run).context("BitBake's output has no figures")?;
        Ok(Self {
            machine: figures.machine.to_owned(),
            file: file.to_owned(),
            parsed: figures.parsed.to_owned(),
            whole: depth.whole,
            recipes: figures.recipes.to_owned(),
            tasks: figures.tasks.to_owned(),
            attempted: figures.attempted.map(str::to_owned),
            date: said(Command::new("date").args(["-u", "+%F"]))?,
            commit: said(
                Command::new("git")
                    .args(["describe", "--always", "--dirty", "--exclude=*"])
                    .current_dir(top),
            )?,
        })
    }

    /// Keeps it until the next of the same kas file.
    pub(super) fn keep(&self, top: &Path) -> anyhow::Result<()> {
        let folder = folder(top);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let path = folder.join(format!("{}.json", name(&self.file)));
        fs::write(&path, serde_json::to_string_pretty(self)?)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn row(&self) -> String {
        format!(
            "| `{}` | `{}` | {}{} | {} | {} | {} | {}, `{}` |\n",
            self.machine,
            self.file,
            self.parsed,
            if self.whole { ", all" } else { "" },
            self.recipes,
            self.tasks,
            self.attempted.as_deref().unwrap_or("–"),
            self.date,
            self.commit
        )
    }
}

fn folder(top: &Path) -> PathBuf {
    top.join("build/layer/proofs")
}

fn said(command: &mut Command) -> anyhow::Result<String> {
    let (success, text) = output(command)?;
    ensure!(success, "{text}");
    Ok(text)
}

/// Writes docs/layer-report.md of everything that was kept. Returns how many lines its table has.
pub(super) fn publish(top: &Path) -> anyhow::Result<usize> {
    let mut proofs = Vec::new();
    fs::create_dir_all(folder(top)).with_context(|| format!("cannot make {}", folder(top).display()))?;
    for path in super::files_below(&folder(top))? {
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let proof: Proof =
            serde_json::from_str(&text).with_context(|| format!("cannot use {}", path.display()))?;
        proofs.push(proof);
    }
    let mut rows: Vec<String> = proofs.iter().map(Proof::row).collect();
    for board in boards::all(top)? {
        if proofs.iter().all(|proof| proof.machine != board.machine) {
            rows.push(format!(
                "| `{}` | `{}` | – | – | – | – | not yet |\n",
                board.machine, board.file
            ));
        }
    }
    // By machine, which is what a row begins with.
    rows.sort();
    let text = format!("{}{}", include_str!("report.md"), rows.concat());
    let path = top.join("docs/layer-report.md");
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(proofs.len())
}
