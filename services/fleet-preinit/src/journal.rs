//! The limits of the journal, which journald reads before any service can say what they are.
//!
//! This is the one part of the step that reads the configuration. It runs as a process of its own, with a time limit, so
//! that nothing that a damaged card holds there can end or hang process 1.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use fleet_base::exit::Exit;
use fleet_base::paths;
use fleet_config::journal_limits;

use crate::{kmsg, limited};

/// What it is called with.
pub(crate) const ARGUMENT: &str = "journal-limits";
/// The folder of journald's drop-ins that live for one boot (journald.conf(5)).
const JOURNALD: &str = "/run/systemd/journald.conf.d";
/// It takes milliseconds; a dying card may take longer than a boot should.
const LIMIT: Duration = Duration::from_secs(10);

/// Runs [`supply`] apart.
pub(crate) fn supply_apart() -> io::Result<()> {
    let mut command = Command::new("/proc/self/exe");
    let status = limited::status(command.arg0("fleet-preinit").arg(ARGUMENT), LIMIT)?;
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other(status.to_string()))
}

/// Renders them from the stored configuration.
pub(crate) fn supply() -> Exit {
    let supplied = journal_limits::supply(
        Path::new(paths::STATE_CONFIG),
        Path::new(paths::DEFAULTS),
        Path::new(paths::RUN_CONFIG),
        Path::new(JOURNALD),
    );
    match supplied {
        Ok(()) => Exit::Done,
        Err(error) => {
            kmsg::warn(&error.to_string());
            Exit::CannotWrite
        }
    }
}
