//! What a device would make of a `config.json`, as `fleet config check` says it.

use fleet_base::secret::REDACTED;
use fleet_config::{Checked, KeyRow, State};
use serde_json::{Map, Value, json};

/// A row as people read it: state, key, value, detail.
pub fn row(row: &KeyRow) -> [String; 4] {
    let state = if is_unknown(row) {
        "unknown"
    } else {
        row.state.as_str()
    };
    [state, &row.key, &row.value, &row.detail].map(str::to_owned)
}

/// The rows for scripts, as `fleet config check --json` has them.
pub fn json(checked: &Checked) -> Value {
    let problem = checked.problem.as_ref().map(ToString::to_string);
    let keys = checked.rows.iter().map(|row| {
        let value: Value = serde_json::from_str(&row.value).unwrap_or(Value::Null);
        json!({"key": row.key, "state": row.state.as_str(), "value": value, "detail": row.detail})
    });
    json!({"problem": problem.unwrap_or_default(), "keys": keys.collect::<Value>()})
}

/// Whether it is a key that no release knows: kept, and perhaps misspelt.
pub fn is_unknown(row: &KeyRow) -> bool {
    row.state == State::Unsupported && row.detail.starts_with("unknown")
}

/// The key of a secret that is not there: `…` is what is shown in its place.
pub fn redacted_secret(document: &[u8]) -> Option<String> {
    let document: Map<String, Value> = serde_json::from_slice(document).ok()?;
    let mut entries = document.iter();
    entries.find_map(|(name, value)| holds_redacted(name, value))
}

fn holds_redacted(path: &str, value: &Value) -> Option<String> {
    match value {
        Value::String(text) => (text == REDACTED).then(|| path.escape_debug().to_string()),
        Value::Array(values) => values.iter().find_map(|value| holds_redacted(path, value)),
        Value::Object(object) => object
            .iter()
            .find_map(|(name, value)| holds_redacted(&format!("{path}.{name}"), value)),
        _ => None,
    }
}
