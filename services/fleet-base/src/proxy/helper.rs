//! `org.fleetos.Helper1`: the closed list of verbs that need root.

use zbus::Connection;

use crate::peer::Peer;

const NAME: &str = "org.fleetos.Helper1";
const PATH: &str = "/org/fleetos/Helper1";

/// The helper. Who may call which verb is in `docs/dbus.md`.
#[derive(Debug)]
pub struct HelperProxy(Peer);

/// Every function fails if the helper refuses, cannot do it, or does not answer in time.
#[allow(clippy::missing_errors_doc, reason = "above, once for all")]
impl HelperProxy {
    /// On this bus.
    #[must_use]
    pub fn new(connection: &Connection) -> Self {
        Self(Peer::new(connection, NAME))
    }

    /// Sets the transient host name (RFC 1123).
    pub async fn set_hostname(&self, name: &str) -> zbus::Result<()> {
        self.0.call(PATH, NAME, "SetHostname", &name).await
    }

    /// Makes chrony read its source files again.
    pub async fn reload_time_sources(&self) -> zbus::Result<()> {
        self.0.call(PATH, NAME, "ReloadTimeSources", &()).await
    }

    /// Makes the set of keyfiles that come from the boot partition exactly these (name, content).
    ///
    /// Returns the path of each, in order, and an empty path for one that was not changed.
    pub async fn set_connection_profiles(&self, profiles: &[(&str, &[u8])]) -> zbus::Result<Vec<String>> {
        self.0.call(PATH, NAME, "SetConnectionProfiles", &profiles).await
    }

    /// Starts or stops `fleet-development.target`.
    pub async fn set_development_mode(&self, on: bool) -> zbus::Result<()> {
        self.0.call(PATH, NAME, "SetDevelopmentMode", &on).await
    }

    /// Makes journald store on the data partition.
    pub async fn flush_journal(&self) -> zbus::Result<()> {
        self.0.call(PATH, NAME, "FlushJournal", &()).await
    }

    /// Makes journald store in RAM again.
    pub async fn relinquish_journal(&self) -> zbus::Result<()> {
        self.0.call(PATH, NAME, "RelinquishJournal", &()).await
    }
}
