//! When a guest has settled: systemd has finished booting, the configuration was applied for the first time,
//! NetworkManager is not connecting any more, and the watcher has published what came of it.

use std::fmt;
use std::path::Path;
use std::thread;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::guest::{Guest, captured, tail};
use crate::output::Output;

/// NM_STATE_CONNECTING of NetworkManager's D-Bus interface.
const CONNECTING: u64 = 40;

const GET: &str = "busctl --json=short get-property";

/// What a person asks a guest that does not settle.
const FINDINGS: [&str; 4] = [
    "systemctl list-jobs --no-legend",
    "systemctl --failed --no-legend",
    "nmcli general status",
    "journalctl --boot --priority=warning --lines=15 --no-pager --output=short-monotonic",
];

/// What has to come about, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    Booted,
    Configured,
    Connected,
    Judged,
}

impl Goal {
    const ALL: [Self; 4] = [Self::Booted, Self::Configured, Self::Connected, Self::Judged];

    /// The question to the guest, to be answered in at most `seconds`.
    fn question(self, seconds: u64) -> String {
        match self {
            // Without its own limit it would wait for a job that never ends.
            Self::Booted => format!("timeout {seconds} systemctl is-system-running --wait"),
            Self::Configured => format!(
                "[ \"$(systemctl show --property=LoadState --value fleet-config.service)\" = loaded ] || exit 0; \
                 {GET} org.fleetos.Config1 /org/fleetos/Config1 org.fleetos.Config1 AppliedAt"
            ),
            Self::Connected => format!(
                "systemctl is-active --quiet NetworkManager.service || exit 0; \
                 {GET} org.freedesktop.NetworkManager /org/freedesktop/NetworkManager \
                 org.freedesktop.NetworkManager State Startup"
            ),
            Self::Judged => "systemctl is-active --quiet fleet-watch.service || exit 0; \
                 cat /run/fleet/connectivity.json"
                .to_owned(),
        }
    }

    /// Whether the answer says that it has come about.
    fn is_reached(self, answer: &Output) -> bool {
        let text = answer.text();
        match self {
            // `degraded` has settled too: what failed is the caller's to judge.
            Self::Booted => ["running", "degraded", "maintenance"].contains(&text.as_str()),
            // No such unit, no such service running: nothing to wait for.
            _ if text.is_empty() => answer.code == 0,
            Self::Configured => number(&text).is_some_and(|at| at > 0),
            Self::Connected => {
                let mut lines = text.lines();
                let state = lines.next().and_then(number);
                state.is_some_and(|state| state != CONNECTING)
                    && lines.next().is_some_and(|startup| startup.contains("false"))
            }
            // These two reasons are the ones that pass by themselves (docs/connectivity.md).
            Self::Judged => serde_json::from_str::<serde_json::Value>(&text).is_ok_and(|published| {
                let reason = published["reason"].as_str();
                reason.is_some_and(|reason| !["connecting", "checking"].contains(&reason))
            }),
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Booted => "systemd has not finished booting",
            Self::Configured => "fleet-config has not finished its first apply",
            Self::Connected => "NetworkManager is still connecting",
            Self::Judged => "fleet-watch has not judged the connection",
        })
    }
}

/// The number in busctl's `{"type":"u","data":70}`.
fn number(json: &str) -> Option<u64> {
    serde_json::from_str::<serde_json::Value>(json)
        .ok()?
        .get("data")?
        .as_u64()
}

/// Waits until the guest has settled, at the latest until `deadline`. `out` is a folder for output.
pub(crate) fn settle(guest: &mut dyn Guest, out: &Path, deadline: Instant) -> Result<()> {
    for goal in Goal::ALL {
        loop {
            guest.check()?;
            let seconds = deadline.saturating_duration_since(Instant::now()).as_secs() + 1;
            let last = match ask(guest, out, &goal.question(seconds)) {
                Ok(answer) if goal.is_reached(&answer) => break,
                Ok(answer) => answer.to_string(),
                Err(error) => format!("{error:#}"),
            };
            if Instant::now() >= deadline {
                bail!(
                    "the guest has not settled in time: {goal}\n{last}\n{}",
                    findings(guest, out)
                );
            }
            thread::sleep(guest.patience());
        }
    }
    Ok(())
}

fn ask(guest: &mut dyn Guest, out: &Path, question: &str) -> Result<Output> {
    captured(out, question, |streams| guest.exec(question, streams))
}

/// What helps a person to see why.
fn findings(guest: &mut dyn Guest, out: &Path) -> String {
    let mut text = String::new();
    for command in FINDINGS {
        match ask(guest, out, command) {
            Ok(answer) => text.push_str(&format!("{answer}\n")),
            // A guest that answers nothing answers the next question no better.
            Err(_) => break,
        }
    }
    let world = tail(&out.with_file_name("dhcp.log"), 8);
    text + "the end of the world's DHCP log:\n"
        + &world
        + "\nthe end of its console:\n"
        + &tail(&guest.console(), 25)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: i32, stdout: &str) -> Output {
        Output {
            command: String::new(),
            code,
            stdout: stdout.into(),
            stderr: Vec::new(),
        }
    }

    #[test]
    fn booted_is_what_systemd_calls_final() {
        for text in ["running\n", "degraded\n", "maintenance\n"] {
            assert!(Goal::Booted.is_reached(&answer(0, text)), "{text}");
        }
        for text in ["starting\n", "initializing\n", "offline\n", ""] {
            assert!(!Goal::Booted.is_reached(&answer(1, text)), "{text}");
        }
    }

    #[test]
    fn configured_is_a_time_or_no_such_service() {
        let goal = Goal::Configured;
        assert!(goal.is_reached(&answer(0, "")));
        assert!(goal.is_reached(&answer(0, "{\"type\":\"t\",\"data\":5123456}\n")));
        assert!(!goal.is_reached(&answer(0, "{\"type\":\"t\",\"data\":0}\n")));
        assert!(!goal.is_reached(&answer(1, "")));
    }

    #[test]
    fn judged_is_any_reason_that_stays() {
        let goal = Goal::Judged;
        assert!(goal.is_reached(&answer(0, "")), "no watcher");
        assert!(goal.is_reached(&answer(0, r#"{"level": "internet", "reason": "none"}"#)));
        assert!(goal.is_reached(&answer(0, r#"{"level": "dns", "reason": "portal"}"#)));
        assert!(!goal.is_reached(&answer(0, r#"{"level": "dns", "reason": "checking"}"#)));
        assert!(!goal.is_reached(&answer(1, "")), "not published yet");
    }

    #[test]
    fn connected_is_any_end_of_connecting() {
        let goal = Goal::Connected;
        let say = |state: u32, startup: bool| {
            answer(
                0,
                &format!("{{\"type\":\"u\",\"data\":{state}}}\n{{\"type\":\"b\",\"data\":{startup}}}\n"),
            )
        };
        assert!(goal.is_reached(&say(70, false)));
        assert!(goal.is_reached(&say(20, false)));
        assert!(!goal.is_reached(&say(40, false)));
        assert!(!goal.is_reached(&say(70, true)));
        assert!(!goal.is_reached(&answer(1, "")));
    }
}
