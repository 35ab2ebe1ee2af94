//! Where a verdict is told: the JSON file, the journal, and `systemctl status`.

use std::path::Path;

use fleet_base::file::{self, Durability};
use fleet_base::{logging, watchdog};
use log::Level as Priority;
use serde_json::json;

use crate::ladder::Level;
use crate::verdict::Verdict;

/// The journal's `MESSAGE_ID` of a transition (systemd.journal-fields(7)). Part of the interface: never changed.
pub(crate) const MESSAGE_ID: &str = "c29560301a024f1e8501428f8f5f1713";

/// A verdict and since when it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) verdict: Verdict,
    /// When this level and reason began, in microseconds of `CLOCK_BOOTTIME`.
    pub(crate) since: u64,
}

impl Published {
    /// What is published after `verdict` was found at `now`.
    pub(crate) fn next(before: Option<&Self>, verdict: Verdict, now: u64) -> Self {
        let since = match before {
            Some(before) if same_rung(&before.verdict, &verdict) => before.since,
            _ => now,
        };
        Self { verdict, since }
    }
}

fn same_rung(one: &Verdict, other: &Verdict) -> bool {
    (one.level, one.reason) == (other.level, other.reason)
}

/// Writes the JSON file: one object on one line, readable by all, old or new at any instant.
///
/// # Errors
/// [`file::Error::Write`].
pub(crate) fn write_file(path: &Path, published: &Published) -> Result<(), file::Error> {
    let Verdict {
        level,
        reason,
        status,
        explanation,
        interface,
    } = &published.verdict;
    // The names are the contract.
    let document = json!({
        "level": level.as_str(),
        "reason": reason.as_str(),
        "status": status.as_str(),
        "explanation": explanation,
        "interface": interface,
        "since_boottime_us": published.since,
    });
    let line = format!("{document}\n");
    file::write(path, line.as_bytes(), 0o644, Durability::Volatile)?;
    Ok(())
}

/// Writes one journal line: a warning on the way down, else a notice of what has changed.
pub(crate) fn write_journal(before: Option<Level>, verdict: &Verdict) {
    let Verdict {
        level,
        reason,
        status,
        explanation,
        interface,
    } = verdict;
    let priority = if before.is_some_and(|before| *level < before) {
        Priority::Warn
    } else {
        Priority::Info
    };
    let (level, reason, status) = (level.as_str(), reason.as_str(), status.as_str());
    logging::record(
        priority,
        &format!("connectivity is {level} ({status}, {reason}): {explanation}"),
        &[
            ("MESSAGE_ID", MESSAGE_ID),
            ("FLEET_LEVEL", level),
            ("FLEET_REASON", reason),
            ("FLEET_STATUS", status),
            ("FLEET_INTERFACE", interface),
        ],
    );
    watchdog::status(explanation);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Snapshot;
    use crate::verdict::judge;

    fn verdict(reason: &str) -> Verdict {
        judge(&Snapshot::Unreadable(reason.to_owned()))
    }

    #[test]
    fn since_is_kept_while_level_and_reason_are_the_same() {
        let first = Published::next(None, verdict("slow"), 7);
        assert_eq!(first.since, 7);
        let other_words = Published::next(Some(&first), verdict("hung"), 8);
        assert_eq!(other_words.since, 7);
        let mut up = verdict("hung");
        up.level = Level::Dns;
        assert_eq!(Published::next(Some(&other_words), up, 9).since, 9);
    }

    #[test]
    fn the_file_is_the_contract() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("connectivity.json");
        write_file(&path, &Published::next(None, judge(&Snapshot::Absent), 42)).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            concat!(
                r#"{"level":"none","reason":"network-manager-down","status":"offline","#,
                r#""explanation":"NetworkManager does not run: the kernel's network may still work, but nobody looks "#,
                r#"after it; see its unit","interface":"","since_boottime_us":42}"#,
                "\n"
            )
        );
    }

    #[test]
    fn the_message_id_is_documented() {
        assert!(include_str!("../../../docs/connectivity.md").contains(MESSAGE_ID));
    }
}
