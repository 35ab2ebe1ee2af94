//! `org.freedesktop.systemd1` (the service manager). org.freedesktop.systemd1(5).

use std::time::Duration;

use tokio::time::{Instant, sleep};
use zbus::{Connection, OwnedObjectPath};

use crate::peer::Peer;
use crate::pending::Pending;

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const JOB: &str = "org.freedesktop.systemd1.Job";
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

    /// Queues a start job. `mode` is `replace`, `fail`, …
    pub fn start_unit<'a>(&'a self, name: &'a str, mode: &'a str) -> Pending<'a, zbus::Result<()>> {
        self.0
            .tell(PATH, MANAGER, "StartUnit", vec![name.into(), mode.into()])
    }

    /// Queues a stop job.
    pub fn stop_unit<'a>(&'a self, name: &'a str, mode: &'a str) -> Pending<'a, zbus::Result<()>> {
        self.0
            .tell(PATH, MANAGER, "StopUnit", vec![name.into(), mode.into()])
    }

    /// Queues a job (`StartUnit`, `StopUnit`, …) and waits until it has ended, well or not. Returns the unit's active
    /// state then. A job that does not end within `limit` goes on, and is an error here.
    #[inline(never)]
    pub fn finish<'a>(
        &'a self,
        method: &'a str,
        name: &'a str,
        limit: Duration,
    ) -> Pending<'a, zbus::Result<String>> {
        Box::pin(async move {
            let arguments = vec![name.into(), "replace".into()];
            let mut queued = self.0.call(PATH, MANAGER, method, arguments).await?;
            let job: OwnedObjectPath = queued.take()?;
            let deadline = Instant::now() + limit;
            // A job that has ended is no object any more. Asking costs less code than to listen for its end.
            while self.0.text(job.as_str(), JOB, "State").await.is_ok() {
                if Instant::now() > deadline {
                    return Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
                }
                sleep(Duration::from_millis(20)).await;
            }
            match self.active_state(name).await {
                // A unit that does nothing any more is unloaded.
                Err(zbus::Error::MethodError(..)) => Ok("inactive".to_owned()),
                state => state,
            }
        })
    }

    /// `active`, `reloading`, `inactive`, `failed`, `activating`, `deactivating`, … of a loaded unit, by any of its
    /// names. `NoSuchUnit` if it is not loaded.
    pub async fn active_state(&self, name: &str) -> zbus::Result<String> {
        let unit: OwnedObjectPath = self
            .0
            .call(PATH, MANAGER, "GetUnit", vec![name.into()])
            .await?
            .take()?;
        self.0.text(unit.as_str(), UNIT, "ActiveState").await
    }

    /// The state of the system as `systemctl is-system-running` shows it.
    pub async fn system_state(&self) -> zbus::Result<String> {
        self.0.text(PATH, MANAGER, "SystemState").await
    }
}
