//! `org.fleetos.Config1`: the configuration manager.

use zbus::{Connection, Variant};

use crate::peer::{Peer, Properties};
use crate::pending::Pending;

const NAME: &str = "org.fleetos.Config1";
const PATH: &str = "/org/fleetos/Config1";

/// One key of the report: key, state, value in force as JSON, detail.
pub type KeyRow = (String, String, String, String);

/// One change: its revision, when (microseconds of `CLOCK_REALTIME`, 0 if not known), who, how, the names of the keys
/// that changed.
pub type HistoryRow = (u64, u64, String, String, Vec<String>);

/// The configuration of the device.
#[derive(Debug)]
pub struct ConfigProxy(Peer);

/// What the configuration manager says of itself.
#[derive(Debug)]
pub struct Config {
    /// Counts accepted configurations.
    pub revision: u64,
    /// What is wrong with the document as a whole; empty if nothing is.
    pub problem: String,
    /// The state of every key.
    pub keys: Vec<KeyRow>,
    /// The host name that the configuration asks for.
    pub hostname: String,
    /// The device's identity, 32 hexadecimal digits.
    pub uuid: String,
    /// When the last apply ended, in microseconds of `CLOCK_BOOTTIME`; 0 before the first.
    pub applied_at: u64,
}

impl From<Properties> for Config {
    fn from(mut properties: Properties) -> Self {
        Self {
            revision: properties.long("Revision"),
            problem: properties.text("Problem").to_owned(),
            hostname: properties.text("Hostname").to_owned(),
            uuid: properties.text("Uuid").to_owned(),
            applied_at: properties.long("AppliedAt"),
            keys: properties.take("Keys").unwrap_or_default(),
        }
    }
}

/// Every function fails if the service refuses, is not there, or does not answer in time.
#[allow(clippy::missing_errors_doc, reason = "above, once for all")]
impl ConfigProxy {
    /// On this bus.
    #[must_use]
    pub fn new(connection: &Connection) -> Self {
        Self(Peer::new(connection, NAME))
    }

    /// What it says of itself.
    pub async fn read(&self) -> zbus::Result<Config> {
        Ok(self.0.properties(PATH, NAME).await?.into())
    }

    /// The value of a key (dotted path) as JSON text; the empty key is the whole document. Secrets read `"…"`.
    pub async fn get(&self, key: &str) -> zbus::Result<String> {
        self.0.call(PATH, NAME, "Get", vec![key.into()]).await?.take()
    }

    /// Sets a key to a JSON value, stores and applies. Returns the revision; that from before if nothing changed.
    pub fn set<'a>(&'a self, key: &'a str, json: &'a str) -> Pending<'a, zbus::Result<u64>> {
        self.revision("Set", vec![key.into(), json.into()])
    }

    /// Removes a key, stores and applies. Returns the revision; that from before if the key was not set.
    pub fn unset<'a>(&'a self, key: &'a str) -> Pending<'a, zbus::Result<u64>> {
        self.revision("Unset", vec![key.into()])
    }

    /// Applies a merge patch (RFC 7396, JSON text) if the revision is the expected one (0: any), all of it or nothing,
    /// stores and applies. Returns the revision.
    pub fn patch<'a>(&'a self, expected: u64, patch: &'a str) -> Pending<'a, zbus::Result<u64>> {
        self.revision("Patch", vec![expected.into(), patch.into()])
    }

    /// The rows that a document (JSON text) would give on this device.
    pub fn check<'a>(&'a self, document: &'a str) -> Pending<'a, zbus::Result<Vec<KeyRow>>> {
        Box::pin(async move {
            self.0
                .call(PATH, NAME, "Check", vec![document.into()])
                .await?
                .take()
        })
    }

    /// The last changes, the newest first.
    pub fn history(&self) -> Pending<'_, zbus::Result<Vec<HistoryRow>>> {
        Box::pin(async move { self.0.call(PATH, NAME, "History", vec![]).await?.take() })
    }

    /// Makes the configuration what it was at a revision, as a new one. Returns the new one.
    pub fn revert(&self, revision: u64) -> Pending<'_, zbus::Result<u64>> {
        self.revision("Revert", vec![revision.into()])
    }

    /// Reads the boot partition and applies again now.
    pub fn apply(&self) -> Pending<'_, zbus::Result<()>> {
        self.0.tell(PATH, NAME, "Apply", vec![])
    }

    /// A call that returns a revision.
    fn revision<'a>(
        &'a self,
        method: &'static str,
        arguments: Vec<Variant<'a>>,
    ) -> Pending<'a, zbus::Result<u64>> {
        Box::pin(async move { self.0.call(PATH, NAME, method, arguments).await?.take() })
    }
}
