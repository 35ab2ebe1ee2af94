//! `org.fleetos.Journal1`: the persistent-journal toggler.

use zbus::Connection;

use crate::peer::{Peer, Properties};
use crate::pending::Pending;

const NAME: &str = "org.fleetos.Journal1";
const PATH: &str = "/org/fleetos/Journal1";

/// Where the journal is stored.
#[derive(Debug)]
pub struct JournalProxy(Peer);

/// What the toggler says of the journal.
#[derive(Debug)]
pub struct Journal {
    /// `volatile` or `persistent`: what journald does now.
    pub mode: String,
    /// `volatile` or `persistent`: what the next boot does.
    pub configured: String,
    /// Bytes that the journal's files take on the data partition.
    pub usage: u64,
    /// What is wrong, as a sentence; empty if nothing is.
    pub problem: String,
    /// `panic`, `watchdog`, `requested`, `power` or `unknown`: why the last run ended.
    pub reboot_reason: String,
    /// A sentence on it, without a full stop.
    pub reboot_detail: String,
}

impl From<Properties> for Journal {
    fn from(properties: Properties) -> Self {
        Self {
            mode: properties.text("Mode").to_owned(),
            configured: properties.text("Configured").to_owned(),
            usage: properties.long("Usage"),
            problem: properties.text("Problem").to_owned(),
            reboot_reason: properties.text("RebootReason").to_owned(),
            reboot_detail: properties.text("RebootDetail").to_owned(),
        }
    }
}

/// Every function fails if the service refuses, is not there, or does not answer in time.
#[allow(clippy::missing_errors_doc, reason = "above, once for all")]
impl JournalProxy {
    /// On this bus.
    #[must_use]
    pub fn new(connection: &Connection) -> Self {
        Self(Peer::new(connection, NAME))
    }

    /// What it says of the journal.
    pub async fn read(&self) -> zbus::Result<Journal> {
        Ok(self.0.properties(PATH, NAME).await?.into())
    }

    /// Stores on the data partition from now on, with what is still only in RAM.
    pub fn persist(&self) -> Pending<'_, zbus::Result<()>> {
        self.0.tell(PATH, NAME, "Persist", vec![])
    }

    /// Stores in RAM from now on; what is on flash stays readable.
    pub fn volatile(&self) -> Pending<'_, zbus::Result<()>> {
        self.0.tell(PATH, NAME, "Volatile", vec![])
    }
}
