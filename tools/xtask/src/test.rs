//! `cargo xtask test`: everything a change must pass, ending with a count.
//!
//! A check that needs something that is not there is counted as skipped, with the reason; one that fails does not keep
//! the others from running.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};

use crate::image::{self, Need};
use crate::step::{Steps, tethered};
use crate::{layer, setup};

/// What `cargo xtask test` is asked for.
#[derive(clap::Args)]
pub struct Arguments {
    /// Also the long system tests: power cuts, faults and first boots in QEMU.
    #[arg(long)]
    system: bool,
}

/// How many cases ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// They ran and hold.
    pub passed: usize,
    /// They ran and do not hold, or could not be run though they should.
    pub failed: usize,
    /// They were not run, for a reason that was printed.
    pub skipped: usize,
}

impl Count {
    /// One case, by its outcome.
    pub const fn one(passed: bool) -> Self {
        if passed {
            Self {
                passed: 1,
                failed: 0,
                skipped: 0,
            }
        } else {
            Self {
                passed: 0,
                failed: 1,
                skipped: 0,
            }
        }
    }
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

/// Runs everything. Exits with 1 if a case failed.
pub fn main(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let top = image::checkout()?;
    let steps = Steps::new("test", top.join("build/test/log"));
    let mut total = Count::default();

    setup::ensure(&[setup::CHECKS, setup::NSPAWN, setup::QEMU])?;
    ensure_cargo_deny(&steps)?;
    for workspace in Workspace::ALL {
        let manifest = top.join(workspace.manifest());
        total += check(
            &steps,
            &format!("format of {workspace}"),
            cargo(&["fmt", "--all", "--check"], &manifest),
        );
        total += check(
            &steps,
            &format!("lints of {workspace}"),
            cargo(&["clippy", "--workspace", "--all-targets", "--locked"], &manifest)
                .args(["--", "-D", "warnings"]),
        );
        total += check(
            &steps,
            &format!("dependencies of {workspace}"),
            &mut deny(&top, &manifest),
        );
    }
    total += check(
        &steps,
        "lints of the device's executable",
        cargo(
            &["clippy", "--package", "fleet", "--all-targets", "--locked"],
            &top.join("Cargo.toml"),
        )
        .args(["--no-default-features", "--", "-D", "warnings"]),
    );
    total += check(&steps, "shell scripts", &mut shellcheck(&top)?);

    total += tests(
        &steps,
        "tests of the services",
        cargo(&["test", "--workspace", "--locked"], &top.join("Cargo.toml")),
    );
    match image::ensure(Need::Disk) {
        // Held until the tests have run, so that nobody rebuilds the image under a running guest.
        Ok(_image) => {
            total += Count::one(true);
            let mut command = cargo(
                &["test", "--workspace", "--locked"],
                &top.join("tools/Cargo.toml"),
            );
            if arguments.system {
                command.args(["--features", "testbed/long"]);
            }
            total += tests(&steps, "tests of the tools and of the reference image", command);
        }
        Err(error) => {
            steps.say(&format!("FAILED the reference image: {error:#}"));
            total += Count::one(false);
        }
    }
    total += layer::check(&steps)?;

    println!("{total}");
    Ok(if total.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The cargo workspaces. That of the fuzz targets has no tests: its functions run in one of fleet-config, with the
/// committed corpus.
#[derive(Clone, Copy)]
enum Workspace {
    Device,
    Tools,
    Fuzz,
}

impl Workspace {
    const ALL: [Self; 3] = [Self::Device, Self::Tools, Self::Fuzz];

    const fn manifest(self) -> &'static str {
        match self {
            Self::Device => "Cargo.toml",
            Self::Tools => "tools/Cargo.toml",
            Self::Fuzz => "fuzz/Cargo.toml",
        }
    }
}

impl std::fmt::Display for Workspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Device => "services",
            Self::Tools => "tools",
            Self::Fuzz => "fuzz targets",
        })
    }
}

fn cargo(arguments: &[&str], manifest: &Path) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments).arg("--manifest-path").arg(manifest);
    // The outer cargo, which runs this xtask, says things about itself that its child must not take for its own.
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR")
        {
            command.env_remove(name);
        }
    }
    command
}

/// Licences, duplicate versions and sources; advisories need the internet.
fn deny(top: &Path, manifest: &Path) -> Command {
    let mut command = Command::new("cargo");
    command
        .args(["deny", "--manifest-path"])
        .arg(manifest)
        .arg("--config")
        .arg(top.join("deny.toml"))
        .arg("check")
        .args(["bans", "licenses", "sources"]);
    command
}

/// cargo-deny is not packaged by Debian; compiling it takes minutes, once a machine.
fn ensure_cargo_deny(steps: &Steps) -> anyhow::Result<()> {
    let there = Command::new("cargo")
        .args(["deny", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if there.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    steps.say("installing cargo-deny (some minutes, once)");
    steps.run(
        "cargo-deny",
        Command::new("cargo").args(["install", "--locked", "cargo-deny@0.20.2"]),
    )
}

fn shellcheck(top: &Path) -> anyhow::Result<Command> {
    let listed = Command::new("git")
        .current_dir(top)
        .args([
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "*.sh",
            ".ci/run",
            "*/rauc-grub",
        ])
        .output()
        .context("cannot run git")?;
    if !listed.status.success() {
        bail!(
            "git ls-files failed: {}",
            String::from_utf8_lossy(&listed.stderr).trim()
        );
    }
    let mut command = Command::new("shellcheck");
    command
        .current_dir(top)
        .arg("--")
        .args(String::from_utf8_lossy(&listed.stdout).lines());
    Ok(command)
}

/// One case: the command succeeds. Its output is shown only if it does not.
fn check(steps: &Steps, name: &str, mut command: impl std::borrow::BorrowMut<Command>) -> Count {
    let outcome = steps.run(&name.replace(' ', "-"), command.borrow_mut());
    match &outcome {
        Ok(()) => steps.say(&format!("ok {name}")),
        Err(error) => steps.say(&format!("FAILED {name}: {error:#}")),
    }
    Count::one(outcome.is_ok())
}

/// `cargo test`, with every case that it counts.
fn tests(steps: &Steps, name: &str, command: impl std::borrow::Borrow<Command>) -> Count {
    steps.say(name);
    match counted(command.borrow()) {
        Ok(count) => {
            steps.say(&format!(
                "{} {name}: {count}",
                if count.failed == 0 { "ok" } else { "FAILED" }
            ));
            count
        }
        Err(error) => {
            steps.say(&format!("FAILED {name}: {error:#}"));
            Count::one(false)
        }
    }
}

/// Runs cargo test, passes its output on, and adds up its result lines.
fn counted(command: &Command) -> anyhow::Result<Count> {
    let mut command = tethered(command);
    // All suites run although one failed; `--no-fail-fast` must come before a `--`, of which there is none.
    let mut child = command
        .arg("--no-fail-fast")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run cargo")?;
    let mut total = Count::default();
    let mut suites = 0;
    for line in BufReader::new(child.stdout.take().context("no output")?).lines() {
        let line = line.context("cannot read the tests' output")?;
        if let Some(count) = result_line(&line) {
            total += count;
            suites += 1;
        }
        println!("{line}");
    }
    let status = child.wait().context("cannot wait for cargo")?;
    if !status.success() && total.failed == 0 {
        bail!(
            "cargo test failed after {suites} suites without a failed case ({status}): it does not build, or crashed"
        );
    }
    Ok(total)
}

/// Reads `test result: ok. 6 passed; 0 failed; 0 ignored; …`.
fn result_line(line: &str) -> Option<Count> {
    let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let mut count = Count::default();
    for part in counts.split("; ") {
        let Some((number, what)) = part.split_once(' ') else {
            continue;
        };
        let Ok(number) = number.parse() else { continue };
        match what {
            "passed" => count.passed = number,
            "failed" => count.failed = number,
            "ignored" => count.skipped = number,
            _ => {}
        }
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_result_lines_of_cargo_test() {
        let line = "test result: FAILED. 6 passed; 2 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.03s";
        assert_eq!(
            result_line(line),
            Some(Count {
                passed: 6,
                failed: 2,
                skipped: 1
            })
        );
        assert_eq!(result_line("test result_line ... ok"), None);
    }
}
