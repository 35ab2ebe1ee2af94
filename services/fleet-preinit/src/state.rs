//! The state partition: found by label, repaired, mounted; or a substitute in RAM.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use fleet_base::paths;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount as mount_file_system};

use crate::partition;

/// The label of its file system.
const LABEL: &str = "fleet-state";

/// Why the state partition cannot be used.
#[derive(Debug)]
pub(crate) enum Error {
    /// It was not found.
    Partition(partition::Error),
    /// It could not be repaired: the exit status of e2fsck(8), or why that did not run.
    Check(String),
    /// It could not be mounted.
    Mount(Errno),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partition(error) => write!(f, "the state partition cannot be found: {error}"),
            Self::Check(outcome) => write!(f, "the state partition cannot be repaired: e2fsck: {outcome}"),
            Self::Mount(error) => write!(f, "the state partition cannot be mounted: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Partition(error) => Some(error),
            Self::Mount(error) => Some(error),
            Self::Check(_) => None,
        }
    }
}

/// Repairs and mounts the state partition on `place`.
pub(crate) fn mount(place: &Path) -> Result<(), Error> {
    let device = partition::find(LABEL).map_err(Error::Partition)?;
    check(&device)?;
    let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_NOATIME;
    // An error found later turns it read-only rather than panicking: what is there stays readable.
    mount_file_system(
        Some(&device),
        place,
        Some("ext4"),
        flags,
        Some("errors=remount-ro"),
    )
    .map_err(Error::Mount)
}

/// Mounts a RAM file system on `place`, and leaves `reason` where the services find it.
pub(crate) fn mount_volatile(place: &Path, reason: &str) -> io::Result<()> {
    let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount_file_system(
        Some("tmpfs"),
        place,
        Some("tmpfs"),
        flags,
        Some("mode=755,size=16M"),
    )?;
    fs::create_dir_all(paths::RUN)?;
    fs::write(paths::STATE_VOLATILE_FLAG, format!("{reason}\n"))
}

/// Repairs what is safe to repair; if that is not enough, everything: nobody is there to answer questions.
fn check(device: &Path) -> Result<(), Error> {
    for mode in ["-p", "-y"] {
        let status = Command::new("e2fsck")
            .arg(mode)
            .arg(device)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map_err(|error| Error::Check(error.to_string()))?;
        // e2fsck(8): 0 clean, 1 corrected, 2 corrected and a reboot wanted, which an unmounted one does not need.
        match status.code() {
            Some(0) => return Ok(()),
            Some(1 | 2) => {
                crate::kmsg::info("repaired the state partition");
                return Ok(());
            }
            _ if mode == "-y" => return Err(Error::Check(status.to_string())),
            _ => crate::kmsg::warn("the state partition needs a full repair"),
        }
    }
    Ok(())
}
