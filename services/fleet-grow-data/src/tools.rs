//! sfdisk(8), which writes the table, and partx(8), which tells the kernel.

use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::growth::Step;

/// Why one of them did not do its work.
#[derive(Debug)]
pub(crate) enum Error {
    /// It could not be run.
    Run(&'static str, io::Error),
    /// It failed, and said this.
    Failed(&'static str, String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(name, error) => write!(f, "cannot run {name}: {error}"),
            Self::Failed(name, message) => write!(f, "{name} failed: {message}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Run(_, error) => Some(error),
            Self::Failed(..) => None,
        }
    }
}

/// Writes the new size into the table: one sector, on the medium when this returns (sfdisk syncs before it ends).
pub(crate) fn resize(disk: &Path, step: &Step) -> Result<(), Error> {
    let mut sfdisk = Command::new("sfdisk");
    sfdisk.args(["--quiet", "--lock=yes"]);
    // What it would do about a disk in use is to read the whole table anew, which the kernel refuses.
    sfdisk.args(["--no-reread", "--no-tell-kernel"]);
    // No signature of a file system is taken for a left-over.
    sfdisk.args(["--wipe", "never", "--wipe-partitions", "never"]);
    sfdisk.arg("-N").arg(step.number.to_string()).arg(disk);
    // The start, which comes first, stays.
    run("sfdisk", &mut sfdisk, &format!(",{}\n", step.size))
}

/// Gives one partition the size that it has in the table, though the disk is in use.
pub(crate) fn tell_kernel(disk: &Path, number: u32) -> Result<(), Error> {
    let mut partx = Command::new("partx");
    partx.args(["--update", "--nr", &number.to_string()]).arg(disk);
    run("partx", &mut partx, "")
}

fn run(name: &'static str, command: &mut Command, input: &str) -> Result<(), Error> {
    let failed = |error| Error::Run(name, error);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that has ended has its own words for why.
        let _ = stdin.write_all(input.as_bytes());
    }
    let Output { status, stderr, .. } = child.wait_with_output().map_err(failed)?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&stderr);
    Err(Error::Failed(name, format!("{status}: {}", said.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_the_program_said() {
        let mut command = Command::new("sh");
        command.args(["-c", "read size; echo \"no room for $size\" >&2; exit 1"]);
        let error = run("sh", &mut command, ",9\n").unwrap_err();
        assert_eq!(error.to_string(), "sh failed: exit status: 1: no room for ,9");
        let error = run("sfdisk", &mut Command::new("/nowhere/sfdisk"), "").unwrap_err();
        // Under qemu-user, where vfork(2) is fork(2), one that is not there is started and ends with 127.
        let error = error.to_string();
        let is_emulated = error.starts_with("sfdisk failed: exit status: 127");
        assert!(error.starts_with("cannot run sfdisk: ") || is_emulated, "{error}");
    }
}
