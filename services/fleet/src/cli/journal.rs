//! `fleet journal`.

use fleet_base::bus;
use fleet_base::exit::Exit;
use fleet_base::proxy::journal::JournalProxy;
use serde_json::{Value, json};

use super::failure::Failure;
use super::output;

/// The unit that answers.
const SERVICE: &str = "fleet-journal";

/// Where the journal is stored.
pub(super) struct Logging {
    mode: String,
    configured: String,
    usage: u64,
    problem: String,
}

impl Logging {
    /// Asks the journal service.
    pub(super) async fn read(connection: &zbus::Connection) -> zbus::Result<Self> {
        let journal = JournalProxy::new(connection).await?;
        Ok(Self {
            mode: journal.mode().await?,
            configured: journal.configured().await?,
            usage: journal.usage().await?,
            problem: journal.problem().await?,
        })
    }

    /// For scripts.
    pub(super) fn json(&self) -> Value {
        json!({
            "mode": self.mode,
            "configured": self.configured,
            "usage_bytes": self.usage,
            "problem": self.problem,
        })
    }

    /// For people.
    pub(super) fn sentence(&self) -> String {
        let on_flash = output::bytes(self.usage);
        let mut sentence = match (self.mode.as_str(), self.configured.as_str()) {
            ("persistent", "persistent") => format!("persistent: on the data partition, {on_flash}."),
            ("persistent", _) => {
                format!("persistent: on the data partition, {on_flash}, until the next boot.")
            }
            (_, "persistent") => {
                "volatile: in RAM now, on the data partition from the next boot on.".to_owned()
            }
            _ => "volatile: in RAM, lost at power-off. `fleet journal persist` keeps it from now on."
                .to_owned(),
        };
        if self.mode != "persistent" && self.usage > 0 {
            sentence += &format!(" {on_flash} of earlier logs are on the data partition.");
        }
        if !self.problem.is_empty() {
            sentence += &format!("\nProblem: {}", self.problem);
        }
        sentence
    }
}

/// `fleet journal status`.
pub(super) async fn status(json: bool) -> Result<Exit, Failure> {
    let connection = bus::connect()
        .await
        .map_err(|error| Failure::call("dbus", &error))?;
    show(&connection, json).await
}

/// `fleet journal persist`.
pub(super) async fn persist(json: bool) -> Result<Exit, Failure> {
    let connection = bus::connect()
        .await
        .map_err(|error| Failure::call("dbus", &error))?;
    let journal = JournalProxy::new(&connection).await.map_err(failed)?;
    journal.persist().await.map_err(failed)?;
    show(&connection, json).await
}

/// `fleet journal volatile`.
pub(super) async fn volatile(json: bool) -> Result<Exit, Failure> {
    let connection = bus::connect()
        .await
        .map_err(|error| Failure::call("dbus", &error))?;
    let journal = JournalProxy::new(&connection).await.map_err(failed)?;
    journal.volatile().await.map_err(failed)?;
    show(&connection, json).await
}

async fn show(connection: &zbus::Connection, json: bool) -> Result<Exit, Failure> {
    let logging = Logging::read(connection).await.map_err(failed)?;
    if json {
        output::json(&logging.json())
    } else {
        output::line(&logging.sentence())
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn failed(error: zbus::Error) -> Failure {
    Failure::call(SERVICE, &error)
}
