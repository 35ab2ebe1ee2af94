//! `org.freedesktop.Avahi` (avahi-daemon), which answers for the host name by mDNS.

use zbus::Connection;

use crate::peer::Peer;
use crate::pending::Pending;

/// Its name on the bus.
pub const NAME: &str = "org.freedesktop.Avahi";
const PATH: &str = "/";
const SERVER: &str = "org.freedesktop.Avahi.Server";
/// `AVAHI_DBUS_ERR_NO_CHANGE` (avahi-common/dbus.h).
const NO_CHANGE: &str = "org.freedesktop.Avahi.NoChangeError";

/// The mDNS responder. A call starts it: ask [`bus::name_owner`](crate::bus::name_owner) first.
#[derive(Debug)]
pub struct AvahiProxy(Peer);

/// Every function fails if avahi-daemon refuses, is not there, or does not answer in time.
#[allow(clippy::missing_errors_doc, reason = "above, once for all")]
impl AvahiProxy {
    /// On this bus.
    #[must_use]
    pub fn new(connection: &Connection) -> Self {
        Self(Peer::new(connection, NAME))
    }

    /// The name that it answers for, without `.local`; another than was set while somebody else on the link has that.
    pub fn host_name(&self) -> Pending<'_, zbus::Result<String>> {
        Box::pin(async move { self.0.call(PATH, SERVER, "GetHostName", vec![]).await?.take() })
    }

    /// Sets that name, one label. To avahi-daemon the name that it has is an error; here it is not.
    pub fn set_host_name<'a>(&'a self, name: &'a str) -> Pending<'a, zbus::Result<()>> {
        Box::pin(async move {
            match self.0.tell(PATH, SERVER, "SetHostName", vec![name.into()]).await {
                Err(zbus::Error::MethodError(error, ..)) if error == NO_CHANGE => Ok(()),
                told => told,
            }
        })
    }
}
