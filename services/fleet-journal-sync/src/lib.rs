//! Has the journal synced to the disk at every error (the key `os.journal.syncLevel`).
//!
//! journald itself does that from *critical* on, and has no setting for it. It runs only while the key asks for it,
//! because it costs a `journalctl` that follows the journal. What it hears of comes from everywhere, and so it reads no
//! more of it than that it is there; the sync itself is root's, a verb of the helper.

mod errors;

use std::path::Path;
use std::time::Duration;

use fleet_base::bus::{self, sentence};
use fleet_base::exit::Exit;
use fleet_base::proxy::helper::HelperProxy;
use fleet_base::{runtime, watchdog};
use tokio::time::{sleep, timeout};
use zbus::Connection;

use crate::errors::Errors;

/// One sync in so long at most: a service that logs nothing but errors must not wear out the disk.
const PACE: Duration = Duration::from_secs(1);
/// How long a sync may take: longer than the helper gives it.
const CALL_LIMIT: Duration = Duration::from_secs(70);
/// There while journald stores on the disk; there is nothing to sync otherwise (systemd-journald.service(8)).
const FLUSHED: &str = "/run/systemd/journal/flushed";

/// Syncs until it is stopped.
#[must_use]
pub fn main() -> Exit {
    runtime::run("fleet-journal-sync", serve())
}

async fn serve() -> Exit {
    let connection = match bus::open(bus::system().method_timeout(CALL_LIMIT)).await {
        Ok(connection) => connection,
        Err(error) => {
            log::warn!("cannot reach the system bus: {error}");
            return Exit::Unavailable;
        }
    };
    let errors = match Errors::follow() {
        Ok(errors) => errors,
        Err(error) => {
            log::warn!("cannot follow the journal: {error}");
            return Exit::Failure;
        }
    };
    tokio::select! {
        exit = sync_at(&errors, &connection) => exit,
        () = connection.closed() => {
            log::warn!("the bus closed the connection");
            Exit::Unavailable
        }
    }
}

/// Whatever is logged here stays below an error, which would be one more to sync.
async fn sync_at(errors: &Errors, connection: &Connection) -> Exit {
    let helper = HelperProxy::new(connection);
    let mut failed = false;
    // One that cannot follow ends soon; one that can says so by an error, or by being there still.
    let mut heard = timeout(PACE, errors.heard()).await.unwrap_or(Ok(()));
    if heard.is_ok() {
        watchdog::ready("syncing the journal at every error");
    }
    loop {
        if let Err(error) = heard {
            log::warn!("journalctl does not follow the journal: {error}");
            return Exit::Failure;
        }
        if Path::new(FLUSHED).exists() {
            match helper.sync_journal().await {
                Ok(()) => failed = false,
                Err(error) => {
                    if !failed {
                        log::warn!("the journal was not synced at an error: {}", sentence(&error));
                    }
                    failed = true;
                }
            }
        }
        sleep(PACE).await;
        heard = errors.heard().await;
    }
}
