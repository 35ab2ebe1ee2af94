//! `org.freedesktop.NetworkManager`, what is called in it. NetworkManager's D-Bus API reference.

use zbus::{Connection, ObjectPath, OwnedObjectPath};

use crate::peer::{Peer, Properties};
use crate::pending::Pending;

/// NetworkManager's well-known name, and its main interface.
pub const NAME: &str = "org.freedesktop.NetworkManager";
/// The daemon's object.
pub const PATH: &str = "/org/freedesktop/NetworkManager";
/// The object of the profiles.
pub const SETTINGS_PATH: &str = "/org/freedesktop/NetworkManager/Settings";
const SETTINGS: &str = "org.freedesktop.NetworkManager.Settings";

/// `NMManagerReloadFlags.CONF`: read the configuration files again.
pub const RELOAD_CONF: u32 = 0x1;

/// The daemon.
#[derive(Debug)]
pub struct NetworkManagerProxy(Peer);

/// What NetworkManager has in force of its configuration files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// Whether the connectivity check is on and has a URI.
    pub check_enabled: bool,
    /// The address that is asked.
    pub check_uri: String,
    /// The resolvers for all names in place of the networks' own; empty for none.
    pub resolvers: Vec<String>,
}

/// Every function fails if NetworkManager refuses, is not there, or does not answer in time.
#[allow(clippy::missing_errors_doc, reason = "above, once for all")]
impl NetworkManagerProxy {
    /// On this bus.
    #[must_use]
    pub fn new(connection: &Connection) -> Self {
        Self(Peer::new(connection, NAME))
    }

    /// Reloads configuration; see [`RELOAD_CONF`].
    pub fn reload(&self, flags: u32) -> Pending<'_, zbus::Result<()>> {
        self.0.tell(PATH, NAME, "Reload", vec![flags.into()])
    }

    /// What is in force.
    pub async fn in_force(&self) -> zbus::Result<InForce> {
        let mut properties = self.0.properties(PATH, NAME).await?;
        let mut global_dns: Properties = properties.take("GlobalDnsConfiguration").unwrap_or_default();
        let mut domains: Properties = global_dns.take("domains").unwrap_or_default();
        let mut all_names: Properties = domains.take("*").unwrap_or_default();
        Ok(InForce {
            check_enabled: properties.flag("ConnectivityCheckEnabled")
                && properties.flag("ConnectivityCheckAvailable"),
            check_uri: properties.text("ConnectivityCheckUri").to_owned(),
            resolvers: all_names.texts("servers"),
        })
    }

    /// Reads these keyfiles. Returns those that were not read.
    pub async fn load_connections(&self, files: &[&str]) -> zbus::Result<Vec<String>> {
        let arguments = vec![files.to_vec().into()];
        let mut values = self
            .0
            .call(SETTINGS_PATH, SETTINGS, "LoadConnections", arguments)
            .await?;
        let _all_were_read: bool = values.take()?;
        values.take()
    }

    /// Activates the profile with this UUID, anew if it is active.
    pub fn activate<'a>(&'a self, uuid: &'a str) -> Pending<'a, zbus::Result<()>> {
        Box::pin(async move {
            let arguments = vec![uuid.into()];
            let mut values = self
                .0
                .call(SETTINGS_PATH, SETTINGS, "GetConnectionByUuid", arguments)
                .await?;
            let profile: OwnedObjectPath = values.take()?;
            // "/": the device, and what else there is to choose, as the profile says.
            let any = || OwnedObjectPath::from(ObjectPath::default()).into();
            let arguments = vec![profile.into(), any(), any()];
            self.0.tell(PATH, NAME, "ActivateConnection", arguments).await
        })
    }

    /// Reads all profiles from disk again; ones whose file is gone disappear.
    pub fn reload_connections(&self) -> Pending<'_, zbus::Result<()>> {
        self.0.tell(SETTINGS_PATH, SETTINGS, "ReloadConnections", vec![])
    }
}
