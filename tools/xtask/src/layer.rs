//! `cargo xtask layer-check`: is `meta-fleet` sound, as far as this machine can tell? Linters and comparisons run
//! everywhere; BitBake runs where the layers that it needs can be checked out. And `cargo xtask crates`, which writes
//! the recipe's list of crates.

mod bitbake;
mod boards;
mod cases;
mod compatible;
mod counterparts;
mod crates;
mod kernel;
mod licences;
mod loader;
mod packaged;
mod parse;
mod product;
mod proof;
mod recipe;
mod reference;
mod venv;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context;

use crate::image::checkout;
use crate::step::Steps;
use crate::test::Count;
pub use crates::{Arguments as CratesArguments, main as crates};
use parse::Depth;
use venv::Venv;

/// What `cargo xtask layer-check` is asked for.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only what needs no checkout of other layers.
    #[arg(long)]
    lint: bool,
    /// Parses for this kas file (instead of docs/example/kas.yml); may be given more than once.
    #[arg(long, value_name = "FILE")]
    kas: Vec<String>,
    /// Every machine, and all options; writes docs/layer-report.md. With --kas: only these of them.
    #[arg(long)]
    all: bool,
    /// Also a dry run of the image, task by task: ten minutes a machine.
    #[arg(long)]
    dry_run: bool,
    /// Instead of parsing: yocto-check-layer, whether the layer changes a build that did not ask for its distribution; for
    /// docs/layer-report.md too. Half an hour.
    #[arg(long, conflicts_with_all = ["lint", "kas", "all", "dry_run"])]
    compatible: bool,
}

/// How a check ended, with what is to be said about it.
enum Outcome {
    Passed(String),
    Failed(String),
    Skipped(String),
}

/// The checks so far.
struct Report<'a> {
    steps: &'a Steps,
    count: Count,
}

impl Report<'_> {
    /// Says how the check `name` ended, and counts it.
    fn add(&mut self, name: &str, outcome: Outcome) {
        let (word, text, count) = match outcome {
            Outcome::Passed(text) => (
                "passed",
                text,
                Count {
                    passed: 1,
                    ..Count::default()
                },
            ),
            Outcome::Failed(text) => (
                "FAILED",
                text,
                Count {
                    failed: 1,
                    ..Count::default()
                },
            ),
            Outcome::Skipped(text) => (
                "skipped",
                text,
                Count {
                    skipped: 1,
                    ..Count::default()
                },
            ),
        };
        self.steps.say(&format!("{word} {name}: {text}"));
        self.count += count;
    }
}

impl From<anyhow::Result<Outcome>> for Outcome {
    fn from(result: anyhow::Result<Outcome>) -> Self {
        result.unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")))
    }
}

/// Runs every check and ends with their count. Exits with 1 if one failed.
pub fn main(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let top = checkout()?;
    let steps = Steps::new("layer", top.join("build/layer/log"));
    let mut report = Report {
        steps: &steps,
        count: Count::default(),
    };
    lint(&mut report, reference::Image::Optional)?;
    if arguments.compatible {
        compatible::check(&mut report, &top);
    } else if !arguments.lint {
        for (file, depth) in sessions(&top, arguments)? {
            parse::check(&mut report, &top, &file, depth);
        }
    }
    if !arguments.lint && (arguments.all || arguments.compatible) {
        let lines = proof::publish(&top)?;
        steps.say(&format!("docs/layer-report.md has {lines} lines"));
    }
    println!("{}", report.count);
    Ok(if report.count.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What BitBake is asked: a kas file each.
fn sessions(top: &Path, arguments: &Arguments) -> anyhow::Result<Vec<(String, Depth)>> {
    let dry_run = arguments.dry_run;
    let whole = |file: String| (file, Depth { whole: true, dry_run });
    let mut sessions = vec![whole(parse::DEFAULT.to_owned())];
    if arguments.all {
        let boards = boards::all(top)?.into_iter().map(|board| board.file);
        let others = boards
            .filter(|file| file != boards::OF_THE_DEFAULT)
            .chain([boards::with_every_option(top)?]);
        sessions.extend(others.map(|file| {
            (
                file,
                Depth {
                    whole: false,
                    dry_run,
                },
            )
        }));
        if let Some(unknown) =
            (arguments.kas.iter()).find(|file| sessions.iter().all(|(known, _)| known != *file))
        {
            let known: Vec<&str> = sessions.iter().map(|(file, _)| file.as_str()).collect();
            anyhow::bail!("--all has no {unknown}; it has {}", known.join(", "));
        }
        sessions.retain(|(file, _)| arguments.kas.is_empty() || arguments.kas.contains(file));
    } else if !arguments.kas.is_empty() {
        sessions = arguments.kas.iter().cloned().map(whole).collect();
    }
    Ok(sessions)
}

/// Every check, for `cargo xtask test`.
pub fn check(steps: &Steps) -> anyhow::Result<Count> {
    let mut report = Report {
        steps,
        count: Count::default(),
    };
    // The tests before this one have built it.
    lint(&mut report, reference::Image::Required)?;
    parse::check(
        &mut report,
        &checkout()?,
        parse::DEFAULT,
        Depth {
            whole: true,
            dry_run: false,
        },
    );
    Ok(report.count)
}

/// The checks that need this repository and a Python package index (or what was installed from it before).
fn lint(report: &mut Report<'_>, image: reference::Image) -> anyhow::Result<()> {
    let top = checkout()?;
    report.add("crates list", crates::check(&top).into());
    report.add("licences of crates", licences::check(&top).into());
    report.add("packaged files", packaged::check(&top).into());
    report.add("enabled units", packaged::check_units(&top).into());
    report.add("files of both images", reference::check(&top, image).into());
    report.add("packages of both images", counterparts::check(&top).into());
    report.add("boards", boards::check(&top).into());
    report.add("kernel fragments", kernel::check(&top).into());
    report.add("environment of GRUB", loader::check(&top).into());
    report.add("recipe version", recipe::check_version(&top).into());
    match Venv::ensure(report.steps, &top) {
        Ok(venv) => {
            report.add("oelint-adv", oelint(&venv, &top).into());
            report.add("kas files", kas_files(&venv, &top).into());
            report.add("kas menu", kas_menu(&venv, &top).into());
            report.add("kas file of a product", product::check(&venv, &top).into());
        }
        Err(error) => {
            let text = format!("{error:#}");
            for name in ["oelint-adv", "kas files", "kas menu", "kas file of a product"] {
                report.add(name, Outcome::Failed(text.clone()));
            }
        }
    }
    Ok(())
}

/// oelint-adv with `.oelint.cfg`. The crates list is read with its recipe; its form is OpenEmbedded's.
fn oelint(venv: &Venv, top: &Path) -> anyhow::Result<Outcome> {
    let mut files = Vec::new();
    for layer in ["meta-fleet", "docs/example/meta-example-product"] {
        files.extend(files_below(&top.join(layer))?.into_iter().filter(|path| {
            path.ends_with("conf/layer.conf")
                || path
                    .extension()
                    .is_some_and(|extension| extension == "bb" || extension == "bbappend")
        }));
    }
    let mut command = venv.command("oelint-adv");
    command
        .args(["--quiet", "--relpaths", "--release", "wrynose"])
        .args(&files)
        .current_dir(top);
    let (success, text) = output(&mut command)?;
    Ok(if success && text.is_empty() {
        Outcome::Passed(format!("{} files", files.len()))
    } else {
        Outcome::Failed(format!("\n{text}"))
    })
}

/// kas's own reading of `kas.yml` and of every file in `kas/`, with their lock files.
fn kas_files(venv: &Venv, top: &Path) -> anyhow::Result<Outcome> {
    let mut files = vec![PathBuf::from("kas.yml"), PathBuf::from(parse::DEFAULT)];
    for path in files_below(&top.join("kas"))? {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.ends_with(".yml") && !name.ends_with(".lock.yml") {
            files.push(path);
        }
    }
    let mut command = venv.command("python");
    command
        .args([
            "-c",
            concat!(
                include_str!("layer/kas_problems.py"),
                include_str!("layer/kas_files.py")
            ),
        ])
        .args(&files)
        .current_dir(top);
    let (success, text) = output(&mut command)?;
    Ok(if success {
        Outcome::Passed(format!("{} files; every repository is pinned", files.len()))
    } else {
        Outcome::Failed(format!("\n{text}"))
    })
}

/// What can be chosen in `Kconfig`, by kas's own menu without its screen.
fn kas_menu(venv: &Venv, top: &Path) -> anyhow::Result<Outcome> {
    let mut command = venv.command("python");
    command
        .args([
            "-c",
            concat!(
                include_str!("layer/kas_problems.py"),
                include_str!("layer/kas_menu.py")
            ),
        ])
        .arg(top)
        .arg(top.join("build/layer"))
        .current_dir(top);
    let (success, text) = output(&mut command)?;
    Ok(if success {
        Outcome::Passed(text)
    } else {
        Outcome::Failed(format!("\n{text}"))
    })
}

/// Whether `command` succeeded, and what it printed on both outputs.
fn output(command: &mut Command) -> anyhow::Result<(bool, String)> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let text = [output.stdout, output.stderr].concat();
    Ok((
        output.status.success(),
        String::from_utf8_lossy(&text).trim().to_owned(),
    ))
}

/// Every file and link below `directory`, sorted.
fn files_below(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = directory
        .read_dir()
        .with_context(|| format!("cannot read {}", directory.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {}", directory.display()))?;
        let kind = entry
            .file_type()
            .with_context(|| format!("cannot read {}", entry.path().display()))?;
        if kind.is_dir() {
            files.extend(files_below(&entry.path())?);
        } else {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}
