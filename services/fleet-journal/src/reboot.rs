//! Why the device's last run ended: what `fleet-reboot-reason` has published of it for this boot.

use std::path::Path;

use fleet_base::{file, paths};
use serde_json::Value;

/// More than it ever is.
const LIMIT: u64 = 16 * 1024;

/// A reason and a sentence on it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reboot {
    /// `panic`, `watchdog`, `requested`, `power` or `unknown`.
    pub(crate) reason: String,
    /// Without a full stop.
    pub(crate) detail: String,
}

/// What is published now.
pub(crate) fn published() -> Reboot {
    read(Path::new(paths::REBOOT_REASON))
}

fn read(path: &Path) -> Reboot {
    let bytes = file::read_no_follow(path, LIMIT);
    let published: Option<Value> = bytes.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let text = |name| Some(published.as_ref()?.get(name)?.as_str()?.to_owned());
    match (text("reason"), text("detail")) {
        (Some(reason), Some(detail)) => Reboot { reason, detail },
        _ => Reboot {
            reason: "unknown".to_owned(),
            detail: "it is not determined yet; if it stays so, see fleet-reboot-reason.service".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_reason_it_is_unknown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reason.json");
        let found = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let Reboot { reason, detail } = read(&path);
            (reason, detail)
        };
        assert_eq!(
            found("{\"reason\":\"power\",\"detail\":\"cut\",\"boot\":\"\"}\n"),
            ("power".to_owned(), "cut".to_owned())
        );
        for torn in [
            "",
            "{",
            "[]",
            "{\"reason\":\"power\"}",
            "{\"reason\":1,\"detail\":\"\"}",
        ] {
            assert_eq!(found(torn).0, "unknown", "{torn}");
        }
        assert_eq!(read(&folder.path().join("none")).reason, "unknown");
    }
}
