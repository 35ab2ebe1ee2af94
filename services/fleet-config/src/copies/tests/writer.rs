//! The calls: all or nothing, with a revision and a history.

use super::*;

#[test]
fn a_patch_is_made_whole_or_not_at_all() {
    let device = Device::with(r#"{"hostname":"kitchen","mine":{"a":1,"b":2}}"#);
    let mut copies = device.start();
    let before = (device.on_boot(), copies.revision());
    let bad = r#"{"hostname":"a_b","ntpServers":7,"dnsServers":"9.9.9.9","os":{"sshKeys":["x"]}}"#;
    let error = copies.patch(0, bad, "root").unwrap_err();
    assert!(matches!(error, Error::Rules(_)));
    for refused in ["hostname: ", "ntpServers: ", "os.sshKeys[0]: "] {
        assert!(error.to_string().contains(refused), "{error}");
    }
    assert!(matches!(
        copies.patch(7, "{}", "root"),
        Err(Error::Conflict { expected: 7, now: 1 })
    ));
    assert!(matches!(copies.patch(0, "[]", "root"), Err(Error::Patch(_))));
    let other = r#"{"uuid":"ffffffffffffffffffffffffffffffff"}"#;
    assert!(matches!(copies.patch(0, other, "root"), Err(Error::Identity)));
    assert_eq!((device.on_boot(), copies.revision()), before);

    let good = r#"{"hostname":"cellar","mine":{"a":null},"none":null}"#;
    assert_eq!(copies.patch(1, good, "user 1000").unwrap(), 2);
    assert_eq!(copies.patch(2, good, "user 1000").unwrap(), 2, "nothing changed");
    assert!(*copies.accepted() == Document::parse(br#"{"hostname":"cellar","mine":{"b":2}}"#).unwrap());
    let newest = &copies.history().entries()[0];
    assert_eq!((newest.who.as_str(), newest.how.as_str()), ("user 1000", "patch"));
    assert_eq!(newest.keys, ["hostname", "mine.a"]);
}

#[test]
fn revert_goes_back_as_a_new_revision() {
    let device = Device::with(&format!(r#"{{"hostname":"kitchen","uuid":"{UUID}"}}"#));
    let mut copies = device.start();
    copies.set(&path("hostname"), "\"cellar\"", "root").unwrap();
    copies.set(&path("mine"), "{\"x\":1}", "root").unwrap();
    let mut copies = device.start();
    assert_eq!(copies.revision(), 3, "over a restart");
    assert_eq!(copies.revert(1, "root").unwrap(), 4);
    assert_eq!(hostname(&copies), Some("kitchen"));
    assert!(copies.accepted().setting("mine").is_none());
    assert_eq!(copies.revert(3, "root").unwrap(), 5);
    assert!(copies.accepted().get(&path("mine.x")).is_some());
    assert_eq!(copies.revert(5, "root").unwrap(), 5, "nothing changed");
    for none in [0, 6, 99] {
        assert!(
            matches!(copies.revert(none, "root"), Err(Error::NoSuchRevision(_))),
            "{none}"
        );
    }
    let history: Vec<_> = copies
        .history()
        .entries()
        .iter()
        .map(|entry| (entry.revision, entry.how.as_str()))
        .collect();
    assert_eq!(
        history,
        [(5, "revert"), (4, "revert"), (3, "set"), (2, "set"), (1, "first")]
    );
    device.edit(r#"{"hostname":"attic"}"#);
    copies.import();
    assert_eq!(copies.revert(5, "root").unwrap(), 7);
    assert_eq!(
        copies.accepted().setting("uuid"),
        None,
        "the identity is not a part of it"
    );
    assert_eq!(copies.identity().to_string(), UUID);
}

/// Every line that is logged in this process.
struct Logged(std::sync::Mutex<String>);

static LOGGED: Logged = Logged(std::sync::Mutex::new(String::new()));

impl log::Log for Logged {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        *self.0.lock().unwrap() += &format!("{}\n", record.args());
    }

    fn flush(&self) {}
}

#[test]
fn a_change_of_an_ordinary_configuration_writes_at_most_sixteen_kibibytes() {
    let keys: String = (0..38)
        .map(|n| format!("\"key{n}\": \"{}\", ", "v".repeat(84)))
        .collect();
    let device = Device::with(&format!("{{{keys}\"hostname\": \"kitchen\"}}"));
    let mut copies = device.start();
    for number in 0..30 {
        let json = format!("\"{number}{}\"", "w".repeat(300));
        copies.set(&path("key7"), &json, "root").unwrap();
        let on_boot = device.on_boot();
        assert!((3800..4096).contains(&on_boot.len()), "{}", on_boot.len());
        let older = std::fs::read_to_string(device.older()).unwrap();
        // Whole pages of the store; one cluster, and six sectors of the tables and folders of FAT.
        let written = older.trim_end().len().next_multiple_of(4096) + 4096 + 6 * 512;
        assert!(written <= 16 * 1024 && older.len() == 16 * 1024, "{written}");
        if number % 10 == 9 {
            device.edit(on_boot.replace(":", " : "));
            copies.import();
        }
    }
    assert!(copies.history().entries().len() >= 5);
}

#[test]
fn no_secret_leaves_the_copies() {
    let secret = "hunter2";
    log::set_logger(&LOGGED).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let document =
        format!(r#"{{"apiKey":"{secret}","wifi":{{"password":"{secret}"}},"hostname":"kitchen"}}"#);
    let device = Device::with(&document);
    let mut copies = device.start();
    let mut said = String::new();
    for (key, json) in [
        ("apiKey", format!("\"{secret}")),
        ("deviceApiKey.x.y", format!("\"{secret}\"")),
        ("os.sshKeys", format!("[\"{secret}\"]")),
        ("apiKey.x", format!("\"{secret}\"")),
    ] {
        if let Err(error) = copies.set(&path(key), &json, "root") {
            said += &error.to_string();
        }
    }
    for patch in [
        format!(r#"{{"apiKey":"{secret}""#),
        format!(r#"{{"os":"{secret}"}}"#),
    ] {
        said += &copies.patch(0, &patch, "root").unwrap_err().to_string();
    }
    for broken in [
        format!("{{\"apiKey\":\"{secret}\",}}"),
        format!("\"{secret}\""),
        secret.to_owned(),
    ] {
        device.edit(broken);
        copies.import();
        said += &copies.problem();
        settle(&mut copies);
        said += &copies.problem();
        said += &std::fs::read_to_string(device.path("boot/config.json.rejected.txt")).unwrap();
    }
    for entry in copies.history().entries() {
        said += &format!("{} {} {:?}", entry.who, entry.how, entry.keys);
    }
    for finding in copies.findings() {
        said += &format!("{} {}", finding.name(), finding.verdict);
    }
    said += &copies.accepted().shown_whole().to_string();
    said += &LOGGED.0.lock().unwrap();
    assert!(said.contains("revision"), "what is logged is here");
    assert!(!said.contains(secret), "{said}");
    for name in ["state/generation-0", "state/generation-1"] {
        let mode = std::fs::metadata(device.path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o007, 0, "{name}");
    }
}
