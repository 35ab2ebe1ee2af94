//! Whether the journal is uploaded, as systemd has it now.

use fleet_base::proxy::systemd::{JOURNAL_UPLOAD, ManagerProxy};

/// The state of the upload: `active`, `activating` (between two tries), …; `None` if there is none, or it is not known.
pub(super) async fn state(connection: &zbus::Connection) -> Option<String> {
    let state = ManagerProxy::new(connection)
        .active_state(JOURNAL_UPLOAD)
        .await
        .ok()?;
    (state != "inactive").then_some(state)
}

/// For people.
pub(super) fn sentence(state: &str) -> &'static str {
    match state {
        "active" => "It is uploaded to a collector (os.journal.upload.url).",
        _ => {
            "The collector that it is to be uploaded to is not reached; it is tried again. \
             `journalctl -u systemd-journal-upload` says why."
        }
    }
}
