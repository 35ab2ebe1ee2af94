//! `org.freedesktop.hostname1` (systemd-hostnamed). org.freedesktop.hostname1(5).

use zbus::Connection;

use crate::peer::Peer;

const NAME: &str = "org.freedesktop.hostname1";
const PATH: &str = "/org/freedesktop/hostname1";

/// The host name.
#[derive(Debug)]
pub struct HostnameProxy(Peer);

/// Every function fails if hostnamed refuses, is not there, or does not answer in time.
#[allow(clippy::missing_errors_doc, reason = "above, once for all")]
impl HostnameProxy {
    /// On this bus.
    #[must_use]
    pub fn new(connection: &Connection) -> Self {
        Self(Peer::new(connection, NAME))
    }

    /// Sets the transient host name. `interactive`: whether polkit may ask somebody.
    pub async fn set_hostname(&self, name: &str, interactive: bool) -> zbus::Result<()> {
        self.0.call(PATH, NAME, "SetHostname", &(name, interactive)).await
    }

    /// The host name in force.
    pub async fn hostname(&self) -> zbus::Result<String> {
        self.0.property(PATH, NAME, "Hostname").await
    }
}
