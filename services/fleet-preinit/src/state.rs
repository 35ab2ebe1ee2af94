//! The state partition: found by label, repaired, mounted; or a substitute in RAM.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fleet_base::paths;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount as mount_file_system, umount};

use crate::partition::{self, Disk};
use crate::{etc, limited};

/// The label of its file system.
const LABEL: &str = "fleet-state";

/// Far more than 64 MiB need; what has not ended by then does not end.
const E2FSCK_LIMIT: Duration = Duration::from_secs(180);

/// Why the state partition cannot be used.
#[derive(Debug)]
pub(crate) enum Error {
    /// It was not found.
    Partition(partition::Error),
    /// It could not be repaired: the exit status of e2fsck(8), or why that did not run.
    Check(String),
    /// It could not be mounted.
    Mount(Errno),
    /// It has no identity yet, and none can be written.
    NotWritable,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partition(error) => write!(f, "the state partition cannot be found: {error}"),
            Self::Check(outcome) => write!(f, "the state partition cannot be repaired: e2fsck: {outcome}"),
            Self::Mount(error) => write!(f, "the state partition cannot be mounted: {error}"),
            Self::NotWritable => f.write_str("the state partition is empty and cannot be written"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Partition(error) => Some(error),
            Self::Mount(error) => Some(error),
            Self::Check(_) | Self::NotWritable => None,
        }
    }
}

/// Repairs and mounts the state partition of this disk on `place`.
pub(crate) fn mount(disk: &Disk, place: &Path) -> Result<(), Error> {
    let device = disk.find(LABEL).map_err(Error::Partition)?;
    check(&device)?;
    let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC | MsFlags::MS_NOATIME;
    // An error found later turns it read-only rather than panicking: what is there stays readable.
    let options = Some("errors=remount-ro");
    mount_file_system(Some(&device), place, Some("ext4"), flags, options).map_err(Error::Mount)?;
    // One that is full or read-only still has the identity, if it ever had one; without, RAM serves better.
    if !place.join(etc::MACHINE_ID).exists() && !can_write(place) {
        umount(place).map_err(Error::Mount)?;
        return Err(Error::NotWritable);
    }
    Ok(())
}

/// Whether a block can be written there.
fn can_write(place: &Path) -> bool {
    let probe = place.join(".probe");
    let written = fs::write(&probe, [0; 4096]).is_ok();
    // What could not be written completely must not stay either.
    let _ = fs::remove_file(&probe);
    written
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
        let status = limited::status(Command::new("e2fsck").arg(mode).arg(device), E2FSCK_LIMIT)
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
