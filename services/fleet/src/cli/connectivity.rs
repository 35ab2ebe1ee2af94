//! `fleet connectivity`.

use std::time::{SystemTime, UNIX_EPOCH};

use fleet_base::boot_clock;
use fleet_base::exit::Exit;
use fleet_base::proxy::connectivity::{self, Changes, Details, ProblemRow, StepRow, UplinkRow, VpnRow};
use serde_json::{Value, json};

use super::connection;
use super::failure::Failure;
use super::output;

/// How far the device reaches.
#[derive(PartialEq, Eq)]
pub(super) struct Connectivity(connectivity::Connectivity, Details);

impl Connectivity {
    /// Asks the watcher.
    pub(super) async fn read(connection: &zbus::Connection) -> zbus::Result<Self> {
        let (reach, details) = connectivity::read_all(connection).await?;
        Ok(Self(reach, details))
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
            "vpns": self.1.vpns.iter().map(vpn_json).collect::<Vec<_>>(),
            "repair": self.repair_json(),
        })
    }

    /// For people.
    pub(super) fn sentence(&self) -> String {
        let place = if self.0.interface.is_empty() {
            String::new()
        } else {
            format!(" on {}", self.0.interface)
        };
        output::plain(&format!(
            "{} ({}){place} for {}. {}",
            self.0.status,
            rung(&self.0.level, &self.0.reason),
            span_since(self.0.since),
            self.0.explanation
        ))
    }

    fn repair_json(&self) -> Value {
        let step = |(step, subject, reason, outcome, detail, at): &StepRow| json!({ "step": step, "subject": subject, "reason": reason, "outcome": outcome, "detail": detail, "at": at });
        let (state, subject, at) = &self.1.state;
        json!({
            "state": state,
            "subject": subject,
            "next_boottime_us": at,
            "steps": self.1.steps.iter().map(step).collect::<Vec<_>>(),
        })
    }

    /// What is done about it, if anything is.
    fn repair_line(&self) -> Option<String> {
        let (state, subject, at) = &self.1.state;
        let at = || output::span(at.saturating_sub(boot_clock::now_us()) / 1_000_000);
        match state.as_str() {
            "waiting" => Some(format!(
                "  repair: a step for {subject} in {}, if it is not well by then",
                at()
            )),
            "acting" => Some(format!("  repair: a step for {subject} is being taken")),
            "spent" => Some(format!(
                "  repair: every step for {subject} was tried as often as it may be; the next in {}",
                at()
            )),
            _ => None,
        }
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
        lines.extend(self.1.vpns.iter().map(vpn_line));
        for (step, subject, reason, outcome, detail, at) in &self.1.steps {
            let when = span_from(*at);
            let detail = if detail.is_empty() {
                String::new()
            } else {
                format!(": {detail}")
            };
            lines.push(format!(
                "  repair: {when} ago {step} for {subject} ({reason}), {outcome}{detail}"
            ));
        }
        lines.extend(self.repair_line());
        lines.iter().map(|line| output::plain(line)).collect()
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

fn vpn_json((name, state, reason, explanation, since, received, sent, handshake): &VpnRow) -> Value {
    json!({
        "name": name,
        "state": state,
        "reason": reason,
        "explanation": explanation,
        "since_boottime_us": since,
        "received_bytes": received,
        "sent_bytes": sent,
        "last_handshake": handshake,
    })
}

/// Why it is not up the sentence of the device says.
fn vpn_line((name, state, reason, _, since, received, sent, handshake): &VpnRow) -> String {
    let mut line = format!("  {name}: {} for {}", rung(state, reason), span_since(*since));
    if received + sent > 0 {
        line += &format!("; {received} bytes in, {sent} out");
    }
    if *handshake > 0 {
        line += &format!("; heard {} ago", span_from(*handshake));
    }
    line
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

/// Since a time in seconds since 1970.
fn span_from(at: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    output::span(now.map_or(0, |now| now.as_secs()).saturating_sub(at))
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
