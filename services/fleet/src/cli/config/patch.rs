//! A file of changes: a merge patch (RFC 7396) of the configuration.

use std::ffi::OsStr;
use std::path::Path;

use fleet_base::exit::Exit;
use fleet_base::secret::REDACTED;
use fleet_config::document::Document;
use serde_json::{Map, Value};

use super::read;
use crate::cli::failure::Failure;

/// A patch: the keys in it are set, those that are `null` are removed, every other one stays. It has no `Debug`, because
/// it may hold secrets.
pub(in crate::cli) struct Patch {
    text: String,
    keys: Vec<String>,
}

impl Patch {
    /// Reads a file, `-` for standard input.
    ///
    /// What is syntactically wrong is told here, with line and column; what a key's rule is, is the device's to say.
    pub(in crate::cli) fn read(file: &OsStr) -> Result<Self, Failure> {
        let invalid = |problem: String| {
            Failure::new(
                Exit::InvalidData,
                format!("{}: {problem}", Path::new(file).display()),
            )
        };
        let bytes = read(file)?;
        // Strict, as the device is: no name twice.
        if let Err(problem) = Document::parse(&bytes) {
            return Err(invalid(problem.to_string()));
        }
        let text = String::from_utf8(bytes).map_err(|error| invalid(error.to_string()))?;
        let changes: Value = serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        let mut keys = Vec::new();
        collect("", changes.as_object().unwrap_or(&Map::new()), &mut keys).map_err(|key| {
            invalid(format!(
                "{key} is \"{REDACTED}\", which is what stands for a secret that is not shown. Write the secret itself, or \
                 leave the key out: it stays as it is"
            ))
        })?;
        Ok(Self { text, keys })
    }

    /// The JSON text, as it was given.
    pub(in crate::cli) fn text(&self) -> &str {
        &self.text
    }

    /// The keys that are set or removed, as dotted paths.
    #[cfg(any(test, feature = "workstation"))]
    pub(in crate::cli) fn keys(&self) -> &[String] {
        &self.keys
    }

    /// Whether a row of the report, of this key, tells what became of the patch.
    pub(in crate::cli) fn concerns(&self, row: &str) -> bool {
        self.keys.iter().any(|key| concerns(key, row))
    }
}

/// Whether a row of the report tells what became of a key: it is the row of the key itself, of something in it, or of
/// the whole that the key is a part of.
pub(super) fn concerns(key: &str, row: &str) -> bool {
    let below = |inner: &str, outer: &str| {
        inner
            .strip_prefix(outer)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    below(row, key) || below(key, row)
}

/// Collects the keys of an object. The error is the key of a secret that is not there.
fn collect(above: &str, object: &Map<String, Value>, keys: &mut Vec<String>) -> Result<(), String> {
    for (name, value) in object {
        let key = if above.is_empty() {
            name.escape_debug().to_string()
        } else {
            format!("{above}.{}", name.escape_debug())
        };
        match value {
            Value::Object(inner) if !inner.is_empty() => collect(&key, inner, keys)?,
            value if holds_redacted(value) => return Err(key),
            _ => keys.push(key),
        }
    }
    Ok(())
}

/// Whether this is, or is a list with, the word for a secret.
fn holds_redacted(value: &Value) -> bool {
    match value {
        Value::String(text) => text == REDACTED,
        Value::Array(values) => values.iter().any(holds_redacted),
        Value::Object(object) => object.values().any(holds_redacted),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(text: &str) -> Result<Patch, Failure> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Patch::read(file.path().as_os_str())
    }

    #[test]
    fn knows_its_keys() {
        let cases: [(&str, &[&str]); 5] = [
            ("{}", &[]),
            (
                r#"{"hostname":"a","ntpServers":null}"#,
                &["hostname", "ntpServers"],
            ),
            (
                r#"{"os":{"network":{"connectivity":{"uri":"null","interval":1}},"sshKeys":[]}}"#,
                &[
                    "os.network.connectivity.uri",
                    "os.network.connectivity.interval",
                    "os.sshKeys",
                ],
            ),
            (r#"{"os":{"udevRules":{}}}"#, &["os.udevRules"]),
            ("{\"a\\nb\":1}", &["a\\nb"]),
        ];
        for (text, keys) in cases {
            assert_eq!(patch(text).ok().unwrap().keys(), keys, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_patch() {
        let bad = [
            ("", "line 1"),
            ("[]", "object"),
            ("{\"a\":1,}", "line 1"),
            ("{\"a\":1,\"a\":2}", "twice"),
            ("{\"app\":{\"password\":\"…\"}}", "app.password is \"…\""),
            ("{\"deviceApiKeys\":[\"…\"]}", "deviceApiKeys is \"…\""),
        ];
        for (text, hint) in bad {
            let failure = patch(text).err().unwrap();
            assert_eq!(failure.exit(), Exit::InvalidData, "{text}");
            assert!(failure.to_string().contains(hint), "{text}: {failure}");
        }
        assert!(Patch::read(OsStr::new("/nowhere/at/all")).is_err());
    }

    #[test]
    fn rows_are_told_apart() {
        let ok = [
            ("hostname", "hostname"),
            ("os.sshKeys", "os.sshKeys[1]"),
            ("os.udevRules.modem", "os.udevRules"),
            ("os.network", "os.network.connectivity.uri"),
        ];
        let bad = [
            ("hostname", "hostname2"),
            ("os.sshKeys", "os.sshKeysX"),
            ("os.network.wifi", "os.network.connectivity"),
        ];
        for (key, row) in ok {
            assert!(concerns(key, row), "{key} {row}");
        }
        for (key, row) in bad {
            assert!(!concerns(key, row), "{key} {row}");
        }
    }
}
