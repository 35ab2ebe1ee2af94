//! Grows the data partition of an MBR disk to the end of the medium, as systemd-repart does on GPT.
//!
//! The writing is sfdisk(8)'s. What is here is what it cannot say in advance: whether there is anything to grow, because
//! it writes the table in any case, and that the extended partition has to grow before the logical one that is in it. Each
//! of the two is one sector, which is on the medium before the next one is begun, and after either of them the table is
//! a valid one with the same partitions in the same places.

mod disk;
mod growth;
mod tools;

use std::fmt;
use std::path::Path;

use fleet_base::exit::Exit;
use fleet_base::logging;

use crate::disk::Disk;
use crate::growth::{Growth, Refused};

/// The data partition of the disk that the root is on, if that disk has an MBR (70-fleet-grow-data.rules).
const DATA: &str = "/dev/disk/fleet/fleet-data-on-mbr";
const MIB: u64 = (1 << 20) / growth::SECTOR;

/// Why the partition is as it was, or is not known to be otherwise.
#[derive(Debug)]
enum Error {
    /// The disk or its partitions could not be read.
    Disk(disk::Error),
    /// Its table is not one that we grow.
    Refused(Refused),
    /// sfdisk or partx.
    Tool(tools::Error),
    /// The kernel has another size than the table.
    NotTaken(u64),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk(error) => error.fmt(f),
            Self::Refused(reason) => write!(f, "the data partition stays as it is: {reason}"),
            Self::Tool(error) => error.fmt(f),
            Self::NotTaken(size) => write!(
                f,
                "the data partition has grown in the table, and the kernel still says {} MiB: it takes the new size at \
                 the next boot",
                size / MIB
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Disk(error) => Some(error),
            Self::Refused(reason) => Some(reason),
            Self::Tool(error) => Some(error),
            Self::NotTaken(_) => None,
        }
    }
}

/// `fleet-grow-data`: grows it if there is room behind it, and writes nothing if not.
#[must_use]
pub fn main() -> Exit {
    logging::init();
    match grow(Path::new(DATA)) {
        Ok(()) => Exit::Done,
        Err(error) => {
            log::error!("{error}");
            match error {
                Error::Disk(_) => Exit::NoInput,
                Error::Refused(_) => Exit::InvalidData,
                Error::Tool(_) | Error::NotTaken(_) => Exit::Failure,
            }
        }
    }
}

fn grow(data: &Path) -> Result<(), Error> {
    let disk = Disk::of(data).map_err(Error::Disk)?;
    let Growth { from, to, steps } = disk.layout.growth().map_err(Error::Refused)?;
    if steps.is_empty() {
        log::debug!("the data partition already ends where the medium ends");
        return Ok(());
    }
    for step in &steps {
        tools::resize(&disk.node, step).map_err(Error::Tool)?;
    }
    tools::tell_kernel(&disk.node, disk.layout.data).map_err(Error::Tool)?;
    let now = disk.size_of_data().map_err(Error::Disk)?;
    if now != to {
        return Err(Error::NotTaken(now));
    }
    log::info!(
        "the data partition of {} has grown from {} MiB to {} MiB",
        disk.node.display(),
        from / MIB,
        to / MIB
    );
    Ok(())
}
