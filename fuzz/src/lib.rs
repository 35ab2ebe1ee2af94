//! What holds for any bytes in place of a `config.json`, beyond that nothing panics.
//!
//! The fuzz targets call these with bytes that libFuzzer makes; a test of fleet-config calls them with the committed
//! corpus.

use fleet_config::document::{Document, KeyPath, MAX_BYTES, SyntaxError};
use fleet_config::value::OpenVpnConfig;
use fleet_config::{Checked, State, check as judge, key};
use serde_json::Value;

/// A text that is in no other input by accident.
const PLANTED: &str = "planted-5f1c9c1e-hunter2";

/// Keys whose entries are refused by themselves: the good ones are what is applied.
const BY_ENTRY: &[&str] = &["os.sshKeys", "os.sysctl", "os.udevRules"];

/// The strict reader agrees with `serde_json` but for its own rules, and reads again what it wrote.
pub fn document(bytes: &[u8]) {
    let loose = serde_json::from_slice::<Value>(bytes);
    match Document::parse(bytes) {
        Ok(document) => {
            let text = document.to_text();
            assert_eq!(
                loose.map(|value| format!("{value:#}\n")).ok().as_ref(),
                Some(&text)
            );
            // The limit is one of bytes, and indenting adds some.
            if text.len() as u64 <= MAX_BYTES {
                let again = Document::parse(text.as_bytes());
                assert!(again.as_ref() == Ok(&document), "{text}");
                assert_eq!(again.map(|again| again.to_text()), Ok(text));
            }
        }
        Err(error) => {
            error_is_one_line_in_the_file(bytes, &error);
            match error {
                // serde_json takes the last of two equal names, and may find something else wrong behind them.
                SyntaxError::Syntax(_, what) if what.contains(" is in this object twice") => {}
                SyntaxError::TooLarge(limit) => assert!(bytes.len() as u64 > limit),
                SyntaxError::NotAnObject(..) => assert!(loose.is_ok_and(|value| !value.is_object())),
                SyntaxError::Syntax(..)
                | SyntaxError::Empty
                | SyntaxError::ByteOrderMark(_)
                | SyntaxError::NotUtf8(_) => assert!(loose.is_err(), "{error}: {bytes:?}"),
            }
        }
    }
}

/// The checker's rows are of the document, one line each, and show no secret.
pub fn check(bytes: &[u8]) {
    let checked = judge(bytes);
    let Ok(mut document) = Document::parse(bytes) else {
        assert!(checked.problem.is_some() && checked.rows.is_empty() && !checked.is_good());
        return;
    };
    rows_are_of(&document, &checked);
    if document.to_text().contains(PLANTED) {
        return;
    }
    plant(&mut document);
    let text = document.to_text();
    if text.len() as u64 > MAX_BYTES {
        return;
    }
    let checked = judge(text.as_bytes());
    assert_eq!(checked.problem, None, "{text}");
    assert!(!format!("{checked:?}").contains(PLANTED), "{checked:?}");
    assert!(!document.shown_whole().to_string().contains(PLANTED));
    for key in key::TABLE.iter().filter(|key| key.secret) {
        let shown = KeyPath::parse(key.path).map(|path| document.shown(&path));
        assert!(!format!("{shown:?}").contains(PLANTED), "{shown:?}");
    }
}

/// What runs programs, names files or listens (openvpn(8)); none of it may reach OpenVPN.
const HARMFUL: &[&str] = &[
    "auth-user-pass-verify",
    "capath",
    "cd",
    "chroot",
    "client-connect",
    "client-disconnect",
    "config",
    "crl-verify",
    "daemon",
    "down",
    "engine",
    "group",
    "http-proxy-user-pass",
    "ipchange",
    "iproute",
    "learn-address",
    "log",
    "log-append",
    "management",
    "plugin",
    "replay-persist",
    "route-pre-down",
    "route-up",
    "script-security",
    "server",
    "setenv",
    "setenv-safe",
    "status",
    "tls-crypt-v2-verify",
    "tls-export-cert",
    "tls-verify",
    "tmp-dir",
    "up",
    "user",
    "writepid",
];

/// What OpenVPN reads of a configuration is in its lines, harmless, and reads the same once more.
pub fn openvpn(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let config = match OpenVpnConfig::try_from(text) {
        Ok(config) => config,
        Err(refusal) => {
            let said = refusal.to_string();
            assert!(
                !said.chars().any(char::is_control) && said.len() < 1000,
                "{said:?}"
            );
            return;
        }
    };
    let rendered = config.render(7);
    let rendered = rendered.expose();
    let mut block: Option<String> = None;
    for line in rendered.lines() {
        assert!(line.len() <= 254, "{line}");
        assert!(!line.chars().any(|c| c.is_control() && c != '\t'), "{line:?}");
        match &block {
            Some(end) if line == end => block = None,
            Some(_) => {}
            None => match line.strip_prefix('<').and_then(|name| name.strip_suffix('>')) {
                Some(name) => block = Some(format!("</{name}>")),
                None => {
                    let directive = line.split_whitespace().next().unwrap_or_default();
                    assert!(!HARMFUL.contains(&directive), "{line}");
                }
            },
        }
    }
    assert_eq!(block, None, "{rendered}");
    // The interface's name is the product's, and so is where name and password come from.
    let mut given = rendered.replace("dev fleet-vpn\ndev-type ", "dev ");
    if config.asks_for_login() || config.login().is_some() {
        given.push_str("auth-user-pass\n");
    }
    let again = OpenVpnConfig::try_from(given.as_str()).map(|again| again.render(7).expose().clone());
    assert_eq!(
        again.map_err(|refusal| refusal.to_string()).as_ref(),
        Ok(rendered)
    );
}

/// Sets every secret of the table, and some that only sound like one, wherever that can be done.
fn plant(document: &mut Document) {
    let secrets = key::TABLE.iter().filter(|key| key.secret).map(|key| key.path);
    for path in secrets.chain(["myPassword", "os.mine.token", "mine.privateKey"]) {
        for value in [
            Value::from(PLANTED),
            Value::from(vec![PLANTED]),
            serde_json::json!({ "a": { "b": PLANTED } }),
        ] {
            // Something else may be on the way: then the document has no such secret.
            if let Ok(path) = KeyPath::parse(path)
                && document.set(&path, value).is_err()
            {
                break;
            }
        }
    }
}

fn rows_are_of(document: &Document, checked: &Checked) {
    assert_eq!(checked.problem, None);
    for row in &checked.rows {
        for text in [&row.key, &row.value, &row.detail] {
            assert!(!text.chars().any(char::is_control), "{row:?}");
        }
        assert!(row.detail.len() < 1000, "{row:?}");
        if row.value.is_empty() {
            // Of a certificate only the form can be judged without a device.
            assert!(
                row.state != State::Applied || row.key == "balenaRootCA",
                "{row:?}"
            );
            continue;
        }
        let value: Result<Value, _> = serde_json::from_str(&row.value);
        assert!(value.is_ok(), "{row:?}");
        // What is said to be applied is what the file holds.
        if row.state == State::Applied
            && !BY_ENTRY.contains(&row.key.as_str())
            && let Ok(path) = KeyPath::parse(&row.key)
        {
            assert_eq!(document.shown(&path), value.ok(), "{row:?}");
        }
    }
    let refused = checked.rows.iter().any(|row| row.state == State::Refused);
    assert_eq!(checked.is_good(), !refused);
}

fn error_is_one_line_in_the_file(bytes: &[u8], error: &SyntaxError) {
    let text = error.to_string();
    assert!(
        !text.chars().any(char::is_control) && text.len() < 1000,
        "{text:?}"
    );
    if let Some(place) = error.place() {
        let lines = bytes.split(|byte| *byte == b'\n').count();
        assert!((1..=lines).contains(&place.line), "{text}");
        assert!((1..=bytes.len() + 1).contains(&place.column), "{text}");
    }
}
