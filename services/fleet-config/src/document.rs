//! The document: `config.json` as it was written, with every key and in its order.
//!
//! What nobody here knows (keys of other software) is kept in place, so that a change of one key never costs
//! another. Reading is strict, see [`Document::parse`]; what a key means is the business of [`crate::config`].

use std::fmt;

use serde_json::{Map, Value};

use crate::key;
use crate::strict;

pub use crate::strict::SyntaxError;

/// The largest document, in bytes. The largest real ones are a few KiB; the limit is there so that a wrong file
/// in its place cannot exhaust the memory of a small board.
pub const MAX_BYTES: u64 = 1024 * 1024;

/// What stands in place of a secret in everything that is shown.
const REDACTED: &str = fleet_base::secret::REDACTED;

/// A JSON object, keys in the order of the file. It has no `Debug`, because it holds secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Document(Map<String, Value>);

/// Where a key is: `os.network.connectivity.uri`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPath(Vec<String>);

/// Why a key cannot be reached in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The path is empty, has an empty step, or too many of them.
    Path(String),
    /// The step at this path is there and not an object, so nothing can be put below it.
    NotAnObject(KeyPath),
    /// There is no such key.
    NotSet(KeyPath),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(
                f,
                "\"{}\" is not the name of a key: at most {} steps are joined by single dots, as in os.network.connectivity.uri",
                path.escape_debug(),
                KeyPath::MAX_STEPS
            ),
            Self::NotAnObject(path) => {
                write!(f, "{path} is not an object: unset it first to put keys below it")
            }
            Self::NotSet(path) => write!(f, "{path} is not set"),
        }
    }
}

impl std::error::Error for Error {}

impl KeyPath {
    /// Far more than any real one has, and less than the levels of a document that [`Document::parse`] takes: whatever
    /// walks a document goes down as many calls.
    const MAX_STEPS: usize = 32;

    /// Reads a dotted path. An entry's name may have dots of its own (`os.sysctl.vm.swappiness`).
    ///
    /// # Errors
    /// [`Error::Path`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (keys, entry) = match key::entry(text) {
            Some((key, entry)) => (key, Some(entry)),
            None => (text, None),
        };
        let steps: Vec<String> = keys
            .split('.')
            .chain(entry)
            .take(Self::MAX_STEPS + 1)
            .map(str::to_owned)
            .collect();
        if steps.len() > Self::MAX_STEPS || steps.iter().any(String::is_empty) {
            return Err(Error::Path(text.chars().take(80).collect()));
        }
        Ok(Self(steps))
    }

    /// The path of the document itself, above every key.
    pub(crate) const fn root() -> Self {
        Self(Vec::new())
    }

    /// The path of these steps, out of a document that was read.
    pub(crate) const fn of(steps: Vec<String>) -> Self {
        Self(steps)
    }

    /// Its steps.
    pub(crate) fn steps(&self) -> &[String] {
        &self.0
    }

    /// One step below this one.
    pub(crate) fn child(&self, step: &str) -> Self {
        let mut steps = self.0.clone();
        steps.push(step.to_owned());
        Self(steps)
    }

    /// Whether a secret is above it: below one, everything is secret.
    pub(crate) fn is_below_secret(&self) -> bool {
        (1..self.0.len()).any(|depth| key::is_secret(&Self(self.0[..depth].to_vec())))
    }

    /// Whether one of the two is the other, or lies below it.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(ours, theirs)| ours == theirs)
    }

    /// The path above, and the last step.
    fn split(&self) -> Option<(&[String], &str)> {
        self.0.split_last().map(|(last, above)| (above, last.as_str()))
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A name out of a file may hold anything; what is shown is one line.
        write!(f, "{}", self.0.join(".").escape_debug())
    }
}

impl Document {
    /// Reads a document: at most [`MAX_BYTES`], UTF-8 without a byte order mark, exactly one JSON object (RFC 8259),
    /// no name twice in one object, at most 127 levels.
    ///
    /// # Errors
    /// [`SyntaxError`], with line and column where there is one.
    pub fn parse(bytes: &[u8]) -> Result<Self, SyntaxError> {
        strict::object(bytes, MAX_BYTES).map(Self)
    }

    /// The document as text: indented by two, with a final line break.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{:#}\n", Value::Object(self.0.clone()))
    }

    /// The document as text in one line.
    pub(crate) fn to_compact(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }

    /// The keys of the document itself.
    pub(crate) const fn entries(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The value of a key. A JSON `null` is a value like any other here.
    #[must_use]
    pub fn get(&self, path: &KeyPath) -> Option<&Value> {
        let (above, last) = path.split()?;
        above
            .iter()
            .try_fold(&self.0, |object, step| object.get(step)?.as_object())?
            .get(last)
    }

    /// The value of one of our keys, if it is there and not `null`.
    #[must_use]
    pub(crate) fn setting(&self, path: &str) -> Option<&Value> {
        let (above, last) = path.rsplit_once('.').unwrap_or(("", path));
        above
            .split('.')
            .filter(|step| !step.is_empty())
            .try_fold(&self.0, |object, step| object.get(step)?.as_object())?
            .get(last)
            .filter(|value| !value.is_null())
    }

    /// Sets a key; objects on the way are made, what was there is replaced whole and keeps its place.
    ///
    /// # Errors
    /// [`Error::NotAnObject`]: something else is on the way. The document is then unchanged.
    pub fn set(&mut self, path: &KeyPath, value: Value) -> Result<(), Error> {
        let Some((above, last)) = path.split() else {
            return Err(Error::Path(String::new()));
        };
        // Looked at before anything is made, so that an error leaves no half-made way behind.
        let mut object = Some(&self.0);
        for (depth, step) in above.iter().enumerate() {
            object = match object.and_then(|object| object.get(step)) {
                None | Some(Value::Null) => None,
                Some(Value::Object(object)) => Some(object),
                Some(_) => return Err(Error::NotAnObject(KeyPath(path.0[..=depth].to_vec()))),
            };
        }
        let mut object = &mut self.0;
        for step in above {
            let entry = object.entry(step).or_insert(Value::Null);
            if entry.is_null() {
                *entry = Value::Object(Map::new());
            }
            match entry {
                Value::Object(inner) => object = inner,
                _ => return Err(Error::NotAnObject(path.clone())),
            }
        }
        object.insert(last.to_owned(), value);
        Ok(())
    }

    /// Removes a key; the order of the others stays.
    ///
    /// # Errors
    /// [`Error::NotSet`].
    pub fn unset(&mut self, path: &KeyPath) -> Result<(), Error> {
        let missing = || Error::NotSet(path.clone());
        let (above, last) = path.split().ok_or_else(missing)?;
        above
            .iter()
            .try_fold(&mut self.0, |object, step| object.get_mut(step)?.as_object_mut())
            .ok_or_else(missing)?
            .shift_remove(last)
            .map(|_| ())
            .ok_or_else(missing)
    }

    /// Makes a key have this value, or none. Something that is no object and in the way is replaced by one; an object
    /// that becomes empty stays.
    pub(crate) fn force(&mut self, path: &KeyPath, value: Option<Value>) {
        let Some(value) = value else {
            // Not being there is what is wanted.
            let _ = self.unset(path);
            return;
        };
        let Some((above, last)) = path.split() else { return };
        let mut object = &mut self.0;
        for step in above {
            let entry = object.entry(step).or_insert(Value::Null);
            if !entry.is_object() {
                *entry = Value::Object(Map::new());
            }
            match entry {
                Value::Object(inner) => object = inner,
                _ => return,
            }
        }
        object.insert(last.to_owned(), value);
    }

    /// Applies a merge patch (RFC 7396): `null` removes a key, an object goes on in the object under its name,
    /// everything else replaces.
    pub(crate) fn patch(&mut self, patch: &Map<String, Value>) {
        patch_object(&mut self.0, patch);
    }

    /// The value at a path as people may see it: every secret in it reads `…`.
    #[must_use]
    pub fn shown(&self, path: &KeyPath) -> Option<Value> {
        let value = self.get(path)?;
        Some(if path.is_below_secret() {
            Value::from(REDACTED)
        } else {
            redact(path, value)
        })
    }

    /// The whole document as people may see it.
    #[must_use]
    pub fn shown_whole(&self) -> Value {
        redact_object(&KeyPath::root(), &self.0)
    }
}

fn patch_object(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, value) in patch {
        match value {
            Value::Null => drop(target.shift_remove(name)),
            Value::Object(patch) => {
                let entry = target.entry(name).or_insert(Value::Null);
                if !entry.is_object() {
                    *entry = Value::Object(Map::new());
                }
                if let Value::Object(inner) = entry {
                    patch_object(inner, patch);
                }
            }
            other => drop(target.insert(name.clone(), other.clone())),
        }
    }
}

impl From<Map<String, Value>> for Document {
    fn from(object: Map<String, Value>) -> Self {
        Self(object)
    }
}

fn redact(path: &KeyPath, value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        _ if key::is_secret(path) => Value::from(REDACTED),
        Value::Object(object) => redact_object(path, object),
        // Pasted in place of the public one, whatever the key.
        Value::String(text) if text.contains("PRIVATE KEY") => Value::from(REDACTED),
        Value::Array(values) => Value::Array(values.iter().map(|value| redact(path, value)).collect()),
        other => other.clone(),
    }
}

fn redact_object(path: &KeyPath, object: &Map<String, Value>) -> Value {
    let shown = |(name, value): (&String, &Value)| (name.clone(), redact(&path.child(name), value));
    Value::Object(object.iter().map(shown).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document::parse(text.as_bytes()).unwrap()
    }

    fn path(text: &str) -> KeyPath {
        KeyPath::parse(text).unwrap()
    }

    fn compact(document: &Document) -> String {
        Value::Object(document.entries().clone()).to_string()
    }

    #[test]
    fn set_keeps_the_order_and_makes_objects() {
        let mut changed = document(r#"{"z":1,"hostname":"a","x":{"y":[1]}}"#);
        changed.set(&path("hostname"), "b".into()).unwrap();
        changed
            .set(&path("os.network.connectivity.uri"), "null".into())
            .unwrap();
        assert_eq!(
            compact(&changed),
            r#"{"z":1,"hostname":"b","x":{"y":[1]},"os":{"network":{"connectivity":{"uri":"null"}}}}"#
        );
    }

    #[test]
    fn set_does_not_replace_what_is_on_the_way() {
        let mut changed = document(r#"{"os":{"network":[1]}}"#);
        let before = changed.to_text();
        let error = changed
            .set(&path("os.network.connectivity.uri"), 1.into())
            .unwrap_err();
        assert_eq!(error, Error::NotAnObject(path("os.network")));
        assert_eq!(changed.to_text(), before);
    }

    #[test]
    fn unset_keeps_the_order() {
        let mut changed = document(r#"{"a":1,"b":2,"c":3,"d":{"e":4}}"#);
        changed.unset(&path("a")).unwrap();
        changed.unset(&path("d.e")).unwrap();
        assert_eq!(compact(&changed), r#"{"b":2,"c":3,"d":{}}"#);
        assert_eq!(changed.unset(&path("b.c")), Err(Error::NotSet(path("b.c"))));
    }

    #[test]
    fn paths_without_a_name_are_refused() {
        for bad in ["", ".", "a.", ".a", "a..b"] {
            assert!(KeyPath::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_name_of_an_entry_may_have_dots() {
        let mut changed = document(r#"{"os":{"sysctl":{"vm.swappiness":1}}}"#);
        changed.set(&path("os.sysctl.vm.swappiness"), 2.into()).unwrap();
        changed.set(&path("os.udevRules.10-a.rules"), "x".into()).unwrap();
        assert_eq!(
            compact(&changed),
            r#"{"os":{"sysctl":{"vm.swappiness":2},"udevRules":{"10-a.rules":"x"}}}"#
        );
        changed.unset(&path("os.sysctl.vm.swappiness")).unwrap();
        assert!(changed.get(&path("os.sysctl.vm.swappiness")).is_none());
        assert!(KeyPath::parse("os.sysctl.").is_err());
    }

    #[test]
    fn paths_have_a_limit_and_so_has_what_is_made_of_them() {
        let deep = |steps: usize| KeyPath::parse(&vec!["a"; steps].join("."));
        let error = deep(100_000).unwrap_err().to_string();
        assert!(error.contains("at most 32 steps") && error.len() < 300, "{error}");
        assert!(deep(33).is_err());
        let mut made = Document::default();
        made.set(&deep(32).unwrap(), 1.into()).unwrap();
        assert!(Document::parse(made.to_text().as_bytes()).unwrap() == made);
    }

    /// The examples of RFC 7396, appendix A, whose target and patch are objects.
    #[test]
    fn patches_as_the_rfc_has_it() {
        let cases = [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, r#"{}"#),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (
                r#"{"a":{"b":"c"}}"#,
                r#"{"a":{"b":"d","c":null}}"#,
                r#"{"a":{"b":"d"}}"#,
            ),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            (r#"{}"#, r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ];
        for (target, patch, expected) in cases {
            let mut patched = document(target);
            patched.patch(document(patch).entries());
            assert_eq!(compact(&patched), expected, "{target} {patch}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let secret = document(
            r#"{"apiKey":"hunter2","deviceApiKeys":{"host":"hunter2"},"app":{"adminPassword":"hunter2","n":1},
            "os":{"sshKeys":["-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2"]}}"#,
        );
        assert!(!secret.shown_whole().to_string().contains("hunter2"));
        assert_eq!(secret.shown(&path("deviceApiKeys.host")), Some(Value::from("…")));
        assert_eq!(secret.shown(&path("app.adminPassword")), Some(Value::from("…")));
        assert_eq!(secret.shown(&path("app.n")), Some(Value::from(1)));
        assert!(secret.to_text().contains("hunter2"), "the file itself keeps it");
    }
}

#[cfg(test)]
mod laws;
