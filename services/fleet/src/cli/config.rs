//! `fleet config`.

pub(super) mod change;
pub(super) mod history;
pub(super) mod patch;

use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::Path;

use fleet_base::exit::Exit;
use fleet_base::file;
use fleet_base::proxy::config::{Config, ConfigProxy, KeyRow};
use serde_json::{Value, json};

use super::connection;
use super::failure::Failure;
use super::output;

/// The unit that answers.
const SERVICE: &str = "fleet-config";

/// The configuration's report.
pub(super) struct Configuration(Config);

impl Configuration {
    /// Asks the configuration manager.
    pub(super) async fn read(connection: &zbus::Connection) -> zbus::Result<Self> {
        ConfigProxy::new(connection).read().await.map(Self)
    }

    /// Whether the first apply of this boot has finished.
    const fn is_applied(&self) -> bool {
        self.0.applied_at > 0
    }

    /// For scripts.
    pub(super) fn json(&self) -> Value {
        json!({
            "revision": self.0.revision,
            "uuid": self.0.uuid,
            "problem": self.0.problem,
            "keys": keys_json(&self.0.keys),
        })
    }

    /// For people: how many keys are in which state, what is wrong, and each key that was refused. A problem is told
    /// while the keys are still being applied: it does not wait for them.
    pub(super) fn sentence(&self) -> String {
        let mut sentence = if self.is_applied() {
            format!("revision {}: {}.", self.0.revision, counts(&self.0.keys))
        } else {
            "being applied for the first time since boot.".to_owned()
        };
        if !self.0.problem.is_empty() {
            sentence += &format!("\nProblem: {}", self.0.problem);
        }
        for (key, _, _, detail) in self.0.keys.iter().filter(|(_, state, ..)| state == "refused") {
            sentence += &format!("\nRefused: {key}: {detail}");
        }
        sentence
    }
}

/// `fleet config show`.
pub(super) async fn show(json: bool) -> Result<Exit, Failure> {
    let connection = connection::open().await?;
    let found = Configuration::read(&connection).await.map_err(failed)?;
    if json {
        return output::json(&found.json());
    }
    if !found.is_applied() {
        return output::line(&found.sentence());
    }
    let found = found.0;
    output::line(&format!("Device {}, revision {}.", found.uuid, found.revision))?;
    if !found.problem.is_empty() {
        output::line(&format!("Problem: {}", found.problem))?;
    }
    table(&found.keys)
}

/// `fleet config get KEY`: JSON with and without `--json`, so that a value can be given back to `set`.
pub(super) async fn get(key: &str) -> Result<Exit, Failure> {
    let connection = connection::open().await?;
    let value = ConfigProxy::new(&connection).get(key).await.map_err(failed)?;
    output::line(&value)
}

/// `fleet config check FILE`: needs no device, no bus and no root.
pub(super) fn check(file: &OsStr, json: bool) -> Result<Exit, Failure> {
    let checked = fleet_config::check(&read(file)?);
    let valid = checked.is_good();
    let problem = checked
        .problem
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    let rows: Vec<KeyRow> = checked
        .rows
        .into_iter()
        .map(|row| (row.key, row.state.as_str().to_owned(), row.value, row.detail))
        .collect();
    if json {
        output::json(&json!({"problem": problem, "keys": keys_json(&rows)}))?;
    } else {
        if !problem.is_empty() {
            output::line(&format!("{}: {problem}", Path::new(file).display()))?;
        }
        table(&rows)?;
        if problem.is_empty() {
            output::line(&format!("{}: {}.", Path::new(file).display(), counts(&rows)))?;
        }
    }
    Ok(if valid { Exit::Done } else { Exit::InvalidData })
}

/// The bytes of a file, or of standard input for `-`.
fn read(file: &OsStr) -> Result<Vec<u8>, Failure> {
    if file == "-" {
        return standard_input().map(String::into_bytes);
    }
    file::read(Path::new(file), fleet_config::document::MAX_BYTES)
        .map_err(|error| Failure::new(Exit::InvalidData, error.to_string()))
}

/// All of standard input, without the line end that `echo` adds.
fn standard_input() -> Result<String, Failure> {
    let mut text = String::new();
    io::stdin()
        .lock()
        // One more than may be, so that too much is found to be too much and not cut.
        .take(fleet_config::document::MAX_BYTES + 2)
        .read_to_string(&mut text)
        .map_err(|error| Failure::new(Exit::InvalidData, format!("cannot read standard input: {error}")))?;
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

/// How many keys are in which state.
fn counts(rows: &[KeyRow]) -> String {
    let count = |wanted: &str| rows.iter().filter(|(_, state, ..)| state == wanted).count();
    let plural = |count: usize| if count == 1 { "key" } else { "keys" };
    let applied = count("applied");
    let mut text = format!("{applied} {} applied", plural(applied));
    for (state, words) in [
        ("pending-reboot", "wait for a reboot"),
        ("refused", "refused"),
        ("unsupported", "not used by Fleet OS"),
    ] {
        if count(state) > 0 {
            text += &format!(", {} {words}", count(state));
        }
    }
    text
}

/// One line a key: state, key, value, detail.
fn table(rows: &[KeyRow]) -> Result<Exit, Failure> {
    let width = |column: fn(&KeyRow) -> &str| {
        rows.iter()
            .map(|row| column(row).chars().count())
            .max()
            .unwrap_or(0)
    };
    let (states, keys) = (width(|row| &row.1), width(|row| &row.0));
    for (key, state, value, detail) in rows {
        let end = [value.as_str(), detail.as_str()]
            .iter()
            .filter(|text| !text.is_empty())
            .fold(String::new(), |line, text| {
                if line.is_empty() {
                    (*text).to_owned()
                } else {
                    format!("{line}  {text}")
                }
            });
        let line = format!("{state:states$}  {key:keys$}  {end}");
        // The state is the first word, so that colour moves nothing.
        let rest = line.strip_prefix(state.as_str()).unwrap_or_default();
        output::line(&format!("{}{}", output::painted(state), rest.trim_end()))?;
    }
    Ok(Exit::Done)
}

/// The rows for scripts. The value in force is JSON itself.
fn keys_json(rows: &[KeyRow]) -> Value {
    rows.iter()
        .map(|(key, state, value, detail)| {
            let value: Value = serde_json::from_str(value).unwrap_or(Value::Null);
            json!({"key": key, "state": state, "value": value, "detail": detail})
        })
        .collect()
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn failed(error: zbus::Error) -> Failure {
    Failure::call(SERVICE, &error)
}
