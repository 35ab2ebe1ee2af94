//! `org.freedesktop.systemd1` (the service manager). org.freedesktop.systemd1(5).

use std::fmt::Write;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use zbus::{Connection, OwnedObjectPath, Structure, Variant};

use crate::peer::Peer;
use crate::pending::Pending;

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const JOB: &str = "org.freedesktop.systemd1.Job";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// The unit that uploads the journal.
pub const JOURNAL_UPLOAD: &str = "systemd-journal-upload.service";

/// The unit of the VPN by OpenVPN.
pub const OPENVPN: &str = "openvpn-client@fleet.service";

/// NetworkManager's.
pub const NETWORK_MANAGER: &str = "NetworkManager.service";

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

    /// Forgets that a unit failed.
    pub fn reset_failed<'a>(&'a self, name: &'a str) -> Pending<'a, zbus::Result<()>> {
        self.0.tell(PATH, MANAGER, "ResetFailedUnit", vec![name.into()])
    }

    /// Sends a signal to every process of a unit.
    pub fn kill_unit<'a>(&'a self, name: &'a str, signal: i32) -> Pending<'a, zbus::Result<()>> {
        let arguments = vec![name.into(), "all".into(), signal.into()];
        self.0.tell(PATH, MANAGER, "KillUnit", arguments)
    }

    /// Queues a reload job.
    pub fn reload_unit<'a>(&'a self, name: &'a str, mode: &'a str) -> Pending<'a, zbus::Result<()>> {
        self.0
            .tell(PATH, MANAGER, "ReloadUnit", vec![name.into(), mode.into()])
    }

    /// Whether a unit can be reloaded.
    pub fn can_reload<'a>(&'a self, name: &'a str) -> Pending<'a, zbus::Result<bool>> {
        Box::pin(async move {
            let arguments = vec![UNIT.into(), "CanReload".into()];
            let mut values = self.0.call(&unit(name), PROPERTIES, "Get", arguments).await?;
            values.take()
        })
    }

    /// Changes the environment of what is started from then on: names to remove, and `NAME=value` to set.
    pub fn change_environment<'a>(
        &'a self,
        unset: Vec<&'a str>,
        set: Vec<String>,
    ) -> Pending<'a, zbus::Result<()>> {
        let arguments = vec![unset.into(), set.into()];
        self.0.tell(PATH, MANAGER, "UnsetAndSetEnvironment", arguments)
    }

    /// The environment of what is started from now on, as `NAME=value`.
    pub fn environment(&self) -> Pending<'_, zbus::Result<Vec<String>>> {
        let arguments = vec![MANAGER.into(), "Environment".into()];
        Box::pin(async move { self.0.call(PATH, PROPERTIES, "Get", arguments).await?.take() })
    }

    /// Reads a property that is a `t`: `RuntimeWatchdogUSec`, `RebootWatchdogUSec`.
    pub fn time_span<'a>(&'a self, property: &'a str) -> Pending<'a, zbus::Result<u64>> {
        let arguments = vec![MANAGER.into(), property.into()];
        Box::pin(async move { self.0.call(PATH, PROPERTIES, "Get", arguments).await?.take() })
    }

    /// Sets such a property, µs.
    pub fn set_time_span<'a>(&'a self, property: &'a str, span: u64) -> Pending<'a, zbus::Result<()>> {
        let value = Variant::Variant(Box::new(span.into()));
        let arguments = vec![MANAGER.into(), property.into(), value];
        self.0.tell(PATH, PROPERTIES, "Set", arguments)
    }

    /// The watchdog device that systemd has open; empty for none.
    pub fn watchdog_device(&self) -> Pending<'_, zbus::Result<String>> {
        self.0.text(PATH, MANAGER, "WatchdogDevice")
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
            self.active_state(name).await
        })
    }

    /// `active`, `reloading`, `inactive`, `failed`, `activating`, `deactivating`, … of a unit, by any of its names. One
    /// that does not exist is `inactive`.
    pub async fn active_state(&self, name: &str) -> zbus::Result<String> {
        self.0.text(&unit(name), UNIT, "ActiveState").await
    }

    /// The units that have a start job, waiting or running.
    pub fn starting(&self) -> Pending<'_, zbus::Result<Vec<String>>> {
        Box::pin(async move {
            let mut values = self.0.call(PATH, MANAGER, "ListJobs", Vec::new()).await?;
            let jobs: Vec<Job> = values.take()?;
            let starts = jobs.into_iter().filter(|job| job.kind == "start");
            Ok(starts.map(|job| job.unit).collect())
        })
    }

    /// The state of the system as `systemctl is-system-running` shows it.
    pub async fn system_state(&self) -> zbus::Result<String> {
        self.0.text(PATH, MANAGER, "SystemState").await
    }
}

/// The object of a unit, which systemd loads if it is not. Its path is made of the name (sd_bus_path_encode(3)), so that
/// it need not be asked for with `GetUnit`.
fn unit(name: &str) -> String {
    let mut path = format!("{PATH}/unit/");
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => path.push(byte.into()),
            // Writing to a string cannot fail.
            _ => drop(write!(path, "_{byte:02x}")),
        }
    }
    path
}

/// What is queued for a unit: the beginning of an element of `ListJobs`, `(usssoo)`.
struct Job {
    unit: String,
    kind: String,
}

impl TryFrom<Variant<'static>> for Job {
    type Error = zbus::Error;

    fn try_from(value: Variant<'static>) -> zbus::Result<Self> {
        let mut fields = Structure::try_from(value)?.into_fields().into_iter().skip(1);
        let mut text = || fields.next().ok_or(zbus::Error::IncorrectType)?.try_into();
        Ok(Self {
            unit: text()?,
            kind: text()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_a_unit() {
        assert_eq!(
            unit("openvpn-client@fleet.service"),
            "/org/freedesktop/systemd1/unit/openvpn_2dclient_40fleet_2eservice"
        );
    }
}
