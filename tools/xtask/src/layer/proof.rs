//! What BitBake has shown of each machine: kept below `build/layer/proofs` as it comes, and written out as
//! docs/layer-report.md, which names no machine that it ran on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde::de::DeserializeOwned;
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
    #[serde(flatten)]
    seen: Seen,
}

/// Of what state of the repository, and when.
#[derive(Serialize, Deserialize)]
pub(super) struct Seen {
    date: String,
    commit: String,
}

impl Seen {
    /// Asked for before a session, which may take longer than until the next commit.
    pub(super) fn now(top: &Path) -> anyhow::Result<Self> {
        Ok(Self {
            date: said(Command::new("date").args(["-u", "+%F"]))?,
            commit: said(
                Command::new("git")
                    .args(["describe", "--always", "--dirty", "--exclude=*"])
                    .current_dir(top),
            )?,
        })
    }
}

impl Proof {
    /// Of a session for the kas file `file`. Recipes that BitBake still knew, none of which has changed, were counted by an
    /// earlier one.
    pub(super) fn of(
        top: &Path,
        file: &str,
        depth: Depth,
        seen: Seen,
        sections: &[Section],
    ) -> anyhow::Result<Self> {
        let figures = Figures::of(sections, depth.dry_run).context("BitBake's output has no figures")?;
        let parsed = match figures.parsed {
            Some(parsed) => parsed.to_owned(),
            None => {
                read::<Self>(&Self::path(top, file))
                    .context("BitBake had all recipes in its cache, and nobody has counted them")?
                    .parsed
            }
        };
        Ok(Self {
            machine: figures.machine.to_owned(),
            file: file.to_owned(),
            parsed,
            whole: depth.whole,
            recipes: figures.recipes.to_owned(),
            tasks: figures.tasks.to_owned(),
            attempted: figures.attempted.map(str::to_owned),
            seen,
        })
    }

    /// Keeps it until the next of the same kas file.
    pub(super) fn keep(&self, top: &Path) -> anyhow::Result<()> {
        let folder = folder(top);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        write(&Self::path(top, &self.file), self)
    }

    fn path(top: &Path, file: &str) -> PathBuf {
        folder(top).join(format!("{}.json", name(file)))
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
            self.seen.date,
            self.seen.commit
        )
    }
}

/// What `yocto-check-layer` found nothing against.
#[derive(Serialize, Deserialize)]
pub(super) struct Compatible {
    /// How many of its cases ran.
    pub(super) cases: String,
    #[serde(flatten)]
    pub(super) seen: Seen,
}

impl Compatible {
    /// Keeps it until the next.
    pub(super) fn keep(&self, top: &Path) -> anyhow::Result<()> {
        write(&Self::path(top), self)
    }

    fn read(top: &Path) -> anyhow::Result<Option<Self>> {
        let path = Self::path(top);
        path.exists().then(|| read(&path)).transpose()
    }

    fn path(top: &Path) -> PathBuf {
        top.join("build/layer/compatible.json")
    }

    fn sentence(&self) -> String {
        format!(
            "\n`yocto-check-layer` (`cargo xtask layer-check --compatible`) passed, {} cases: with `meta-fleet` added, no \
             recipe of another\nlayer has another signature for a build of another distribution. Seen {}, `{}`.\n",
            self.cases, self.seen.date, self.seen.commit
        )
    }
}

fn write(path: &Path, what: &impl Serialize) -> anyhow::Result<()> {
    fs::write(path, serde_json::to_string_pretty(what)?)
        .with_context(|| format!("cannot write {}", path.display()))
}

fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("cannot use {}", path.display()))
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
        proofs.push(read::<Proof>(&path)?);
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
    let compatible = Compatible::read(top)?.map_or_else(String::new, |seen| seen.sentence());
    let text = format!("{}{}{compatible}", include_str!("report.md"), rows.concat());
    let path = top.join("docs/layer-report.md");
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(proofs.len())
}
