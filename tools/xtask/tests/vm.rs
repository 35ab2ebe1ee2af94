//! `cargo xtask vm` as a script sees it: order, output, exit codes, and what is left after Ctrl-C.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

fn vm(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.arg("vm").args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Result<Output> {
    Ok(vm(arguments).output()?)
}

/// Starts a run and returns as soon as it has begun: before that, only the image is looked at.
fn begin() -> Result<Child> {
    let mut child = vm(&["--exec", "sleep 60"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    while left_by(&child)?.is_empty() {
        ensure!(child.try_wait()?.is_none(), "it has ended before it began");
        thread::sleep(Duration::from_millis(10));
    }
    Ok(child)
}

/// The folders and control groups of a process's runs.
fn left_by(owner: &Child) -> Result<String> {
    let runs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../build/run");
    let name = format!("*-{}-*", owner.id());
    let find = Command::new("find")
        .arg(runs)
        .arg("/sys/fs/cgroup")
        .args(["-name", &name])
        .output()?;
    Ok(String::from_utf8(find.stdout)?)
}

#[test]
fn steps_are_taken_in_order_and_the_first_bad_code_counts() -> Result<()> {
    let output = run(&[
        "--exec",
        "echo 'a  b'; echo err >&2; touch /run/x",
        "--world",
        "echo world; exit 5",
        "--exec",
        "exit 4",
        "--reboot",
        "--exec",
        "ls /run/x 2>/dev/null || echo gone",
        "--cut",
        "--exec",
        "echo end",
    ])?;
    let (stdout, stderr) = (
        String::from_utf8(output.stdout)?,
        String::from_utf8(output.stderr)?,
    );
    assert_eq!(stdout, "a  b\nworld\ngone\nend\n", "{stderr}");
    assert_eq!(output.status.code(), Some(5), "{stderr}");
    ensure!(stderr.contains("err\n"), "{stderr}");
    Ok(())
}

#[test]
fn what_does_not_settle_says_why() -> Result<()> {
    let output = run(&["--timeout", "0", "--exec", "echo never"])?;
    let stderr = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    ensure!(output.stdout.is_empty(), "a command was run");
    ensure!(
        stderr.contains("has not settled in time: systemd has not finished booting"),
        "{stderr}"
    );
    Ok(())
}

#[test]
fn an_interrupt_leaves_nothing() -> Result<()> {
    for (signal, code, after) in [("INT", 130, 300), ("TERM", 143, 1500), ("HUP", 129, 6000)] {
        let mut child = begin()?;
        thread::sleep(Duration::from_millis(after));
        let killed = Command::new("kill")
            .args(["-s", signal, &child.id().to_string()])
            .status()?;
        ensure!(killed.success(), "cannot send {signal}");
        assert_eq!(child.wait()?.code(), Some(code), "{signal}");
        assert_eq!(left_by(&child)?, "", "{signal}");
    }
    Ok(())
}

#[test]
fn a_killed_owner_leaves_nothing_for_long() -> Result<()> {
    let mut child = begin()?;
    child.kill()?;
    child.wait()?;
    for _ in 0..100 {
        if left_by(&child)?.is_empty() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
    bail!("left behind: {}", left_by(&child)?)
}
