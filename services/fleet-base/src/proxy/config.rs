//! `org.fleetos.Config1`: the configuration manager.

use zbus::Connection;

use crate::peer::{Peer, Properties};
use crate::pending::Pending;

const NAME: &str = "org.fleetos.Config1";
const PATH: &str = "/org/fleetos/Config1";

/// One key of the report: key, state, value in force as JSON, detail.
pub type KeyRow = (String, String, String, String);

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

    /// Sets a key to a JSON value, stores and applies.
    pub fn set<'a>(&'a self, key: &'a str, json: &'a str) -> Pending<'a, zbus::Result<()>> {
        self.0.tell(PATH, NAME, "Set", vec![key.into(), json.into()])
    }

    /// Removes a key, stores and applies.
    pub fn unset<'a>(&'a self, key: &'a str) -> Pending<'a, zbus::Result<()>> {
        self.0.tell(PATH, NAME, "Unset", vec![key.into()])
    }

    /// Reads the boot partition and applies again now.
    pub fn apply(&self) -> Pending<'_, zbus::Result<()>> {
        self.0.tell(PATH, NAME, "Apply", vec![])
    }
}
