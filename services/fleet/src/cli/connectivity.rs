//! `fleet connectivity`.

use fleet_base::boot_clock;
use fleet_base::exit::Exit;
use fleet_base::proxy::connectivity::{self, Changes, ProblemRow, UplinkRow};
use serde_json::{Value, json};

use super::connection;
use super::failure::Failure;
use super::output;

/// How far the device reaches.
#[derive(PartialEq, Eq)]
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
            "uplinks": self.0.uplinks.iter().map(uplink_json).collect::<Vec<_>>(),
        })
    }

    /// For people.
    pub(super) fn sentence(&self) -> String {
        let place = if self.0.interface.is_empty() {
            String::new()
        } else {
            format!(" on {}", self.0.interface)
        };
        format!(
            "{} ({}){place} for {}. {}",
            self.0.status,
            rung(&self.0.level, &self.0.reason),
            span_since(self.0.since),
            self.0.explanation
        )
    }

    /// For people who want to know more: every uplink where there are several, and what is at fault.
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.sentence()];
        for (interface, level, reason, explanation, since, problems) in &self.0.uplinks {
            if self.0.uplinks.len() > 1 {
                let since = span_since(*since);
                lines.push(format!(
                    "  {interface}: {} for {since}. {explanation}",
                    rung(level, reason)
                ));
            }
            lines.extend(
                problems
                    .iter()
                    .map(|(_, _, explanation)| format!("  ! {explanation}")),
            );
        }
        lines
    }
}

fn uplink_json((interface, level, reason, explanation, since, problems): &UplinkRow) -> Value {
    let problem = |(reason, subject, explanation): &ProblemRow| json!({ "reason": reason, "subject": subject, "explanation": explanation });
    json!({
        "interface": interface,
        "level": level,
        "reason": reason,
        "explanation": explanation,
        "since_boottime_us": since,
        "problems": problems.iter().map(problem).collect::<Vec<_>>(),
    })
}

/// The level, and the reason if there is one.
fn rung(level: &str, reason: &str) -> String {
    match reason {
        "none" => level.to_owned(),
        _ => format!("{level}, {reason}"),
    }
}

fn span_since(since: u64) -> String {
    output::span(boot_clock::now_us().saturating_sub(since) / 1_000_000)
}

/// `fleet connectivity`.
pub(super) async fn show(json: bool) -> Result<Exit, Failure> {
    let connection = connection::open().await?;
    let connectivity = Connectivity::read(&connection).await.map_err(no_answer)?;
    if json {
        output::json(&connectivity.json())
    } else {
        output::line(&connectivity.lines().join("\n"))
    }
}

/// `fleet connectivity --watch`: a line now and one a change, until somebody ends it (Ctrl-C) or the bus goes away.
pub(super) async fn watch(json: bool) -> Result<Exit, Failure> {
    let connection = connection::open().await?;
    let mut changes = Changes::follow(&connection).await.map_err(no_answer)?;
    let mut shown = None;
    loop {
        let now = Connectivity::read(&connection).await.map_err(no_answer)?;
        if shown.as_ref() != Some(&now) {
            if json {
                output::line(&now.json().to_string())?;
            } else {
                output::line(&now.lines().join("\n"))?;
            }
            shown = Some(now);
        }
        if changes.next().await.is_none() {
            return Err(Failure::new(
                Exit::Unavailable,
                "the bus has closed the connection",
            ));
        }
    }
}

fn no_answer(error: zbus::Error) -> Failure {
    Failure::call("fleet-watch", &error)
}
