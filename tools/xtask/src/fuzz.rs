//! `cargo xtask fuzz`: runs the fuzz targets for a while.
//!
//! What libFuzzer finds on its way is kept below build/fuzz; the committed corpus and the documents of the tests are
//! where it begins. An input that breaks something belongs into fuzz/corpus, where a test tries it on every change.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::image;
use crate::step::{Steps, tethered};

/// The targets, and the folders whose files they begin with.
const TARGETS: &[&str] = &["document", "check", "openvpn"];
const SEEDS: &[&str] = &[
    "services/fleet-config/tests/data/config/good",
    "services/fleet-config/tests/data/config/bad",
];

/// Its arguments.
#[derive(clap::Args)]
pub struct Arguments {
    /// How long each target runs, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Only this target.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(TARGETS))]
    target: Option<String>,
}

/// Runs the targets one after the other.
pub fn main(arguments: &Arguments) -> anyhow::Result<()> {
    let top = image::checkout()?;
    let steps = Steps::new("fuzz", top.join("build/fuzz/log"));
    if !is_there() {
        bail!(
            "fuzzing needs the nightly toolchain and cargo-fuzz: run `rustup toolchain install nightly`, then `cargo xtask setup --fuzz`"
        );
    }
    let mut broken = Vec::new();
    for target in TARGETS {
        if arguments.target.as_deref().is_some_and(|only| only != *target) {
            continue;
        }
        steps.say(&format!("{target}, {} s", arguments.seconds));
        if !run(&top, target, arguments.seconds)? {
            broken.push(*target);
        }
    }
    if !broken.is_empty() {
        bail!(
            "{} found an input that breaks a rule: see above, and build/fuzz",
            broken.join(" and ")
        );
    }
    steps.say("nothing found");
    Ok(())
}

/// Whether fuzzing can run on this machine.
fn is_there() -> bool {
    Command::new("cargo")
        .args(["+nightly", "fuzz", "--version"])
        .env_remove("RUSTUP_TOOLCHAIN")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Whether the target ran its time without a find.
fn run(top: &Path, target: &str, seconds: u32) -> anyhow::Result<bool> {
    let found = top.join("build/fuzz").join(target);
    std::fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;
    let mut command = Command::new("cargo");
    command
        .args(["+nightly", "fuzz", "run", target])
        .arg(&found)
        .arg(format!("corpus/{target}"))
        .args(SEEDS.iter().map(|seeds| top.join(seeds)))
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", top.join("build/fuzz").display()))
        .args(["-max_len=4096", "-rss_limit_mb=2048", "-print_final_stats=1"])
        // The toolchain of the cargo that runs this xtask is not that of cargo-fuzz.
        .env_remove("RUSTUP_TOOLCHAIN")
        .current_dir(top.join("fuzz"));
    let status = tethered(&command).status().context("cannot run cargo")?;
    Ok(status.success())
}
