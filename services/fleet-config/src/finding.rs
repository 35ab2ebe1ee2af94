//! What the reader finds in a document, key by key, and the document that is accepted of it.

use std::fmt;
use std::path::Path;

use fleet_base::secret::REDACTED;
use serde_json::{Map, Value};

use crate::config::{is_development, ssh_keys, udev_rules};
use crate::document::{Document, KeyPath};
use crate::key::{self, Class};
use crate::strict::kind;
use crate::value::{Refusal, Timezone, Uuid, sysctl, timezone};

/// One key of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The key, or the object above keys that is none.
    pub(crate) path: KeyPath,
    /// The entry of an array or of an object with free names, when only this one is meant.
    pub(crate) entry: Option<Entry>,
    /// What was found.
    pub(crate) verdict: Verdict,
}

/// One entry of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Of an array.
    Index(usize),
    /// Of an object.
    Name(String),
}

/// What was found at a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A value that keeps the rule.
    Good,
    /// A value that breaks the rule.
    Bad(Refusal),
    /// Something else where an object was expected, which one.
    NotAnObject(&'static str),
    /// Another identity than the device's.
    OtherIdentity,
    /// A key that is kept and not looked at.
    Kept(Class),
    /// A key that is not in the table, and the one that may have been meant.
    Unknown(Option<&'static str>),
}

impl Finding {
    /// The name under which it is reported: `os.sshKeys[1]`, `os.udevRules["usb"]` for an entry.
    pub(crate) fn name(&self) -> String {
        match &self.entry {
            Some(Entry::Index(entry)) => format!("{}[{entry}]", self.path),
            Some(Entry::Name(entry)) => format!("{}[{entry:?}]", self.path),
            None => self.path.to_string(),
        }
    }

    /// Whether it is refused.
    pub(crate) const fn is_refused(&self) -> bool {
        matches!(
            self.verdict,
            Verdict::Bad(_) | Verdict::NotAnObject(_) | Verdict::OtherIdentity
        )
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Good => Ok(()),
            Self::Bad(refusal) => refusal.fmt(f),
            Self::NotAnObject(found) => write!(f, "an object was expected, not {found}"),
            Self::OtherIdentity => {
                f.write_str("the identity of a device does not change; it keeps the one it has")
            }
            Self::Kept(Class::Kept) => f.write_str("kept for other software"),
            Self::Kept(Class::Later) => {
                f.write_str("understood by a later release; its shape is right; kept")
            }
            Self::Kept(_) => f.write_str("not supported on this board; kept"),
            Self::Unknown(Some(meant)) => write!(f, "unknown; perhaps {meant} was meant; kept"),
            Self::Unknown(None) => f.write_str("unknown; kept for other software"),
        }
    }
}

/// Looks at every key of a document, in its order. `identity` is the device's, where there is one.
///
/// A key that is `null` counts as not set and is not reported.
pub(crate) fn inspect(document: &Document, identity: Option<&Uuid>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let development = is_development(document);
    walk(
        &KeyPath::root(),
        document.entries(),
        identity,
        development,
        &mut findings,
    );
    findings
}

fn walk(
    above: &KeyPath,
    object: &Map<String, Value>,
    identity: Option<&Uuid>,
    development: bool,
    findings: &mut Vec<Finding>,
) {
    for (name, value) in object {
        if value.is_null() {
            continue;
        }
        let path = above.child(name);
        let dotted = path.to_string();
        if !key::is_group(&dotted)
            && let Some(path) = redacted(&path, value)
        {
            let rule = "that is what stands for a secret that is not shown; give the secret itself, or leave the key out";
            findings.push(Finding {
                path,
                entry: None,
                verdict: Verdict::Bad(Refusal::of(REDACTED, rule)),
            });
            continue;
        }
        let mut found = |entry, verdict| {
            findings.push(Finding {
                path: path.clone(),
                entry,
                verdict,
            })
        };
        // A name with dots of its own is no path: `"os.sshKeys": …` at the top is not what we read.
        if name.contains('.') {
            found(None, Verdict::Unknown(key::nearest(&dotted)));
            continue;
        }
        match (key::find(&dotted), value) {
            (Some(key), value) if key.class == Class::Later => {
                let kept = |()| Verdict::Kept(key.class);
                found(None, (key.check)(value).map_or_else(Verdict::Bad, kept));
            }
            (Some(key), value) if matches!(key.class, Class::Applied | Class::Identity) => {
                found(None, judge(key, value, identity));
                if dotted == "os.sshKeys" {
                    for (entry, key) in ssh_keys(Some(value)).into_iter().enumerate() {
                        if let Err(refusal) = key {
                            found(Some(Entry::Index(entry)), Verdict::Bad(refusal));
                        }
                    }
                }
                if dotted == "os.udevRules" {
                    for (name, rule) in udev_rules(Some(value), development) {
                        if let Err(refusal) = rule {
                            found(Some(Entry::Name(name.to_owned())), Verdict::Bad(refusal));
                        }
                    }
                }
                if dotted == "os.sysctl" {
                    findings.extend(sysctl_entries(&path, value));
                }
            }
            (Some(key), _) => found(None, Verdict::Kept(key.class)),
            (None, Value::Object(inner)) if key::is_group(&dotted) => {
                walk(&path, inner, identity, development, findings);
            }
            (None, other) if key::is_group(&dotted) => found(None, Verdict::NotAnObject(kind(other))),
            (None, _) => found(None, Verdict::Unknown(key::nearest(&dotted))),
        }
    }
}

/// The key whose secret was saved as people see it, in a copy of what `fleet config` shows: this one, or one below it.
fn redacted(path: &KeyPath, value: &Value) -> Option<KeyPath> {
    let is_redacted = |value: &Value| value.as_str() == Some(REDACTED);
    match value {
        Value::Object(inner) => {
            let mut inner = inner.iter();
            inner.find_map(|(name, value)| redacted(&path.child(name), value))
        }
        Value::Array(values) if values.iter().any(is_redacted) => key::is_secret(path).then(|| path.clone()),
        value => {
            (is_redacted(value) && (key::is_secret(path) || path.is_below_secret())).then(|| path.clone())
        }
    }
}

/// The entries of `os.sysctl` that are refused: each is a key of its own, which keeps the value from before.
fn sysctl_entries(path: &KeyPath, value: &Value) -> Vec<Finding> {
    let refused = |(name, entry): sysctl::Entry<'_>| {
        Some(Finding {
            path: path.child(name),
            entry: None,
            verdict: Verdict::Bad(entry.err()?),
        })
    };
    sysctl::entries(value).into_iter().filter_map(refused).collect()
}

fn judge(key: &key::Key, value: &Value, identity: Option<&Uuid>) -> Verdict {
    match (key.check)(value) {
        Err(refusal) => Verdict::Bad(refusal),
        Ok(()) if key.class == Class::Identity => {
            let found = value.as_str().and_then(|digits| Uuid::try_from(digits).ok());
            match (found, identity) {
                (Some(found), Some(identity)) if found != *identity => Verdict::OtherIdentity,
                _ => Verdict::Good,
            }
        }
        // Which time zones there are is the image's: on a workstation only the syntax is judged.
        Ok(()) if key.path == "os.timezone" && identity.is_some() => {
            let named = value
                .as_str()
                .and_then(|name| Timezone::try_from(name.trim()).ok());
            let there = named.map_or(Ok(()), |zone| zone.exists_in(Path::new(timezone::ZONEINFO)));
            there.map_or_else(Verdict::Bad, |()| Verdict::Good)
        }
        Ok(()) => Verdict::Good,
    }
}

/// The document that is accepted: this one, with each refused key as it was before.
///
/// So a key that breaks its rule keeps the value that the device runs with, also over a reboot. Entries of an
/// array that are refused one by one stay in it: they are judged again where they are used.
pub(crate) fn accept(document: &Document, findings: &[Finding], before: &Document) -> Document {
    let mut accepted = document.clone();
    for finding in findings
        .iter()
        .filter(|finding| finding.is_refused() && finding.entry.is_none())
    {
        // Neither can fail: the key was found at this path a moment ago.
        let _ = match before.get(&finding.path) {
            Some(value) => accepted.set(&finding.path, value.clone()),
            None => accepted.unset(&finding.path),
        };
    }
    accepted
}

/// The names of the keys that are refused as a whole.
pub(crate) fn refused(findings: &[Finding]) -> Vec<String> {
    let refused = findings
        .iter()
        .filter(|finding| finding.is_refused() && finding.entry.is_none());
    refused.map(Finding::name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document::parse(text.as_bytes()).unwrap()
    }

    fn lines(text: &str, identity: Option<&Uuid>) -> Vec<String> {
        inspect(&document(text), identity)
            .iter()
            .map(|finding| format!("{}: {}", finding.name(), finding.verdict))
            .collect()
    }

    #[test]
    fn reports_every_key_in_order() {
        let text = r#"{"apiKey":"x","hostnam":"a","os":{"network":[],"sshKeys":["x"],"fan":{"profile":"cool"},
            "mine":1},"os.sshKeys":[],"hostname":"a","persistentLogging":"yes","country":null}"#;
        assert_eq!(
            lines(text, None),
            [
                "apiKey: kept for other software",
                "hostnam: unknown; perhaps hostname was meant; kept",
                "os.network: an object was expected, not an array",
                "os.sshKeys: none of its entries is a whole public key; the keys from before stay in force",
                "os.sshKeys[0]: a public key begins with its type, such as ssh-ed25519 or ssh-rsa",
                "os.fan.profile: not supported on this board; kept",
                "os.mine: unknown; kept for other software",
                "os.sshKeys: unknown; perhaps os.sshKeys was meant; kept",
                "hostname: ",
                "persistentLogging: \"yes\": true or false was expected",
            ]
        );
    }

    #[test]
    fn the_identity_stays() {
        let identity = Uuid::try_from("0123456789abcdef0123456789abcdef").unwrap();
        let other = r#"{"uuid":"ffffffffffffffffffffffffffffffff"}"#;
        assert!(
            lines(other, Some(&identity))[0].starts_with("uuid: the identity of a device does not change")
        );
        assert_eq!(lines(other, None), ["uuid: "]);
    }

    #[test]
    fn a_refused_key_keeps_its_value() {
        let before = document(r#"{"hostname":"a","os":{"sshKeys":["k"]}}"#);
        let edited = document(r#"{"os":"x","hostname":{},"ntpServers":7,"mine":1}"#);
        let accepted = accept(&edited, &inspect(&edited, None), &before);
        assert!(accepted == document(r#"{"os":{"sshKeys":["k"]},"hostname":"a","mine":1}"#));
    }
}

#[cfg(test)]
mod laws;
