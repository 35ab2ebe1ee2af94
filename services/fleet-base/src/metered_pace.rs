//! The pace of NetworkManager's connectivity check while an uplink is paid by volume. Its interval is one for all devices.
//!
//! `fleet-config` says what it is, `fleet-watch` when, and the helper puts it into NetworkManager's configuration.

use std::path::Path;

use crate::file;
use crate::paths::{RUN_NETWORK_MANAGER_CONFIG, RUN_WATCH_SETTINGS};

/// There while it is in use. It is read after the file of `fleet-config` (`50-fleet.conf`), whose interval it replaces.
pub const IN_USE: &str = "/run/NetworkManager/conf.d/60-fleet-metered.conf";

/// Far more than the files have.
const MAX_BYTES: u64 = 64 * 1024;
/// Seconds, for a file that is missing. The product's default is in `fleet.toml`.
const DEFAULT: u64 = 3600;

/// What [`IN_USE`] is to hold by the configuration.
#[must_use]
pub fn available() -> String {
    content(&text(RUN_WATCH_SETTINGS), &text(RUN_NETWORK_MANAGER_CONFIG))
}

/// What [`IN_USE`] holds; nothing if it is not there.
#[must_use]
pub fn in_use() -> String {
    text(IN_USE)
}

/// NetworkManager.conf(5), "connectivity". It is never made faster than it was, and one that is off stays off.
fn content(watch: &str, network_manager: &str) -> String {
    let metered = number(watch, "metered_interval=").unwrap_or(DEFAULT);
    let interval = metered.max(number(network_manager, "interval=").unwrap_or_default());
    format!("# Made by fleet-helper while an uplink is metered.\n\n[connectivity]\ninterval={interval}\n")
}

fn number(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

/// One that cannot be read has nothing.
fn text(path: &str) -> String {
    let bytes = file::read(Path::new(path), MAX_BYTES).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_faster_than_it_was() {
        for (watch, network_manager, interval) in [
            ("", "", "3600"),
            ("interval=60\nmetered_interval=1800\n", "interval=300\n", "1800"),
            ("metered_interval=1800\n", "enabled=true\ninterval=7200\n", "7200"),
            ("metered_interval=many\n", "interval=300\n", "3600"),
            (
                "metered_interval=600\n",
                "enabled=false\nuri=\ninterval=0\n",
                "600",
            ),
        ] {
            let text = content(watch, network_manager);
            assert!(
                text.ends_with(&format!("\n[connectivity]\ninterval={interval}\n")),
                "{text}"
            );
        }
    }
}
