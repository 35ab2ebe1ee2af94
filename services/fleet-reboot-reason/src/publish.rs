//! Where the reason is told: a JSON file, and one line in the journal.

use std::path::Path;

use fleet_base::file::{self, Durability};
use fleet_base::logging;
use log::Level;
use serde_json::json;

use crate::last_run::BootId;
use crate::reason::{Reason, Verdict};

/// The journal's `MESSAGE_ID` (systemd.journal-fields(7)). Part of the interface: never changed.
pub(crate) const MESSAGE_ID: &str = "a885b0c4235e47e68599bf4970d42573";

/// Writes the JSON file: one object on one line, readable by all.
///
/// # Errors
/// [`file::Error::Write`].
pub(crate) fn write_file(path: &Path, verdict: &Verdict) -> Result<(), file::Error> {
    // The names are the contract.
    let document = json!({
        "reason": verdict.reason.as_str(),
        "detail": verdict.detail,
        "boot": verdict.boot.as_ref().map_or("", BootId::as_str),
    });
    let line = format!("{document}\n");
    file::write(path, line.as_bytes(), 0o644, Durability::Volatile)?;
    Ok(())
}

/// Writes the journal line: a notice of what was asked for or is the first, else a warning.
pub(crate) fn write_journal(verdict: &Verdict) {
    let Verdict { reason, detail, boot } = verdict;
    let level = match reason {
        Reason::Requested => Level::Info,
        Reason::Unknown if boot.is_none() => Level::Info,
        _ => Level::Warn,
    };
    let reason = reason.as_str();
    logging::record(
        level,
        &format!("why the last run ended: {reason}: {detail}"),
        &[
            ("MESSAGE_ID", MESSAGE_ID),
            ("FLEET_REBOOT_REASON", reason),
            ("FLEET_REBOOT_DETAIL", detail),
            ("FLEET_LAST_BOOT", boot.as_ref().map_or("", BootId::as_str)),
        ],
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_the_contract() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reason.json");
        let verdict = Verdict {
            reason: Reason::Power,
            detail: "a \"detail\"".to_owned(),
            boot: BootId::parse("0123456789abcdef0123456789abcdef"),
        };
        write_file(&path, &verdict).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "{\"reason\":\"power\",\"detail\":\"a \\\"detail\\\"\",\"boot\":\"0123456789abcdef0123456789abcdef\"}\n"
        );
    }

    #[test]
    fn the_names_are_documented() {
        let page = include_str!("../../../docs/reboot-reason.md");
        for name in [
            MESSAGE_ID,
            "FLEET_REBOOT_REASON",
            "FLEET_REBOOT_DETAIL",
            "FLEET_LAST_BOOT",
        ] {
            assert!(page.contains(name), "{name}");
        }
        for reason in [
            Reason::Panic,
            Reason::Watchdog,
            Reason::Requested,
            Reason::Power,
            Reason::Unknown,
        ] {
            assert!(page.contains(&format!("| `{}` |", reason.as_str())), "{reason:?}");
        }
    }
}
