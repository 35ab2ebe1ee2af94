//! The files of `/etc` that differ from device to device.
//!
//! One line each, with its reason. Everything else in `/etc` is the image's, so that a new slot never meets old files.

use std::fmt;
use std::path::Path;

use fleet_base::file;
use fleet_identity::id::{Id, Origin};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

/// The machine-id's file on the state partition.
pub(crate) const MACHINE_ID: &str = "machine-id";

/// What could not be supplied.
#[derive(Debug)]
pub(crate) enum Error {
    /// The machine-id could not be read or made.
    MachineId(file::Error),
    /// The file could not be laid over the root's.
    Bind(&'static str, Errno),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MachineId(error) => write!(f, "no machine-id: {error}"),
            Self::Bind(place, error) => write!(f, "cannot mount over {place}: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::MachineId(error) => Some(error),
            Self::Bind(_, error) => Some(error),
        }
    }
}

/// Supplies them from the state partition mounted on `state`.
pub(crate) fn supply(state: &Path) -> Result<(), Error> {
    // PID 1 reads /etc/machine-id before it mounts anything; empty on a read-only root means a new identity each boot.
    let source = state.join(MACHINE_ID);
    let (id, origin) = Id::load_or_create(&source, 0o444).map_err(Error::MachineId)?;
    match origin {
        Origin::Kept => {}
        Origin::Made => crate::kmsg::info(&format!("made machine-id {id}")),
        Origin::Replaced => crate::kmsg::warn(&format!("the machine-id was damaged; made {id}")),
    }
    bind(&source, "/etc/machine-id")
}

/// Lays a file over one of the root's, read-only, so that nothing changes it through `/etc`.
fn bind(source: &Path, place: &'static str) -> Result<(), Error> {
    let none = None::<&str>;
    mount(Some(source), place, none, MsFlags::MS_BIND, none).map_err(|error| Error::Bind(place, error))?;
    let flags = MsFlags::MS_BIND
        | MsFlags::MS_REMOUNT
        | MsFlags::MS_RDONLY
        | MsFlags::MS_NOSUID
        | MsFlags::MS_NODEV
        | MsFlags::MS_NOEXEC;
    mount(none, place, none, flags, none).map_err(|error| Error::Bind(place, error))
}
