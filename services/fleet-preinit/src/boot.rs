//! The boot partition: repaired before it is mounted.

use std::fmt;
use std::io;
use std::process::Command;
use std::time::Duration;

use crate::partition::{self, Disk};
use crate::{kmsg, limited};

/// The label of its file system.
const LABEL: &str = "fleet-boot";

/// Far more than a FAT of a few hundred MiB needs.
const FSCK_LIMIT: Duration = Duration::from_secs(60);

/// Why the boot partition is not repaired.
#[derive(Debug)]
pub(crate) enum Error {
    /// It was not found.
    Partition(partition::Error),
    /// fsck.fat(8) did not run to its end.
    Check(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partition(error) => error.fmt(f),
            Self::Check(error) => write!(f, "fsck.fat: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Partition(error) => Some(error),
            Self::Check(error) => Some(error),
        }
    }
}

/// Repairs what a power cut left on the boot partition of this disk.
///
/// A cut inside a rename leaves two names on the same clusters; the kernel then sets the whole file system read-only at
/// some later write. Not by systemd-fsck: a FAT that fsck.fat cannot repair would not be mounted then, and one that is
/// mounted all the same is better than none. What is lost in a repair is written again from the store.
pub(crate) fn repair(disk: &Disk) -> Result<(), Error> {
    let device = disk.find(LABEL).map_err(Error::Partition)?;
    // fsck.fat(8): 0 clean, 1 something was found and, with -a, repaired.
    let status =
        limited::status(Command::new("fsck.fat").arg("-a").arg(device), FSCK_LIMIT).map_err(Error::Check)?;
    match status.code() {
        Some(0) => {}
        Some(1) => kmsg::info("repaired the boot partition"),
        _ => kmsg::warn(&format!(
            "the boot partition cannot be repaired: fsck.fat: {status}"
        )),
    }
    Ok(())
}
