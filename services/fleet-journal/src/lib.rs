//! The persistent-journal toggler (`org.fleetos.Journal1`).
//!
//! journald keeps `Storage=persistent` and is never restarted: *on* is a flush to the data partition, *off* gives
//! it back to RAM, both live, and a flag on the state partition decides what the next boot does.
//!
//! [`intent`] (configuration, calls with a time) and [`storage`] (the truth) → [`decision`] (pure) → [`switch`] (journald,
//! through the helper) → [`service`] (D-Bus). The service leaves when nobody calls; from then on [`keeper`], in a service that
//! stays anyway, looks whether there is something to do, and starts it for that. See `docs/journal.md`.

mod alarm;
mod decision;
pub mod export_format;
mod intent;
pub mod keeper;
mod limits;
mod mode;
mod mount;
mod reboot;
pub mod redaction;
mod service;
mod storage;
mod switch;
pub mod upload_cursor;

use std::sync::Arc;
use std::time::Duration;

use fleet_base::exit::Exit;
use fleet_base::{bus, idle, runtime};

use crate::service::Journal;
use crate::storage::Storage;

/// How long it stays after the last call, and after the last look that is due sooner than this.
const QUIET: Duration = Duration::from_secs(10);
/// How long a call of ours may take: longer than the helper waits for journald to copy to a slow SD card.
const CALL_LIMIT: Duration = Duration::from_secs(70);

/// Serves `org.fleetos.Journal1` until nobody called for ten seconds, and longer while a limit is near.
#[must_use]
pub fn main() -> Exit {
    runtime::run("fleet-journal", serve())
}

async fn serve() -> Exit {
    let journal = Arc::new(Journal::new(Storage::default()));
    let beside = {
        let journal = Arc::clone(&journal);
        |connection, activity| -> idle::Beside { Box::pin(journal.watch(connection, activity)) }
    };
    let bus = bus::system().method_timeout(CALL_LIMIT);
    idle::serve_beside(journal, bus, QUIET, Box::new(beside)).await
}
