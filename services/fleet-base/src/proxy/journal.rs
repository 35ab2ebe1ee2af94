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
    /// The same: what it is to do.
    pub wanted: String,
    /// The same: what the key `persistentLogging` says.
    pub configured: String,
    /// The same: what a call says instead; empty without one.
    pub temporary: String,
    /// For how many seconds more.
    pub temporary_remaining: u64,
    /// Bytes that the journal's files take on the data partition.
    pub usage: u64,
    /// Bytes that they may take.
    pub max_use: u64,
    /// Bytes that stay free beside them.
    pub keep_free: u64,
    /// What is wrong, as a sentence; empty if nothing is.
    pub problem: String,
    /// `panic`, `watchdog`, `requested`, `power` or `unknown`: why the last run ended.
    pub reboot_reason: String,
    /// A sentence on it, without a full stop.
    pub reboot_detail: String,
}

impl From<Properties> for Journal {
    fn from(properties: Properties) -> Self {
        let text = |name: &str| properties.text(name).to_owned();
        Self {
            mode: text("Mode"),
            wanted: text("Wanted"),
            configured: text("Configured"),
            temporary: text("Override"),
            temporary_remaining: properties.long("OverrideRemaining"),
            usage: properties.long("Usage"),
            max_use: properties.long("MaxUse"),
            keep_free: properties.long("KeepFree"),
            problem: text("Problem"),
            reboot_reason: text("RebootReason"),
            reboot_detail: text("RebootDetail"),
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

    /// What the key `persistentLogging` says. A change of it ends what a call said.
    pub fn configure(&self, persistent: bool) -> Pending<'_, zbus::Result<()>> {
        self.0.tell(PATH, NAME, "Configure", vec![persistent.into()])
    }

    /// Stores on the data partition from now on, with what is still only in RAM, for so many seconds (0: a day) and
    /// within these limits, in bytes (0: those of the configuration).
    pub fn persist(&self, seconds: u64, max_use: u64, keep_free: u64) -> Pending<'_, zbus::Result<()>> {
        let arguments = vec![seconds.into(), max_use.into(), keep_free.into()];
        self.0.tell(PATH, NAME, "Persist", arguments)
    }

    /// Stores in RAM from now on, for so many seconds (0: a day); what is on flash stays readable.
    pub fn volatile(&self, seconds: u64) -> Pending<'_, zbus::Result<()>> {
        self.0.tell(PATH, NAME, "Volatile", vec![seconds.into()])
    }

    /// Ends what a call said.
    pub fn reset(&self) -> Pending<'_, zbus::Result<()>> {
        self.0.tell(PATH, NAME, "Reset", vec![])
    }

    /// Removes what is on the data partition, but for what journald writes to. Returns the bytes that were freed.
    pub fn purge(&self) -> Pending<'_, zbus::Result<u64>> {
        Box::pin(async move { self.0.call(PATH, NAME, "Purge", vec![]).await?.take() })
    }
}
