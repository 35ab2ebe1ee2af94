//! Every secret that the store holds, for whoever has to keep them out of something that leaves the device.
//!
//! Read from the store directly, so that it needs no running service. More is taken than a person is shown as `…`:
//! what was configured before (the log may be older than the configuration), what was refused, and what stands inside a
//! secret that is a text of many lines, because such a text is logged line by line.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use fleet_base::file;
use fleet_base::secret::Secret;
use serde_json::{Map, Value};

use crate::document::{Document, KeyPath};
use crate::key;
use crate::keyfile;
use crate::store::{self, Store};
use crate::value::decode_base64;

/// The shortest line that is taken out of a text of many lines: shorter ones are words that any program logs.
const SHORTEST_LINE: usize = 16;
/// What NetworkManager keeps secret in a keyfile (nm-settings-keyfile(5)), beside names that sound like it.
const KEYFILE_SECRETS: [&str; 4] = ["private-key", "pin", "wep-key", "pac-file-password"];

/// Why the secrets are not known.
#[derive(Debug)]
pub enum Error {
    /// The store gives nothing.
    Store(store::Error),
    /// Nothing was ever stored.
    Nothing,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(f),
            Self::Nothing => f.write_str("no configuration was ever stored"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            Self::Nothing => None,
        }
    }
}

/// The secrets of the configuration in force, of those before it that the store still has, of its keyfiles, and of the
/// keyfiles in these folders. Each once; none is empty.
///
/// # Errors
/// [`Error`]: then nobody knows what is secret on this device.
pub fn known(store: &Store, keyfiles: &[&Path]) -> Result<Vec<Secret<String>>, Error> {
    let generations = store.generations();
    let newest = store.load().map_err(Error::Store)?.ok_or(Error::Nothing)?;
    let mut found = Found::default();
    for stored in generations.iter().chain([&newest]) {
        stored.documents().for_each(|document| found.document(&document));
        for change in stored.history.entries().iter().flat_map(store::Entry::before) {
            found.at(change.0, change.1);
        }
    }
    for keyfile in store.keyfiles().good.values() {
        found.text(&String::from_utf8_lossy(keyfile.bytes.expose()));
    }
    for folder in keyfiles {
        // Not there: nobody made a profile on the device.
        for name in file::names(folder).unwrap_or_default() {
            if let Ok(bytes) = file::read_no_follow(&folder.join(name), keyfile::MAX_BYTES) {
                found.keyfile(&String::from_utf8_lossy(&bytes));
            }
        }
    }
    Ok(found.0.into_iter().map(Secret::new).collect())
}

#[derive(Default)]
struct Found(BTreeSet<String>);

impl Found {
    fn document(&mut self, document: &Document) {
        self.object(&KeyPath::root(), document.entries());
    }

    fn object(&mut self, path: &KeyPath, object: &Map<String, Value>) {
        for (name, value) in object {
            self.value(&path.child(name), value);
        }
    }

    /// A value that is not below another one that is looked at.
    fn at(&mut self, path: &KeyPath, value: &Value) {
        if path.is_below_secret() {
            self.all(value);
        } else {
            self.value(path, value);
        }
    }

    fn value(&mut self, path: &KeyPath, value: &Value) {
        match value {
            value if key::is_secret(path) => self.all(value),
            Value::Object(object) => self.object(path, object),
            Value::Array(values) => values.iter().for_each(|value| self.value(path, value)),
            // Where it does not belong, whatever the key.
            Value::String(text) if text.contains("PRIVATE KEY") => self.text(text),
            Value::String(text) => self.password_in(text),
            _ => {}
        }
    }

    /// Everything in a value that is secret as a whole.
    fn all(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.text(text),
            Value::Number(number) => self.word(&number.to_string()),
            Value::Array(values) => values.iter().for_each(|value| self.all(value)),
            Value::Object(object) => object.values().for_each(|value| self.all(value)),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn text(&mut self, text: &str) {
        self.password_in(text);
        let encoded: String = text.split_ascii_whitespace().collect();
        let decoded = decode_base64(&encoded).and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some(pem) = decoded.filter(|decoded| decoded.contains("PRIVATE KEY")) {
            self.lines(&pem);
        }
        let text = text.trim();
        match text {
            text if !text.contains('\n') => self.word(text),
            text if text.lines().any(|line| line.trim() == "[connection]") => self.keyfile(text),
            text => self.lines(text),
        }
    }

    /// What stands between the marks of a PEM file, and options that carry a secret; not their names.
    fn lines(&mut self, text: &str) {
        for line in text.lines().map(str::trim) {
            if line.len() >= SHORTEST_LINE && !line.starts_with("-----") {
                self.word(line);
            }
        }
    }

    /// Without the settings that are no secret: their lines are in the log of every NetworkManager.
    fn keyfile(&mut self, text: &str) {
        let mut section = "";
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = name;
                continue;
            }
            let Some((name, value)) = line.split_once('=') else {
                continue;
            };
            let (name, value) = (name.trim(), value.trim());
            // `password-flags=1` says who keeps it.
            let is_secret = (key::sounds_secret(name) && !name.ends_with("-flags"))
                || KEYFILE_SECRETS.iter().any(|secret| name.starts_with(secret))
                || section == "vpn-secrets";
            if is_secret {
                self.word(value);
                // g_key_file_get_string(): what `\` stands for.
                self.word(
                    &value
                        .replace("\\s", " ")
                        .replace("\\;", ";")
                        .replace("\\\\", "\\"),
                );
            }
        }
    }

    /// The password of an address (RFC 3986 §3.2.1), which no key takes and people write all the same.
    fn password_in(&mut self, text: &str) {
        let Some((_, rest)) = text.split_once("://") else {
            return;
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        if let Some((_, password)) = authority
            .rsplit_once('@')
            .and_then(|(user, _)| user.split_once(':'))
        {
            self.word(password);
        }
    }

    fn word(&mut self, word: &str) {
        if !word.is_empty() && !self.0.contains(word) {
            self.0.insert(word.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(document: &str) -> Vec<String> {
        let mut found = Found::default();
        found.document(&Document::parse(document.as_bytes()).unwrap());
        found.0.into_iter().collect()
    }

    #[test]
    fn takes_what_is_secret_and_nothing_else() {
        let found = of(r#"{
            "hostname": "pump", "apiKey": "key-one", "deviceApiKeys": {"api.example": "key-two"},
            "mixpanelToken": ["three", 1234567], "app": {"adminPassword": "four", "port": 80},
            "os": {
                "sshKeys": ["-----BEGIN OPENSSH PRIVATE KEY-----\nAAAAAAAAAAAAAAAAAA\n-----END OPENSSH PRIVATE KEY-----"],
                "vpn": {"openvpn": {"config": "client\n<key>\nBBBBBBBBBBBBBBBBBBBB\n</key>", "username": "u"},
                        "wireguard": {"peers": [{"publicKey": "x", "presharedKey": "five"}]}},
                "network": {"connectivity": {"uri": "http://me:six@check.example/a@b:c"},
                    "profiles": {"office": "[connection]\nid=office\n[wifi-security]\nkey-mgmt=wpa-psk\npsk=seven\\;7\n[vpn-secrets]\nx=eight\n"}}
            }}"#);
        assert_eq!(
            found,
            [
                "1234567",
                "AAAAAAAAAAAAAAAAAA",
                "BBBBBBBBBBBBBBBBBBBB",
                "eight",
                "five",
                "four",
                "key-one",
                "key-two",
                "seven;7",
                "seven\\;7",
                "six",
                "three"
            ]
        );
    }

    #[test]
    fn what_was_before_and_what_was_refused_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["state", "boot", "made"] {
            std::fs::create_dir(path(name)).unwrap();
        }
        let store = Store::at(path("state"));
        assert!(matches!(known(&store, &[]), Err(Error::Nothing)));
        let mut offline = crate::offline::Offline::open(&path("state"), &path("boot")).unwrap();
        for number in 0..4 {
            let value = format!("\"secret-{number}\"");
            offline.set("apiKey", &value).unwrap();
        }
        offline.unset("apiKey").unwrap();
        drop(offline);
        std::fs::write(
            path("made/cafe"),
            "[connection]\nid=cafe\n[wifi-security]\npsk=secret-cafe\npsk-flags=0\n",
        )
        .unwrap();
        let made = path("made");
        let found = known(&store, &[&made, &path("none")]).unwrap();
        let found: Vec<&str> = found.iter().map(|secret| secret.expose().as_str()).collect();
        assert_eq!(
            found,
            ["secret-0", "secret-1", "secret-2", "secret-3", "secret-cafe"]
        );
        for generation in ["generation-0", "generation-1"] {
            std::fs::write(path("state").join(generation), "damaged").unwrap();
        }
        assert!(matches!(
            known(&store, &[]),
            Err(Error::Store(store::Error::Damaged(_)))
        ));
    }
}
