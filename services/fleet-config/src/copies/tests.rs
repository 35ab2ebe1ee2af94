//! The store and the boot partition's copy, in a temporary folder.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::document::KeyPath;
use crate::finding::Verdict;

mod clone;
mod edits;
mod judgement;
mod loss;
mod reject;
mod writer;

const UUID: &str = "0123456789abcdef0123456789abcdef";

/// A device without services: a boot partition and a state partition.
struct Device(TempDir);

impl Device {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("boot")).unwrap();
        std::fs::create_dir(folder.path().join("state")).unwrap();
        Self(folder)
    }

    fn with(document: &str) -> Self {
        let device = Self::new();
        device.edit(document);
        device
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn edit(&self, document: impl AsRef<[u8]>) {
        std::fs::write(self.path("boot/config.json"), document).unwrap();
    }

    fn on_boot(&self) -> String {
        std::fs::read_to_string(self.path("boot/config.json")).unwrap()
    }

    /// The file of the generation that is written next.
    fn older(&self) -> PathBuf {
        let sequence = |slot: &PathBuf| {
            let text = std::fs::read_to_string(slot).unwrap_or_default();
            text.split(' ').nth(3).and_then(|word| word.parse::<u64>().ok())
        };
        let slots = ["state/generation-0", "state/generation-1"].map(|name| self.path(name));
        slots.into_iter().min_by_key(sequence).unwrap()
    }

    /// Makes storing fail, for root as well: a folder is in the way.
    fn block_store(&self) {
        let older = self.older();
        std::fs::rename(&older, self.path("aside")).unwrap();
        std::fs::create_dir(older).unwrap();
    }

    fn unblock_store(&self) {
        let blocked = self.older();
        std::fs::remove_dir(&blocked).unwrap();
        std::fs::rename(self.path("aside"), blocked).unwrap();
    }

    fn start(&self) -> Copies {
        let boot = Boot {
            document: self.path("boot/config.json"),
            keyfiles: self.path("boot/system-connections"),
            board: self.path("board"),
            certificates_are_judged: true,
        };
        Copies::open(Store::at(self.path("state")), boot).unwrap()
    }
}

fn path(text: &str) -> KeyPath {
    KeyPath::parse(text).unwrap()
}

fn hostname(copies: &Copies) -> Option<&str> {
    copies.accepted().setting("hostname").and_then(Value::as_str)
}

/// Waits until a broken file is no longer taken for one that is being written.
fn settle(copies: &mut Copies) {
    std::thread::sleep(QUIET + Duration::from_millis(20));
    copies.import();
}

fn lock(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

#[test]
fn the_first_document_gives_the_identity() {
    let device = Device::with(&format!(r#"{{"uuid":"{UUID}"}}"#));
    assert_eq!(device.start().identity().to_string(), UUID);
    device.edit("{}");
    assert_eq!(device.start().identity().to_string(), UUID, "lost from the file");
    device.edit(r#"{"uuid":"ffffffffffffffffffffffffffffffff"}"#);
    let copies = device.start();
    assert_eq!(copies.identity().to_string(), UUID, "changed in the file");
    assert_eq!(copies.findings()[0].verdict, Verdict::OtherIdentity);
}

#[test]
fn a_broken_first_document_gives_its_identity_once_it_is_repaired() {
    let device = Device::with(&format!(r#"{{"uuid":"{UUID}",}}"#));
    let mut copies = device.start();
    assert_ne!(copies.identity().to_string(), UUID);
    device.edit(format!(r#"{{"uuid":"{UUID}"}}"#));
    copies.import();
    assert_eq!(copies.identity().to_string(), UUID);
    assert_eq!(device.start().identity().to_string(), UUID);
}

#[test]
fn a_device_without_an_identity_makes_one_and_keeps_it() {
    let device = Device::with("{}");
    let made = *device.start().identity();
    assert_eq!(*device.start().identity(), made);
}

#[test]
fn an_empty_or_absent_file_is_written_again() {
    let good = "{ \"hostname\":   \"kitchen\", \"mine\": 1 }\n";
    for empty in [None, Some(&b""[..]), Some(b"\0\0\0\0")] {
        let device = Device::with(good);
        let mut copies = device.start();
        match empty {
            Some(bytes) => device.edit(bytes),
            None => std::fs::remove_file(device.path("boot/config.json")).unwrap(),
        }
        copies.import_after(Duration::ZERO);
        assert_eq!(device.on_boot(), good, "as the person wrote it");
        assert_eq!(
            (hostname(&copies), copies.problem().as_str()),
            (Some("kitchen"), "")
        );
        assert_eq!(copies.revision(), 1, "no edit");
    }
}

#[test]
fn without_a_boot_partition_the_store_holds() {
    let device = Device::with(r#"{"hostname":"kitchen"}"#);
    drop(device.start());
    std::fs::remove_dir_all(device.path("boot")).unwrap();
    let copies = device.start();
    assert_eq!(hostname(&copies), Some("kitchen"));
    assert!(copies.problem().contains("cannot write"), "{}", copies.problem());
}

#[test]
fn a_refused_key_keeps_its_value_over_a_restart() {
    let device = Device::with(r#"{"hostname":"kitchen","ntpServers":"a"}"#);
    let mut copies = device.start();
    device.edit(r#"{"hostname":"kit chen","ntpServers":"b"}"#);
    for _ in 0..2 {
        copies.import();
        assert_eq!(hostname(&copies), Some("kitchen"));
        assert_eq!(copies.accepted().setting("ntpServers"), Some(&Value::from("b")));
        assert!(copies.findings()[0].is_refused());
        copies = device.start();
    }
    assert!(
        device.on_boot().contains("kit chen"),
        "what the person wrote is left to the person"
    );
}

#[test]
fn set_stores_and_exports() {
    let device = Device::with("{\"z\":1,\"hostname\":\"kitchen\",\"mine\":{\"a\":[1]}}");
    let mut copies = device.start();
    let mut set = |key, json| copies.set(&path(key), json, "root").unwrap();
    assert_eq!(set("hostname", "\"cellar\""), 2);
    assert_eq!(set("hostname", "\"cellar\""), 2, "nothing changed");
    assert_eq!(set("os.network.connectivity.uri", "\"http://a/\""), 3);
    assert_eq!(copies.unset(&path("z"), "root").unwrap(), 4);
    assert_eq!(copies.unset(&path("z"), "root").unwrap(), 4, "nothing changed");
    assert_eq!(copies.revision(), 4);
    let exported = Document::parse(device.on_boot().as_bytes()).unwrap();
    assert_eq!(
        Value::Object(exported.entries().clone()).to_string(),
        r#"{"hostname":"cellar","mine":{"a":[1]},"os":{"network":{"connectivity":{"uri":"http://a/"}}}}"#
    );
    copies.import();
    assert_eq!(copies.revision(), 4, "what we exported is no edit");
    assert!(device.start().accepted() == copies.accepted());
}

#[test]
fn set_refuses_what_breaks_a_rule() {
    let device = Device::with(&format!(r#"{{"hostname":"kitchen","uuid":"{UUID}"}}"#));
    let mut copies = device.start();
    let (stored, exported) = (device.path("state/generation-0"), device.on_boot());
    let stored_before = std::fs::read(&stored).unwrap();
    for (key, json, expected) in [
        (
            "hostname",
            "\"a_b\"",
            "hostname: \"a_b\": a host name has letters",
        ),
        ("hostname", "kitchen", "the value is no JSON: line 1, column 1"),
        ("hostname.x", "1", "hostname is not an object"),
        ("os", "[]", "os: an object was expected"),
        (
            "os.network",
            "{\"connectivity\":{\"interval\":-1}}",
            "os.network.connectivity.interval: \"-1\"",
        ),
        ("os.sshKeys", "[\"x\"]", "os.sshKeys[0]: a public key begins"),
        (
            "uuid",
            "\"ffffffffffffffffffffffffffffffff\"",
            "uuid: the identity of a device does not change",
        ),
    ] {
        let error = copies.set(&path(key), json, "root").unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    assert!(matches!(
        copies.unset(&path("uuid"), "root"),
        Err(Error::Identity)
    ));
    let deep = format!("{}1{}", "[".repeat(126), "]".repeat(126));
    assert!(
        matches!(copies.set(&path("a.b.c"), &deep, "root"), Err(Error::Limit(_))),
        "it could not be read again"
    );
    assert_eq!(copies.revision(), 1);
    assert_eq!(
        (device.on_boot(), std::fs::read(&stored).unwrap()),
        (exported, stored_before)
    );
}

#[test]
fn set_leaves_what_was_refused_in_the_file() {
    let device = Device::with(r#"{"hostname":"kit chen","ntpServers":"a"}"#);
    let mut copies = device.start();
    copies.set(&path("ntpServers"), "\"b\"", "root").unwrap();
    assert!(device.on_boot().contains("kit chen") && device.on_boot().contains("\"b\""));
    assert!(
        copies.findings().iter().any(Finding::is_refused),
        "it stays in sight"
    );
}

#[test]
fn a_change_that_was_not_exported_is_exported_later() {
    let device = Device::with(r#"{"hostname":"kitchen"}"#);
    let mut copies = device.start();
    std::fs::rename(device.path("boot"), device.path("gone")).unwrap();
    copies.set(&path("hostname"), "\"cellar\"", "root").unwrap();
    assert!(
        copies.problem().contains("the stored configuration is in force"),
        "{}",
        copies.problem()
    );
    std::fs::rename(device.path("gone"), device.path("boot")).unwrap();
    let copies = device.start();
    assert_eq!(
        (hostname(&copies), copies.problem().as_str()),
        (Some("cellar"), "")
    );
    assert!(device.on_boot().contains("cellar"), "the older file is no edit");
}

#[test]
fn a_store_that_cannot_be_written_refuses_a_change() {
    let device = Device::with(r#"{"hostname":"kitchen"}"#);
    let mut copies = device.start();
    lock(&device.path("state"), 0o500);
    // Root writes everywhere; then there is nothing to see.
    if std::fs::write(device.path("state/probe"), "").is_err() {
        assert!(matches!(
            copies.set(&path("hostname"), "\"cellar\"", "root"),
            Err(Error::Store(_))
        ));
        assert_eq!(hostname(&copies), Some("kitchen"));
        assert!(device.on_boot().contains("kitchen"));
    }
    lock(&device.path("state"), 0o700);
}
