//! `fleet config apply FILE --hosts LIST` as far as it goes without a device.
#![cfg(feature = "workstation")]

use std::process::{Command, Output};
use std::{fs, io};

use serde_json::Value;

fn fleet(patch: &str, list: &str, more: &[&str]) -> io::Result<Output> {
    let folder = tempfile::tempdir()?;
    let (file, hosts) = (folder.path().join("patch.json"), folder.path().join("hosts"));
    fs::write(&file, patch)?;
    fs::write(&hosts, list)?;
    Command::new(env!("CARGO_BIN_EXE_fleet"))
        .args(["config", "apply"])
        .arg(file)
        .arg("--hosts")
        .arg(hosts)
        .args(["--ssh-config", "/dev/null", "--ssh-option", "ConnectTimeout=2"])
        .args(more)
        .output()
}

#[test]
fn nothing_is_sent_if_the_file_or_the_list_is_wrong() {
    let bad = [
        (r#"{"hostname": "not_valid"}"#, "alpha", "hostname: "),
        (r#"{"hostname": "a",}"#, "alpha", "line 1"),
        (r#"{"deviceApiKey": "…"}"#, "alpha", "deviceApiKey is \"…\""),
        (
            r#"{"uuid": "4a7c1e0d92b85f36a1c4e7d08b2f5963"}"#,
            "alpha",
            "uuid is the identity",
        ),
        ("{}", "alpha", "no key"),
        (r#"{"hostname": "a"}"#, "alpha\n-oProxyCommand=reboot", "line 2"),
        (r#"{"hostname": "a"}"#, "alpha\nalpha", "twice"),
        (r#"{"hostname": "a"}"#, "# nobody\n", "names no host"),
    ];
    for (patch, list, hint) in bad {
        let output = fleet(patch, list, &[]).unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(65), "{patch} {list}: {stderr}");
        assert!(stderr.contains(hint), "{patch} {list}: {stderr}");
        assert!(output.stdout.is_empty(), "{patch} {list}");
    }
}

/// Port 1 of this machine, where nobody listens.
const NOBODY: &str = "127.0.0.1:1";

#[test]
fn the_first_device_has_to_be_there() {
    let list = format!("{NOBODY}\nnext.invalid\n");
    let output = fleet(r#"{"hostname": "a"}"#, &list, &["--json"]).unwrap();
    let events: Vec<Value> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(output.status.code(), Some(69), "{events:#?}");
    let kinds: Vec<_> = events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["start", "device", "device", "summary"]);
    assert_eq!(events[0]["stages"], serde_json::json!([1, 1, 0]));
    assert_eq!(events[2]["state"], "unreachable");
    assert_eq!(events[3]["result"], "first-unreachable");
    assert_eq!(events[3]["counts"]["not-started"], 1);
}

#[test]
fn without_a_terminal_each_event_is_a_line() {
    let output = fleet(r#"{"hostname": "a"}"#, NOBODY, &[]).unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.starts_with(
            "hostname for 1 device, in stages of 1.\nasking       127.0.0.1:1\nunreachable  127.0.0.1:1  "
        ),
        "{text}"
    );
    assert!(text.contains("put another one first"), "{text}");
    assert!(!text.contains('\x1b'), "{text:?}");
}
