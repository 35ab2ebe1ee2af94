//! Sets the regulatory domain of Wi-Fi, and reads it back.
//!
//! Which one is in a file that `fleet-config` renders; what came of it is in a file for everybody. Started when the
//! configuration changes, and by udev for a radio that appears later. A process of its own, because the domain is of a
//! network namespace, and the device's is what no other service of ours is in.

mod domain;

use std::path::Path;

use fleet_base::exit::Exit;
use fleet_base::file::{self, Durability};
use fleet_base::{paths, runtime};

use crate::domain::{Domain, Error};

/// A device for each radio (Documentation/ABI/stable/sysfs-class-ieee80211 of the kernel).
const RADIOS: &str = "/sys/class/ieee80211";
/// What is published when there is no radio.
const NO_RADIO: &str = "none";

/// Sets it once.
#[must_use]
pub fn main() -> Exit {
    runtime::run("fleet-regdomain", set())
}

async fn set() -> Exit {
    let published = Path::new(paths::REGULATORY_DOMAIN);
    let wanted = file::read(Path::new(paths::RUN_COUNTRY), 64).unwrap_or_default();
    let wanted = Domain::read(&String::from_utf8_lossy(&wanted));
    // The kernel starts with the world domain: there is nothing to take back.
    if wanted == Domain::WORLD && !published.exists() {
        return Exit::Done;
    }
    let (line, exit) = if has_radio(Path::new(RADIOS)) {
        match wanted.set().await {
            Ok(()) => {
                log::info!("the regulatory domain is {wanted}");
                (wanted.to_string(), Exit::Done)
            }
            Err(error) => {
                log::error!("{error}");
                let in_force = match &error {
                    Error::Kept { in_force, .. } => in_force.to_string(),
                    Error::Command(_) => NO_RADIO.to_owned(),
                };
                (format!("{in_force} {error}"), Exit::Failure)
            }
        }
    } else {
        (NO_RADIO.to_owned(), Exit::Done)
    };
    match file::write(
        published,
        format!("{line}\n").as_bytes(),
        0o644,
        Durability::Volatile,
    ) {
        Ok(_) => exit,
        Err(error) => {
            log::error!("{error}");
            Exit::CannotWrite
        }
    }
}

fn has_radio(folder: &Path) -> bool {
    file::names(folder).is_ok_and(|names| !names.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_radio_is_an_entry() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!has_radio(folder.path()) && !has_radio(&folder.path().join("none")));
        std::fs::write(folder.path().join("phy0"), "").unwrap();
        assert!(has_radio(folder.path()));
    }
}
