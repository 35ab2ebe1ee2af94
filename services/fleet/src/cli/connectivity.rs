//! `fleet connectivity`.

use fleet_base::exit::Exit;
use fleet_base::proxy::connectivity::ConnectivityProxy;
use fleet_base::{boot_clock, bus};
use serde_json::{Value, json};

use super::failure::Failure;
use super::output;

/// How far the device reaches.
pub(super) struct Connectivity {
    level: String,
    reason: String,
    status: String,
    explanation: String,
    interface: String,
    since_us: u64,
}

impl Connectivity {
    /// Asks the watcher.
    pub(super) async fn read(connection: &zbus::Connection) -> zbus::Result<Self> {
        let watch = ConnectivityProxy::new(connection).await?;
        Ok(Self {
            level: watch.level().await?,
            reason: watch.reason().await?,
            status: watch.status().await?,
            explanation: watch.explanation().await?,
            interface: watch.interface().await?,
            since_us: watch.since().await?,
        })
    }

    /// For scripts.
    pub(super) fn json(&self) -> Value {
        json!({
            "level": self.level,
            "reason": self.reason,
            "status": self.status,
            "explanation": self.explanation,
            "interface": self.interface,
            "since_boottime_us": self.since_us,
        })
    }

    /// For people.
    pub(super) fn sentence(&self) -> String {
        let since = boot_clock::now_us().saturating_sub(self.since_us) / 1_000_000;
        let place = if self.interface.is_empty() {
            String::new()
        } else {
            format!(" on {}", self.interface)
        };
        let reason = if self.reason == "none" {
            String::new()
        } else {
            format!(", {}", self.reason)
        };
        format!(
            "{} ({}{reason}){place} for {}. {}",
            self.status,
            self.level,
            output::span(since),
            self.explanation
        )
    }
}

/// `fleet connectivity`.
pub(super) async fn show(json: bool) -> Result<Exit, Failure> {
    let connection = bus::connect()
        .await
        .map_err(|error| Failure::call("dbus", &error))?;
    let connectivity = Connectivity::read(&connection)
        .await
        .map_err(|error| Failure::call("fleet-watch", &error))?;
    if json {
        output::json(&connectivity.json())
    } else {
        output::line(&connectivity.sentence())
    }
}
