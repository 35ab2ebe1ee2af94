//! The schema and the checker agree: what a device accepts validates, and what it refuses does not.
//!
//! Each key is tried alone with many values, and every document of fleet-config's corpus as a whole. Where a rule is
//! more than a schema can say, it is in [`BEYOND`] by name.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use config_reference::{is_judged, schema, topics};
use fleet_config::key::{self, Key};
use fleet_config::{Checked, State, check};
use jsonschema::Validator;
use serde_json::{Value, json};

/// What a device refuses and a schema cannot say: the key, a word of the device's refusal, and why. An entry that no
/// value needs is an error as well.
const BEYOND: &[(&str, &str, &str)] = &[
    (
        "*",
        "\"1.0\": ",
        "JSON Schema has one number for 1 and 1.0 (§6.3 of the core specification); the reader tells them apart",
    ),
    (
        "os.network.connectivity.interval",
        "3600.0",
        "the same: 3600.0 is an integer to JSON Schema",
    ),
    (
        "os.network.connectivity.interval",
        "9999999999",
        "a pattern cannot compare numbers in a string",
    ),
    (
        "ntpServers",
        "without a port",
        "whether hexadecimal digits and colons are an IPv6 address is no regular expression that a person can read",
    ),
    ("dnsServers", "a resolver is an IPv4 or IPv6 address", "the same"),
    (
        "dnsServers",
        "not the address of one host",
        "the same: ranges of addresses",
    ),
    (
        "os.network.connectivity.uri",
        "an IPv6 address",
        "the same, between brackets",
    ),
    (
        "os.network.connectivity.uri",
        "the port",
        "a pattern cannot compare numbers in a string",
    ),
    (
        "os.network.connectivity.uri",
        "longer than 1024",
        "the length counts without the blanks around it",
    ),
    (
        "os.network.connectivity.response",
        "256 bytes",
        "`maxLength` counts characters, and the device bytes",
    ),
    (
        "os.sshKeys",
        "cut off or does not belong",
        "the fields inside a key are in base64",
    ),
    (
        "os.sshKeys",
        "not whole",
        "the length of base64 in groups of four",
    ),
    (
        "os.sshKeys",
        "no list of options",
        "the options of sshd(8) would repeat its parser",
    ),
    (
        "os.sshKeys",
        "8192",
        "the length counts without the blanks around it",
    ),
    (
        "os.journal.maxUse",
        "8M to 64G",
        "a pattern cannot compare numbers in a string",
    ),
    ("os.journal.keepFree", "1M to 64G", "the same"),
    ("os.journal.retention", "or 3600 to", "the same"),
    ("os.network.probe.interval", "10 to 86400 seconds", "the same"),
    (
        "os.network.probe.meteredInterval",
        "10 to 86400 seconds",
        "the same",
    ),
    (
        "os.network.probe.monthlyBudget",
        "to 1000000000 bytes",
        "the same",
    ),
    ("os.network.repair.after", "10 to 86400 seconds", "the same"),
    ("os.journal.rateLimit.interval", "to 3600 seconds", "the same"),
    ("os.journal.rateLimit.burst", "100 to 1000000", "the same"),
    (
        "os.journal.upload.url",
        "the port",
        "a pattern cannot compare numbers in a string",
    ),
    (
        "os.journal.upload.url",
        "there is an IPv6 address",
        "no regular expression that a person can read",
    ),
    ("os.journal.upload.certificate", "cut off", "what is in base64"),
    ("os.journal.upload.key", "no private key in it", "the same"),
    ("os.journal.syncInterval", "1 to 3600", "the same"),
    ("os.watchdog.runtime", "10 to 600", "the same"),
    ("os.watchdog.reboot", "10 to 600", "the same"),
    ("os.sysctl", "\"201\": a whole number", "the same"),
    ("os.proxy.http", "the port", "the same"),
    ("os.proxy.https", "the port", "the same"),
    (
        "os.proxy.http",
        "there is an IPv6 address",
        "an IPv6 address, as above",
    ),
    ("os.proxy.https", "there is an IPv6 address", "the same"),
    ("os.vpn.wireguard.mtu", "1280 to 65535", "the same"),
    (
        "os.vpn.wireguard.addresses",
        "an address such as",
        "an IPv6 address, as above",
    ),
    ("os.vpn.wireguard.dns", "digits", "the same"),
    ("os.proxy.noProxy", "a host name, a domain", "the same"),
    (
        "os.proxy.noProxy",
        "2048",
        "the list counts without what is between its entries",
    ),
    (
        "os.vpn.openvpn.config",
        "it has no line",
        "the grammar of openvpn(8) is a parser's",
    ),
    ("os.vpn.openvpn.config", "is not taken: ", "the same"),
    ("os.vpn.openvpn.config", "put a block <ca> in it", "the same"),
    (
        "os.vpn.openvpn.username",
        "126 bytes",
        "`maxLength` counts characters, and the device bytes",
    ),
    ("os.vpn.openvpn.password", "126 bytes", "the same"),
    ("os.network.profiles", "64 KiB", "the same"),
    (
        "os.network.profiles",
        "with or without",
        "two names that mean one file",
    ),
    (
        "os.udevRules",
        "(udev(7))",
        "the grammar of udev(7) is a parser's",
    ),
    (
        "os.udevRules",
        "is for developmentMode only",
        "it depends on another key, and on the grammar",
    ),
    (
        "balenaRootCA",
        "a certificate has no end",
        "what is in the base64 is out of reach",
    ),
];

/// Values of every type and of the forms that people take for others.
fn odd() -> Vec<Value> {
    vec![
        json!({ "56": "IMPORT{program}=\"/bin/x\"\n" }),
        // A certificate that is cut off.
        json!("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1BQXdBREFBCg=="),
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(2),
        json!(-1),
        json!(1.0),
        json!(1.5),
        json!(3600.0),
        json!(4_294_967_296_u64),
        json!(1e300),
        json!(""),
        json!(" "),
        json!("null"),
        json!("true"),
        json!("True"),
        json!("yes"),
        json!("0"),
        json!("00000000001"),
        json!("9999999999"),
        json!("12345678901"),
        json!("-1"),
        json!("1h"),
        json!("x"),
        json!("a b"),
        json!("a_b"),
        json!("a\nb"),
        json!("a.example"),
        json!("a..example"),
        json!("-a"),
        json!("é"),
        json!("localhost"),
        json!(" Kitchen "),
        json!("a".repeat(63)),
        json!("a".repeat(64)),
        json!("é".repeat(200)),
        json!("x".repeat(257)),
        json!("http://user:secret@a/"),
        json!("http://a:0/"),
        json!("http://a:70000/"),
        json!("http://[::1]:80/x?y"),
        json!("http://[1.2.3.4]/"),
        json!("http://a b/"),
        json!("ftp://a/"),
        json!(format!("http://a/{}", "x".repeat(1100))),
        json!("10.0.0.1"),
        json!("10.0.0.256"),
        json!("10.0.0.1#53 10.0.0.2"),
        json!("10.0.0.1#5353"),
        json!("0.0.0.0"),
        json!("ff02::1"),
        json!("2001:db8::1 10.0.0.1"),
        json!("2001:db8:::1"),
        json!("null 10.0.0.1"),
        json!("$(id)"),
        json!("a;id"),
        json!("../../etc/passwd"),
        json!("0123456789abcdef0123456789abcdef"),
        json!("0123456789ABCDEF0123456789ABCDEF"),
        json!("00000000000000000000000000000000"),
        json!("-----BEGIN OPENSSH PRIVATE KEY-----"),
        json!("http://proxy.example:3128/"),
        json!("http://proxy.example:0"),
        json!("http://proxy.example"),
        json!("https://proxy.example:3128"),
        json!("http://[::1]:3128"),
        json!("http://[1::2::3]:3128"),
        json!("Europe/Berlin"),
        json!("Europe//Berlin"),
        json!("/etc/localtime"),
        json!("a/".repeat(40)),
        json!("8M"),
        json!("1G"),
        json!("1K"),
        json!("M"),
        json!("1 G"),
        json!("1g"),
        json!("100G"),
        json!(8_388_608),
        json!(600),
        json!(601),
        json!(9),
        json!("9"),
        json!(3601),
        json!("3601"),
        json!(1280),
        json!(1279),
        json!("70000"),
        json!("*, .a.example,10.0.0.0/8 fd00::/8"),
        json!("10.0.0.0/33"),
        json!("10.0.0.0/"),
        json!("fd00::1/129"),
        json!("fd00:::1/64"),
        json!(format!("a{}", ",a".repeat(1500))),
        json!("é".repeat(100)),
        json!("openvpn"),
        json!("OpenVPN"),
        json!("client\nremote vpn.example 1194\n"),
        json!("client\n remote\u{1b}"),
        json!("client\ndev tun\nremote vpn.example 1194\n"),
        json!("client\nup x\nremote vpn.example 1194\n"),
        json!("xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="),
        json!("xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dh="),
        json!([{ "publicKey": "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=" }]),
        json!([{ "publicKey": null }]),
        json!([{ "publicKey": "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=", "mine": 1 }]),
        json!([{ "publicKey": "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=", "mine": null, "endpoint": "a" }]),
        json!([{ "publicKey": "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=", "endpoint": "a:1", "allowedIPs": [] }]),
        json!({ "home": "[connection]\nid=home\n" }),
        json!({ "home": "x\n [connection] \nid=home\n" }),
        json!({ "home": "[connection]x" }),
        json!({ "home": "[connection]\n", "home.nmconnection": "[connection]\n" }),
        json!({ "home": format!("[connection]\n{}", "é".repeat(40_000)) }),
        json!({ "../home": "[connection]\n" }),
        json!({ "../home": null }),
        json!({ "vm.swappiness": 10, "fs": { "inotify.max_user_watches": "8192" } }),
        json!({ "fs.inotify": { "max_user_watches": 8192 }, "vm": { "swappiness": null, "mine": {} } }),
        json!({ "vm.swappiness": 201 }),
        json!({ "vm": { "swappiness": -1 } }),
        json!({ "vm.swappiness": { "x": 1 } }),
        json!({ "net.ipv4.ip_forward": 1 }),
        json!({ "vm.swappiness": "201" }),
        json!({ "vm.swappiness": 1.0 }),
        json!([]),
        json!([""]),
        json!(["null"]),
        json!(["null", "10.0.0.1"]),
        json!(["10.0.0.1 10.0.0.2", "2001:db8::1"]),
        json!(["a", "id"]),
        json!(["a", 1]),
        json!([[]]),
        json!(["ssh-ed25519 AAAA"]),
        json!(["ssh-ed25519 AAA"]),
        json!(["ssh-ed25519"]),
        json!(["hunter2"]),
        json!([
            "#restrict ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINrEGH2ofxVbbHY9RGew4bkVvleiMbzvvc94SXKuIZlv x"
        ]),
        json!(["-----BEGIN OPENSSH PRIVATE KEY-----\nssh-ed25519 AAAA"]),
        json!([format!("ssh-ed25519 {}", "A".repeat(8200))]),
        json!({}),
        json!({ "a": 1 }),
        json!({ "a": "b" }),
        json!({ "../a": "b" }),
        json!({ "a": null }),
        json!({ "a": {} }),
    ]
}

/// The document with only this key.
fn alone(path: &str, value: Value) -> Value {
    path.rsplit('.').fold(value, |inner, step| json!({ step: inner }))
}

fn judge(document: &Value) -> Checked {
    check(document.to_string().as_bytes())
}

fn validator() -> Validator {
    let schema: Value = serde_json::from_str(&schema().unwrap()).unwrap();
    jsonschema::meta::validate(&schema).unwrap();
    jsonschema::draft202012::new(&schema).unwrap()
}

fn judged() -> impl Iterator<Item = &'static Key> {
    key::TABLE.iter().filter(|key| is_judged(key))
}

/// The documents of fleet-config's corpus that are JSON objects.
fn corpus() -> Vec<(String, Value)> {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../services/fleet-config/tests/data/config/good");
    let mut documents: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path.display().to_string(), serde_json::from_str(&text).unwrap())
        })
        .collect();
    documents.sort_by(|(one, _), (other, _)| one.cmp(other));
    assert!(documents.len() > 5);
    documents
}

#[test]
fn each_key_alone() {
    let validator = validator();
    let mut used = vec![false; BEYOND.len()];
    let mut wrong = Vec::new();
    let examples: Vec<Value> = topics()
        .unwrap()
        .into_iter()
        .flat_map(|topic| topic.keys)
        .flat_map(|entry| entry.examples)
        .collect();
    for key in judged() {
        for value in odd().iter().chain(&examples) {
            let document = alone(key.path, value.clone());
            let checked = judge(&document);
            let refused: Vec<_> = checked
                .rows
                .iter()
                .filter(|row| row.state == State::Refused)
                .collect();
            match (refused.is_empty(), validator.is_valid(&document)) {
                (true, true) | (false, false) => {}
                (true, false) => wrong.push(format!("a device accepts {document}, the schema does not")),
                (false, true) => {
                    let mut excused = false;
                    for (at, (path, word, _)) in BEYOND.iter().enumerate() {
                        let here = *path == "*" || *path == key.path;
                        if here && refused.iter().any(|row| row.detail.contains(word)) {
                            used[at] = true;
                            excused = true;
                        }
                    }
                    if !excused {
                        let why = &refused[0].detail;
                        wrong.push(format!("the schema accepts {document}, a device does not: {why}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    let unused: Vec<_> = BEYOND.iter().zip(used).filter(|(_, used)| !used).collect();
    assert!(
        unused.is_empty(),
        "no value shows that the schema cannot say: {unused:#?}"
    );
}

#[test]
fn every_example_and_default_is_accepted() {
    for entry in topics().unwrap().into_iter().flat_map(|topic| topic.keys) {
        if !key::find(&entry.path).is_some_and(is_judged) {
            continue;
        }
        for value in entry.examples.iter().chain(&entry.default_value) {
            let checked = judge(&alone(&entry.path, value.clone()));
            assert!(checked.is_good(), "{}: {value}: {:?}", entry.path, checked.rows);
        }
    }
}

#[test]
fn each_group_is_an_object() {
    let validator = validator();
    for key in judged() {
        let mut path = key.path;
        while let Some((above, _)) = path.rsplit_once('.') {
            for value in odd() {
                let document = alone(above, value);
                let refused = judge(&document)
                    .rows
                    .iter()
                    .any(|row| row.state == State::Refused && row.key == above);
                assert_eq!(refused, !validator.is_valid(&document), "{document}");
            }
            path = above;
        }
    }
}

#[test]
fn each_document_of_the_corpus() {
    let validator = validator();
    for (path, document) in corpus() {
        let checked = judge(&document);
        if checked.is_good() {
            let errors: Vec<String> = validator
                .iter_errors(&document)
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert!(
                errors.is_empty(),
                "{path} is accepted and does not validate: {errors:?}"
            );
        } else if validator.is_valid(&document) {
            let beyond = |row: &fleet_config::KeyRow| {
                BEYOND
                    .iter()
                    .any(|(_, word, _)| row.state != State::Refused || row.detail.contains(word))
            };
            assert!(checked.rows.iter().all(beyond), "{path} is refused and validates");
        }
    }
}

#[test]
fn what_nobody_knows_is_allowed() {
    let document = json!({ "mine": [1], "os": { "mine": {} }, "$schema": "./config.schema.json" });
    assert!(validator().is_valid(&document));
    assert!(judge(&document).is_good());
}
