//! What a device says of itself, and whether it is still well. Pure.

use serde_json::Value;

use super::outcome::Fault;
use crate::cli::config::patch::Patch;

/// The ladder, from the bottom; `docs/connectivity.md`.
const LEVELS: [&str; 7] = ["none", "carrier", "address", "gateway", "dns", "internet", "vpn"];

/// A device's `fleet status --json`, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    /// The configuration's revision.
    pub(super) revision: u64,
    /// The rung of [`LEVELS`]; `None` if its watcher does not answer.
    level: Option<usize>,
    /// Key and reason of what is not in force.
    refused: Vec<(String, String)>,
}

/// A device's answer to `fleet config apply - --json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Applied {
    pub(super) revision: u64,
    refused: Vec<(String, String)>,
}

/// How a device is some time after the change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Well,
    /// It may become well by itself.
    NotYet(Fault, String),
    /// It will not.
    Bad(Fault, String),
}

impl Status {
    /// Reads it. The error is a sentence.
    pub(super) fn parse(stdout: &[u8]) -> Result<Self, String> {
        let status: Value = serde_json::from_slice(stdout).map_err(|_| "it is not JSON".to_owned())?;
        let configuration = &status["configuration"];
        let Some(revision) = configuration["revision"].as_u64() else {
            let error = configuration["error"].as_str();
            return Err(error
                .unwrap_or("there is no revision of its configuration in it")
                .to_owned());
        };
        let level = status["connectivity"]["level"].as_str();
        Ok(Self {
            revision,
            level: level.and_then(|level| LEVELS.iter().position(|known| *known == level)),
            refused: refused(&configuration["keys"]),
        })
    }

    /// Judges the device: `before` is how it was, `set` the revision that was made.
    pub(super) fn health(&self, before: &Self, set: u64, patch: &Patch) -> Health {
        if self.revision != set {
            return Health::Bad(
                Fault::Reverted,
                format!(
                    "it is at revision {}, not at {set} that was set; `fleet config history` there says who changed it",
                    self.revision
                ),
            );
        }
        if let Some((key, reason)) = of_patch(&self.refused, patch) {
            return Health::Bad(Fault::NotApplied, format!("{key}: {reason}"));
        }
        match (before.level, self.level) {
            (Some(before), now) if now.is_none_or(|now| now < before) => Health::NotYet(
                Fault::Degraded,
                format!(
                    "its connectivity is {}, and was {} before",
                    now.map_or("not known", name),
                    name(before)
                ),
            ),
            _ => Health::Well,
        }
    }
}

impl Applied {
    /// Reads it.
    pub(super) fn parse(stdout: &[u8]) -> Option<Self> {
        let applied: Value = serde_json::from_slice(stdout).ok()?;
        Some(Self {
            revision: applied["revision"].as_u64()?,
            refused: refused(&applied["keys"]),
        })
    }

    /// Which key of the patch is stored and not in force, and why.
    pub(super) fn not_in_force(&self, patch: &Patch) -> Option<String> {
        of_patch(&self.refused, patch).map(|(key, reason)| format!("{key}: {reason}"))
    }
}

fn name(level: usize) -> &'static str {
    LEVELS.get(level).copied().unwrap_or_default()
}

/// The rows that are refused.
fn refused(keys: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| printable(value.as_str().unwrap_or_default());
    let rows = keys.as_array().map(Vec::as_slice).unwrap_or_default();
    rows.iter()
        .filter(|row| row["state"] == "refused")
        .map(|row| (text(&row["key"]), text(&row["detail"])))
        .collect()
}

fn of_patch<'a>(refused: &'a [(String, String)], patch: &Patch) -> Option<&'a (String, String)> {
    refused.iter().find(|(key, _)| patch.concerns(key))
}

/// What a device said, as one line that may go to a terminal: it might be somebody else who answers.
pub(super) fn printable(text: &str) -> String {
    const LONGEST: usize = 400;
    let words: Vec<&str> = text
        .split(|letter: char| letter.is_whitespace() || letter.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    let line = words.join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patch() -> Patch {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), r#"{"os": {"sshKeys": ["x"], "timezone": "UTC"}}"#).unwrap();
        Patch::read(file.path().as_os_str()).ok().unwrap()
    }

    fn status(revision: u64, level: &str, refused: &[&str]) -> Status {
        let keys: Value = refused
            .iter()
            .map(|key| json!({"key": key, "state": "refused", "detail": "no\u{1b}[31m"}))
            .collect();
        let text = json!({
            "configuration": {"revision": revision, "keys": keys},
            "connectivity": {"level": level},
        });
        Status::parse(text.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn well_is_as_set_in_force_and_no_less_reachable() {
        let before = status(4, "dns", &["hostname"]);
        let degraded = |words: &str| {
            Health::NotYet(
                Fault::Degraded,
                format!("its connectivity is {words}, and was dns before"),
            )
        };
        let reverted =
            "it is at revision 6, not at 5 that was set; `fleet config history` there says who changed it";
        let cases = [
            (status(5, "dns", &[]), Health::Well),
            (status(5, "vpn", &["hostname"]), Health::Well),
            (status(5, "gateway", &[]), degraded("gateway")),
            (status(5, "?", &[]), degraded("not known")),
            (
                status(5, "dns", &["os.sshKeys[1]"]),
                Health::Bad(Fault::NotApplied, "os.sshKeys[1]: no [31m".into()),
            ),
            (
                status(6, "dns", &[]),
                Health::Bad(Fault::Reverted, reverted.into()),
            ),
        ];
        for (after, wanted) in cases {
            assert_eq!(after.health(&before, 5, &patch()), wanted);
        }
        let unknown = status(4, "?", &[]);
        assert_eq!(status(5, "none", &[]).health(&unknown, 5, &patch()), Health::Well);
    }

    #[test]
    fn answers_that_are_none_say_so() {
        for (text, hint) in [
            ("", "not JSON"),
            ("{}", "no revision"),
            (r#"{"configuration": {"error": "it rests"}}"#, "it rests"),
        ] {
            let error = Status::parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(hint), "{text}: {error}");
        }
        assert_eq!(Applied::parse(b"[]"), None);
        let applied =
            json!({"revision": 3, "keys": [{"key": "os.timezone", "state": "refused", "detail": "no zone"}]});
        let applied = Applied::parse(applied.to_string().as_bytes()).unwrap();
        assert_eq!(
            applied.not_in_force(&patch()).as_deref(),
            Some("os.timezone: no zone")
        );
    }

    #[test]
    fn what_is_shown_is_one_line_without_control_characters() {
        assert_eq!(printable(" a\r\n\u{1b}[2Jb\u{7}\t c "), "a [2Jb c");
        assert_eq!(printable(&"ä".repeat(500)).chars().count(), 401);
    }
}
