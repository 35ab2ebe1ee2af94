//! Says why the device's last run ended: in a file for everybody, in one journal line, and, after a panic of the kernel,
//! with the kernel's last lines in the journal.
//!
//! Three short runs a boot, each by a unit: `console-tail` reads what the kernel left in pstore before systemd-pstore
//! clears it, `begin BOOT` judges and notes that this run has begun, `end BOOT` notes an orderly end. A run that has
//! begun and left no end was ended by something else. See `docs/reboot-reason.md`.

mod console_tail;
mod dump;
mod evidence;
mod last_run;
mod publish;
mod reason;
mod request;

use std::ffi::OsString;
use std::path::Path;

use fleet_base::exit::Exit;
use fleet_base::file::{self, Durability};
use fleet_base::{bus, paths, runtime};

use crate::evidence::Evidence;
use crate::last_run::{BootId, LastRun, Request};

const NAME: &str = "fleet-reboot-reason";

/// `fleet-reboot-reason console-tail`, `fleet-reboot-reason begin BOOT`, `fleet-reboot-reason end BOOT`, where `BOOT` is
/// the boot's identifier, `%b` of systemd.unit(5).
#[must_use]
pub fn main(arguments: &[OsString]) -> Exit {
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let boot = words.get(1).copied().and_then(BootId::parse);
    match (words.as_slice(), boot) {
        (["console-tail"], _) => runtime::run(NAME, async { console_tail::harvest() }),
        (["begin", _], Some(boot)) => runtime::run(NAME, begin(boot)),
        (["end", _], Some(boot)) => runtime::run(NAME, end(boot)),
        _ => {
            eprintln!("{NAME} is run by its units: console-tail, begin BOOT, end BOOT");
            Exit::Usage
        }
    }
}

/// Judges the run before this one, once a boot, and notes that this one has begun.
async fn begin(boot: BootId) -> Exit {
    let published = Path::new(paths::REBOOT_REASON);
    let begun = last_run::begin(boot, Path::new(paths::LAST_RUN), Path::new(paths::RUN_LAST_RUN));
    // Started again in the same run, by hand or after a crash: the reason was told.
    if published.exists() {
        return Exit::Done;
    }
    let before = match begun {
        Ok(before) => before,
        Err(error) => {
            log::error!("{error}");
            return Exit::CannotWrite;
        }
    };
    let verdict = reason::judge(&before, &Evidence::gather().await);
    publish::write_journal(&verdict);
    match publish::write_file(published, &verdict) {
        Ok(()) => Exit::Done,
        Err(error) => {
            log::error!("{error}");
            Exit::CannotWrite
        }
    }
}

/// Notes what was asked for, if the system is going down; a service that is stopped for another reason notes nothing.
async fn end(boot: BootId) -> Exit {
    let asked = match bus::connect().await {
        Ok(connection) => request::under_way(&connection).await,
        Err(error) => Err(error),
    };
    match asked {
        Ok(Some(request)) => {
            match LastRun::ended(boot, request, fault_of(request)).write(Path::new(paths::LAST_RUN)) {
                Ok(()) => Exit::Done,
                Err(error) => {
                    log::error!("this end will look like a power cut: {error}");
                    Exit::CannotWrite
                }
            }
        }
        Ok(None) => Exit::Done,
        Err(error) => {
            log::error!("this end will look like a power cut: systemd does not say what it does: {error}");
            Exit::Unavailable
        }
    }
}

/// The fault of the network that the helper restarts the system for; empty if it does not.
fn fault_of(request: Request) -> String {
    let fault = match request {
        Request::Reboot => file::read_no_follow(Path::new(paths::REBOOT_FAULT), 64).unwrap_or_default(),
        _ => Vec::new(),
    };
    String::from_utf8_lossy(&fault).trim_end().to_owned()
}

/// What `console-tail` found, for `begin`: the kernel's own word for its panic.
fn panic_of(path: &Path) -> Option<String> {
    let bytes = file::read_no_follow(path, 1024).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

/// Leaves it there.
fn leave_panic(path: &Path, word: &str) -> Result<bool, file::Error> {
    file::write(path, format!("{word}\n").as_bytes(), 0o644, Durability::Volatile)
}
