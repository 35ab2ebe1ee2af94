//! `fleet journal`.

pub(super) mod export;
mod forwarding;

use std::time::Duration;

use fleet_base::exit::Exit;
use fleet_base::proxy::journal::{Journal, JournalProxy};
use serde_json::{Value, json};

use super::connection;
use super::failure::Failure;
use super::output;

/// The unit that answers.
const SERVICE: &str = "fleet-journal";

/// How long a switch may take: what is in RAM has to reach a slow card. The service itself gives up after 70 s.
const SWITCH_TIMEOUT: Duration = Duration::from_secs(80);

/// Where the journal is stored.
pub(super) struct Logging(Journal);

impl Logging {
    /// Asks the journal service.
    pub(super) async fn read(connection: &zbus::Connection) -> zbus::Result<Self> {
        JournalProxy::new(connection).read().await.map(Self)
    }

    /// For scripts.
    pub(super) fn json(&self) -> Value {
        json!({
            "mode": self.0.mode,
            "configured": self.0.configured,
            "usage_bytes": self.0.usage,
            "problem": self.0.problem,
        })
    }

    /// For people.
    pub(super) fn sentence(&self) -> String {
        let on_flash = output::bytes(self.0.usage);
        let mut sentence = match (self.0.mode.as_str(), self.0.configured.as_str()) {
            ("persistent", "persistent") => format!("persistent: on the data partition, {on_flash}."),
            ("persistent", _) => {
                format!("persistent: on the data partition, {on_flash}, until the next boot.")
            }
            (_, "persistent") => {
                "volatile: in RAM now, on the data partition from the next boot on.".to_owned()
            }
            _ => "volatile: in RAM, lost at power-off. `fleet journal persist` keeps it.".to_owned(),
        };
        if self.0.mode != "persistent" && self.0.usage > 0 {
            sentence += &format!(" {on_flash} of earlier logs are on the data partition.");
        }
        if !self.0.problem.is_empty() {
            sentence += &format!("\nProblem: {}", self.0.problem);
        }
        sentence
    }
}

/// `fleet journal status`.
pub(super) async fn status(json: bool) -> Result<Exit, Failure> {
    let connection = connection::open().await?;
    show(&connection, json).await
}

/// `fleet journal persist`.
pub(super) async fn persist(json: bool) -> Result<Exit, Failure> {
    let connection = connection::open_for(SWITCH_TIMEOUT).await?;
    let journal = JournalProxy::new(&connection);
    journal.persist().await.map_err(failed)?;
    show(&connection, json).await
}

/// `fleet journal volatile`.
pub(super) async fn volatile(json: bool) -> Result<Exit, Failure> {
    let connection = connection::open_for(SWITCH_TIMEOUT).await?;
    let journal = JournalProxy::new(&connection);
    journal.volatile().await.map_err(failed)?;
    show(&connection, json).await
}

async fn show(connection: &zbus::Connection, json: bool) -> Result<Exit, Failure> {
    let logging = Logging::read(connection).await.map_err(failed)?;
    let upload = forwarding::state(connection).await;
    if json {
        let mut value = logging.json();
        value["upload"] = json!(upload);
        return output::json(&value);
    }
    output::line(&logging.sentence())?;
    match upload {
        Some(state) => output::line(forwarding::sentence(&state)),
        None => Ok(Exit::Done),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn failed(error: zbus::Error) -> Failure {
    Failure::call(SERVICE, &error)
}
