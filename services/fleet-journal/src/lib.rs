//! The persistent-journal toggler (`org.fleetos.Journal1`).
//!
//! journald keeps `Storage=persistent` and is never restarted: *on* is a flush to the data partition, *off* gives
//! it back to RAM, both live, and a flag on the state partition decides what the next boot does. See
//! `docs/journal.md`.

pub mod export_format;
mod mount;
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

/// How long it stays after the last call.
const QUIET: Duration = Duration::from_secs(10);
/// How long a call of ours may take: longer than the helper waits for journald to copy to a slow SD card.
const CALL_LIMIT: Duration = Duration::from_secs(70);

/// Serves `org.fleetos.Journal1` until nobody called for ten seconds.
#[must_use]
pub fn main() -> Exit {
    runtime::run("fleet-journal", serve())
}

async fn serve() -> Exit {
    let journal = Journal::new(Storage::default());
    idle::serve(Arc::new(journal), bus::system().method_timeout(CALL_LIMIT), QUIET).await
}
