//! systemd-journal-upload.service, the one unit that this starts and stops.

use std::time::Duration;

use fleet_base::bus::{self, sentence};
use fleet_base::command;
use fleet_base::proxy::systemd::{JOURNAL_UPLOAD, ManagerProxy};
use tokio::time::sleep;
use zbus::Connection;

use crate::service::failed;

/// How long starting or stopping it may take. Callers wait for ten seconds.
const LIMIT: Duration = Duration::from_secs(5);
/// How long it may take to read the reason.
const REASON_LIMIT: Duration = Duration::from_secs(2);
/// How long it is looked at before it counts as running: a collector that refuses does so within a second, and one that
/// does not answer takes minutes.
const LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// Starts it, anew if `again`, or stops it. Returns why it does not get on; empty if it runs, or is stopped.
pub(crate) async fn set(connection: &Connection, on: bool, again: bool) -> bus::Result<String> {
    let systemd = ManagerProxy::new(connection);
    if !on {
        let asked = |error| failed("cannot stop the upload of the journal", &sentence(&error));
        let state = systemd.finish("StopUnit", JOURNAL_UPLOAD, LIMIT).await;
        match state.map_err(asked)?.as_str() {
            "inactive" => {}
            // It hung, and was killed: stopped is what is wanted.
            "failed" => systemd.reset_failed(JOURNAL_UPLOAD).await.map_err(asked)?,
            state => {
                return Err(failed(
                    "cannot stop the upload of the journal",
                    &format!("it is {state}"),
                ));
            }
        }
        log::info!("the journal is not uploaded");
        return Ok(String::new());
    }
    if again {
        let asked = |error| failed("cannot start the upload of the journal", &sentence(&error));
        systemd
            .finish("RestartUnit", JOURNAL_UPLOAD, LIMIT)
            .await
            .map_err(asked)?;
        log::info!("the journal is uploaded to a collector");
    }
    for _ in 0..LOOKS {
        sleep(PAUSE).await;
        let state = systemd.active_state(JOURNAL_UPLOAD).await;
        if state.is_ok_and(|state| state != "active") {
            return Ok(reason().await);
        }
    }
    Ok(String::new())
}

/// The last that it said when it ended.
async fn reason() -> String {
    let arguments = [
        "--unit=systemd-journal-upload.service",
        "--boot",
        "--priority=err",
        "--lines=1",
        "--output=cat",
        "--quiet",
        "--no-pager",
    ];
    let said = command::ask("journalctl", &arguments, b"", REASON_LIMIT).await;
    let said = said.map(|said| said.trim().to_owned()).unwrap_or_default();
    match said.is_empty() {
        true => "it ended, and did not say why (journalctl -u systemd-journal-upload)".to_owned(),
        false => said,
    }
}
