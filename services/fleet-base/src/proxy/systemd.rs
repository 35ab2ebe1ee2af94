//! `org.freedesktop.systemd1` (the service manager). org.freedesktop.systemd1(5).

use zbus::{Connection, OwnedObjectPath};

use crate::peer::Peer;

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";

/// The service manager.
#[derive(Debug)]
pub struct ManagerProxy(Peer);

/// Every function fails if systemd refuses, or does not answer in time.
#[allow(clippy::missing_errors_doc, reason = "above, once for all")]
impl ManagerProxy {
    /// On this bus.
    #[must_use]
    pub fn new(connection: &Connection) -> Self {
        Self(Peer::new(connection, NAME))
    }

    /// Queues a start job. `mode` is `replace`, `fail`, … ; returns the job.
    pub async fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath> {
        self.0.call(PATH, MANAGER, "StartUnit", &(name, mode)).await
    }

    /// Queues a stop job.
    pub async fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath> {
        self.0.call(PATH, MANAGER, "StopUnit", &(name, mode)).await
    }

    /// `active`, `reloading`, `inactive`, `failed`, `activating`, `deactivating`, … of a loaded unit, by any of its
    /// names. `NoSuchUnit` if it is not loaded.
    pub async fn active_state(&self, name: &str) -> zbus::Result<String> {
        let unit: OwnedObjectPath = self.0.call(PATH, MANAGER, "GetUnit", &name).await?;
        self.0.property(unit.as_str(), UNIT, "ActiveState").await
    }

    /// The state of the system as `systemctl is-system-running` shows it.
    pub async fn system_state(&self) -> zbus::Result<String> {
        self.0.property(PATH, MANAGER, "SystemState").await
    }
}
