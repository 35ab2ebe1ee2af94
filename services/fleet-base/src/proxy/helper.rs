//! `org.fleetos.Helper1`: the closed list of verbs that need root.

use zbus::Connection;

use crate::body::Body;
use crate::peer::Peer;
use crate::pending::Pending;

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
    pub fn set_hostname<'a>(&'a self, name: &'a str) -> Pending<'a, zbus::Result<()>> {
        self.0.tell(PATH, NAME, "SetHostname", vec![name.into()])
    }

    /// Makes chrony read its source files again.
    pub fn reload_time_sources(&self) -> Pending<'_, zbus::Result<()>> {
        self.0.tell(PATH, NAME, "ReloadTimeSources", vec![])
    }

    /// Makes the set of keyfiles that come from the boot partition exactly these (name, content).
    ///
    /// Returns the path of each, in order, and an empty path for one that was not changed.
    pub async fn set_connection_profiles(&self, profiles: &[(&str, &[u8])]) -> zbus::Result<Vec<String>> {
        let profiles = Body::Files(profiles);
        self.0
            .send(PATH, NAME, "SetConnectionProfiles", profiles)
            .await?
            .take()
    }

    /// Starts or stops `fleet-development.target`.
    pub fn set_development_mode(&self, on: bool) -> Pending<'_, zbus::Result<()>> {
        self.0.tell(PATH, NAME, "SetDevelopmentMode", vec![on.into()])
    }

    /// Makes udev's rule files of ours exactly these (name without ending, text), and triggers the devices that they
    /// are about. Returns for each, in order, why udev does not take it; an empty text for one that is in force.
    pub async fn set_udev_rules(
        &self,
        rules: Vec<(String, String)>,
        development: bool,
    ) -> zbus::Result<Vec<String>> {
        let arguments = vec![rules.into(), development.into()];
        self.0.call(PATH, NAME, "SetUdevRules", arguments).await?.take()
    }

    /// Lays the certificates of `/run/fleet/config/ca` over the image's, or takes them away again.
    pub fn set_trust_store(&self, extended: bool) -> Pending<'_, zbus::Result<()>> {
        self.0.tell(PATH, NAME, "SetTrustStore", vec![extended.into()])
    }

    /// Sets the regulatory domain that `/run/fleet/config/country` names, and waits for it.
    pub fn set_regulatory_domain(&self) -> Pending<'_, zbus::Result<()>> {
        self.0.tell(PATH, NAME, "SetRegulatoryDomain", vec![])
    }

    /// Makes journald store on the data partition.
    pub fn flush_journal(&self) -> Pending<'_, zbus::Result<()>> {
        self.0.tell(PATH, NAME, "FlushJournal", vec![])
    }

    /// Makes journald store in RAM again.
    pub fn relinquish_journal(&self) -> Pending<'_, zbus::Result<()>> {
        self.0.tell(PATH, NAME, "RelinquishJournal", vec![])
    }
}
