//! `org.freedesktop.hostname1` (systemd-hostnamed). org.freedesktop.hostname1(5).

use zbus::Connection;

use crate::peer::Peer;
use crate::pending::Pending;

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
    pub fn set_hostname<'a>(&'a self, name: &'a str, interactive: bool) -> Pending<'a, zbus::Result<()>> {
        self.0
            .tell(PATH, NAME, "SetHostname", vec![name.into(), interactive.into()])
    }

    /// The host name in force.
    pub async fn hostname(&self) -> zbus::Result<String> {
        self.0.text(PATH, NAME, "Hostname").await
    }
}
