//! A run without a terminal: nobody can type, so the device is asked for its state over ssh and powered off.

use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::directory::RunDirectory;
use super::qemu::{Machine, Outcome};

/// An emulated machine on a loaded host.
const BOOT_LIMIT: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_secs(1);
/// ssh(1): its own failure, as opposed to the remote command's.
const SSH_FAILED: i32 = 255;

/// Prints `fleet status` once the system has settled; its exit code is the run's.
pub(super) fn status(
    machine: &mut Machine,
    directory: &RunDirectory,
    port: u16,
    interrupted: &AtomicBool,
) -> anyhow::Result<ExitCode> {
    let deadline = Instant::now() + BOOT_LIMIT;
    let code = loop {
        if interrupted.load(Ordering::Relaxed) {
            return Ok(ExitCode::from(130));
        }
        if machine.has_ended()? {
            bail!("the machine ended before it could be reached over ssh");
        }
        // What the state is called does not matter here: `fleet status` says what is wrong.
        match ssh(
            directory,
            port,
            "systemctl is-system-running --wait >/dev/null; fleet status",
        )? {
            SSH_FAILED if Instant::now() > deadline => {
                bail!(
                    "the machine could not be reached over ssh within {} s",
                    BOOT_LIMIT.as_secs()
                );
            }
            SSH_FAILED => std::thread::sleep(PAUSE),
            code => break code,
        }
    };
    ssh(directory, port, "systemctl poweroff --no-block")?;
    match machine.wait(interrupted)? {
        Outcome::PoweredOff => Ok(ExitCode::from(u8::try_from(code).unwrap_or(1))),
        Outcome::Interrupted => Ok(ExitCode::from(130)),
    }
}

fn ssh(directory: &RunDirectory, port: u16, command: &str) -> anyhow::Result<i32> {
    let status = Command::new("ssh")
        .args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=10"])
        .args(directory.ssh_arguments(port))
        .arg(command)
        .stdin(Stdio::null())
        // Refused connections while the guest boots are no news.
        .stderr(Stdio::null())
        .status()
        .context("cannot run ssh")?;
    Ok(status.code().unwrap_or(SSH_FAILED))
}
