//! `org.fleetos.Connectivity1`: how far the device reaches.

use zbus::Connection;

use crate::peer::{Peer, Properties};

const NAME: &str = "org.fleetos.Connectivity1";
const PATH: &str = "/org/fleetos/Connectivity1";

/// The connectivity ladder. The closed lists are in `docs/connectivity.md`.
#[derive(Debug)]
pub struct Connectivity {
    /// The highest rung that holds.
    pub level: String,
    /// Why the next rung does not hold; `none` while nothing is wrong.
    pub reason: String,
    /// `online`, `heartbeat-only`, `vpn-only` or `offline`.
    pub status: String,
    /// The same as a sentence.
    pub explanation: String,
    /// The interface that the level was measured on; empty if there is none.
    pub interface: String,
    /// When this level and reason began, in microseconds of `CLOCK_BOOTTIME`.
    pub since: u64,
}

impl From<Properties> for Connectivity {
    fn from(properties: Properties) -> Self {
        Self {
            level: properties.text("Level").to_owned(),
            reason: properties.text("Reason").to_owned(),
            status: properties.text("Status").to_owned(),
            explanation: properties.text("Explanation").to_owned(),
            interface: properties.text("Interface").to_owned(),
            since: properties.long("Since"),
        }
    }
}

/// Asks the watcher.
///
/// # Errors
/// The watcher is not there, or does not answer in time.
pub async fn read(connection: &Connection) -> zbus::Result<Connectivity> {
    Ok(Peer::new(connection, NAME).properties(PATH, NAME).await?.into())
}
