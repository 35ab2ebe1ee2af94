//! `fleet connectivity`.

use fleet_base::boot_clock;
use fleet_base::exit::Exit;
use fleet_base::proxy::connectivity;
use serde_json::{Value, json};

use super::connection;
use super::failure::Failure;
use super::output;

/// How far the device reaches.
pub(super) struct Connectivity(connectivity::Connectivity);

impl Connectivity {
    /// Asks the watcher.
    pub(super) async fn read(connection: &zbus::Connection) -> zbus::Result<Self> {
        connectivity::read(connection).await.map(Self)
    }

    /// For scripts.
    pub(super) fn json(&self) -> Value {
        json!({
            "level": self.0.level,
            "reason": self.0.reason,
            "status": self.0.status,
            "explanation": self.0.explanation,
            "interface": self.0.interface,
            "since_boottime_us": self.0.since,
        })
    }

    /// For people.
    pub(super) fn sentence(&self) -> String {
        let since = boot_clock::now_us().saturating_sub(self.0.since) / 1_000_000;
        let place = if self.0.interface.is_empty() {
            String::new()
        } else {
            format!(" on {}", self.0.interface)
        };
        let reason = if self.0.reason == "none" {
            String::new()
        } else {
            format!(", {}", self.0.reason)
        };
        format!(
            "{} ({}{reason}){place} for {}. {}",
            self.0.status,
            self.0.level,
            output::span(since),
            self.0.explanation
        )
    }
}

/// `fleet connectivity`.
pub(super) async fn show(json: bool) -> Result<Exit, Failure> {
    let connection = connection::open().await?;
    let connectivity = Connectivity::read(&connection)
        .await
        .map_err(|error| Failure::call("fleet-watch", &error))?;
    if json {
        output::json(&connectivity.json())
    } else {
        output::line(&connectivity.sentence())
    }
}
