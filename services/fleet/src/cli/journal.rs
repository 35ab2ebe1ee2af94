//! `fleet journal`.

pub(super) mod export;
mod forwarding;

use std::time::Duration;

use fleet_base::exit::Exit;
use fleet_base::proxy::journal::{Journal, JournalProxy};
use serde_json::{Value, json};

use super::arguments::Switch;
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
        let journal = &self.0;
        let is_temporary = !journal.temporary.is_empty();
        json!({
            "mode": journal.mode,
            "wanted": journal.wanted,
            "configured": journal.configured,
            "override": is_temporary.then_some(&journal.temporary),
            "override_remaining_seconds": is_temporary.then_some(journal.temporary_remaining),
            "usage_bytes": journal.usage,
            "max_use_bytes": journal.max_use,
            "keep_free_bytes": journal.keep_free,
            "problem": journal.problem,
            "reboot": Reboot::of(journal).json(),
        })
    }

    /// For people.
    pub(super) fn sentence(&self) -> String {
        let journal = &self.0;
        let (used, most) = (
            fleet_base::size::bytes(journal.usage),
            fleet_base::size::bytes(journal.max_use),
        );
        let is_persistent = journal.mode == "persistent";
        let mut sentence = match (is_persistent, journal.temporary.is_empty()) {
            (true, _) => format!("persistent: on the data partition, {used} of at most {most}."),
            (false, true) if journal.wanted == journal.mode => {
                "volatile: in RAM, lost at power-off. `fleet journal persist` keeps it.".to_owned()
            }
            (false, _) => "volatile: in RAM, lost at power-off.".to_owned(),
        };
        if !is_persistent && journal.usage > 0 {
            sentence += &format!(" {used} of earlier logs are on the data partition.");
        }
        if !journal.temporary.is_empty() {
            sentence += &format!(
                "\nSo for {} more, by a call; then {}, as the configuration says. `fleet journal reset` ends it now.",
                output::span(journal.temporary_remaining),
                journal.configured
            );
        }
        if !journal.problem.is_empty() {
            sentence += &format!("\nProblem: {}", journal.problem);
        }
        sentence
    }
}

/// Why the last run ended.
pub(super) struct Reboot {
    reason: String,
    detail: String,
}

impl Reboot {
    /// As the journal service publishes it.
    pub(super) async fn read(connection: &zbus::Connection) -> zbus::Result<Self> {
        let journal = JournalProxy::new(connection).read().await?;
        Ok(Self::of(&journal))
    }

    fn of(journal: &Journal) -> Self {
        Self {
            reason: journal.reboot_reason.clone(),
            detail: journal.reboot_detail.clone(),
        }
    }

    /// For scripts.
    pub(super) fn json(&self) -> Value {
        json!({"reason": self.reason, "detail": self.detail})
    }

    /// For people.
    pub(super) fn sentence(&self) -> String {
        format!("{}: {}.", self.reason, self.detail)
    }
}

/// `fleet journal status`.
pub(super) async fn status(json: bool) -> Result<Exit, Failure> {
    let connection = connection::open().await?;
    show(&connection, json).await
}

/// `fleet journal persist`.
pub(super) async fn persist(switch: Switch, json: bool) -> Result<Exit, Failure> {
    let connection = connection::open_for(SWITCH_TIMEOUT).await?;
    let journal = JournalProxy::new(&connection);
    let Switch {
        seconds,
        max_use,
        keep_free,
    } = switch;
    journal
        .persist(seconds, max_use, keep_free)
        .await
        .map_err(failed)?;
    show(&connection, json).await
}

/// `fleet journal volatile`.
pub(super) async fn volatile(switch: Switch, json: bool) -> Result<Exit, Failure> {
    let connection = connection::open_for(SWITCH_TIMEOUT).await?;
    let journal = JournalProxy::new(&connection);
    journal.volatile(switch.seconds).await.map_err(failed)?;
    show(&connection, json).await
}

/// `fleet journal reset`.
pub(super) async fn reset(json: bool) -> Result<Exit, Failure> {
    let connection = connection::open_for(SWITCH_TIMEOUT).await?;
    JournalProxy::new(&connection).reset().await.map_err(failed)?;
    show(&connection, json).await
}

/// `fleet journal purge`.
pub(super) async fn purge(json: bool) -> Result<Exit, Failure> {
    let connection = connection::open_for(SWITCH_TIMEOUT).await?;
    let freed = JournalProxy::new(&connection).purge().await.map_err(failed)?;
    if json {
        return output::json(&json!({"freed_bytes": freed}));
    }
    output::line(&format!(
        "Removed from the data partition: {}.",
        fleet_base::size::bytes(freed)
    ))
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
    output::line(&format!("Last reboot: {}", Reboot::of(&logging.0).sentence()))?;
    match upload {
        Some(state) => output::line(forwarding::sentence(&state)),
        None => Ok(Exit::Done),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn failed(error: zbus::Error) -> Failure {
    Failure::call(SERVICE, &error)
}
