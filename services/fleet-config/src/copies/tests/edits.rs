//! Edits of the boot partition's file: merged, and written back only where that says something else.

use super::*;

fn ntp(copies: &Copies) -> Option<&str> {
    copies.accepted().setting("ntpServers").and_then(Value::as_str)
}

#[test]
fn what_is_accepted_as_it_stands_is_not_written_back() {
    let device = Device::with(r#"{"hostname":"kitchen"}"#);
    let mut copies = device.start();
    copies.set(&path("ntpServers"), "\"a\"", "root").unwrap();
    let edit = "{ \"ntpServers\":\"a\",\n\"hostname\" : \"cellar\", \"persistentLogging\":\"perhaps\" }";
    device.edit(edit);
    copies.import();
    assert_eq!((hostname(&copies), ntp(&copies)), (Some("cellar"), Some("a")));
    assert_eq!(device.on_boot(), edit);
    assert_eq!(device.start().revision(), 3);
    assert_eq!(device.on_boot(), edit);
    device.edit(edit.replace('\n', ""));
    copies.import();
    assert_eq!(copies.revision(), 3, "other white space");
}

#[test]
fn a_stale_copy_does_not_revert_a_change() {
    let device = Device::with(r#"{"hostname":"kitchen","ntpServers":"a"}"#);
    let mut copies = device.start();
    let stale = device.on_boot();
    copies.set(&path("ntpServers"), "\"b\"", "root").unwrap();
    copies.set(&path("mine.x"), "1", "root").unwrap();
    device.edit(stale.replace("kitchen", "cellar"));
    copies.import();
    assert_eq!((hostname(&copies), ntp(&copies)), (Some("cellar"), Some("b")));
    assert!(copies.accepted().get(&path("mine.x")).is_some());
    let exported = Document::parse(device.on_boot().as_bytes()).unwrap();
    assert!(exported == *copies.accepted(), "what was kept is written back");
    // Who meant it hears of it, also after a restart.
    let said = copies.problem();
    assert!(
        said.contains("changed since: ntpServers, mine.x; to put one back"),
        "{said}"
    );
    assert_eq!(device.start().problem(), said);
    // As it was, it is a revert on purpose.
    device.edit(&stale);
    copies.import();
    assert_eq!(copies.problem(), "");
    assert_eq!((hostname(&copies), ntp(&copies)), (Some("kitchen"), Some("a")));
    assert_eq!(device.on_boot(), stale);
}

#[test]
fn a_program_that_goes_on_from_its_stale_copy_reverts_nothing() {
    let device = Device::with(r#"{"hostname":"kitchen"}"#);
    let mut copies = device.start();
    let mut stale = Document::parse(device.on_boot().as_bytes()).unwrap();
    for number in 0..5 {
        copies.set(&path(&format!("set.s{number}")), "1", "root").unwrap();
        stale
            .set(&path(&format!("mine.m{number}")), Value::from(number))
            .unwrap();
        // The second time it says nothing new.
        for _ in 0..2 {
            device.edit(stale.to_text());
            copies.import();
            for number in 0..=number {
                let is_there =
                    |name: &str| copies.accepted().get(&path(&format!("{name}{number}"))).is_some();
                assert!(
                    is_there("set.s") && is_there("mine.m"),
                    "{number}: {}",
                    device.on_boot()
                );
            }
            assert!(copies.problem().contains("set.s0"), "{}", copies.problem());
        }
    }
}

#[test]
fn a_stale_copy_does_not_revert_a_change_from_before_a_restart() {
    let device = Device::with(r#"{"hostname":"kitchen","ntpServers":"a"}"#);
    let stale = {
        let mut copies = device.start();
        let stale = device.on_boot();
        copies.set(&path("ntpServers"), "\"b\"", "root").unwrap();
        stale
    };
    let mut copies = device.start();
    device.edit(stale.replace("kitchen", "cellar"));
    copies.import();
    assert_eq!((hostname(&copies), ntp(&copies)), (Some("cellar"), Some("b")));
    assert!(copies.problem().contains("changed since: ntpServers;"));
}

#[test]
fn what_is_taken_out_of_the_newest_copy_is_taken_out() {
    let device = Device::with(r#"{"hostname":"kitchen"}"#);
    let mut copies = device.start();
    copies.set(&path("ntpServers"), "\"a\"", "root").unwrap();
    copies.set(&path("mine"), "1", "root").unwrap();
    let mut edited = copies.accepted().clone();
    edited.unset(&path("ntpServers")).unwrap();
    edited.set(&path("hostname"), Value::from("cellar")).unwrap();
    device.edit(edited.to_text());
    copies.import();
    assert_eq!((hostname(&copies), ntp(&copies)), (Some("cellar"), None));
    assert_eq!(copies.problem(), "");
}

#[test]
fn a_secret_as_it_is_shown_is_no_secret() {
    let device = Device::with(r#"{"deviceApiKey":"s3cret","mine":{"password":"s3cret"}}"#);
    let mut copies = device.start();
    for (key, value) in [("deviceApiKey", r#""…""#), ("mine", r#"{"password":"…"}"#)] {
        let error = copies.set(&path(key), value, "root").unwrap_err();
        assert!(error.to_string().contains("is not shown"), "{error}");
    }
    let shown = copies.accepted().shown_whole().to_string();
    device.edit(shown);
    copies.import();
    for key in ["deviceApiKey", "mine.password"] {
        assert_eq!(
            copies.accepted().get(&path(key)).and_then(Value::as_str),
            Some("s3cret")
        );
    }
}

#[test]
fn half_of_an_edit_that_is_taken_for_stale_can_be_put_back() {
    let device = Device::with(r#"{"hostname":"kitchen","ntpServers":"a","mine":1}"#);
    let mut copies = device.start();
    let stale = device.on_boot();
    copies.set(&path("ntpServers"), "\"b\"", "root").unwrap();
    copies.set(&path("mine"), "2", "root").unwrap();
    // Both put back by hand, and another one changed.
    device.edit(stale.replace("kitchen", "cellar"));
    copies.import();
    assert_eq!(ntp(&copies), Some("b"));
    assert!(copies.problem().contains("changed since: ntpServers, mine;"));
    // Alone in the file.
    device.edit(device.on_boot().replace("\"b\"", "\"a\""));
    copies.import();
    assert_eq!((ntp(&copies), copies.problem().as_str()), (Some("a"), ""));

    device.edit(stale.replace("kitchen", "attic"));
    copies.import();
    assert!(
        copies.problem().contains("changed since: mine;"),
        "{}",
        copies.problem()
    );
    // By a call.
    copies.set(&path("mine"), "1", "root").unwrap();
    assert_eq!(copies.problem(), "");
    assert_eq!(device.start().problem(), "");
}

#[test]
fn what_was_kept_is_told_until_it_is_overtaken() {
    let device = Device::with(r#"{"hostname":"kitchen","ntpServers":"a"}"#);
    let mut copies = device.start();
    let stale = device.on_boot();
    copies.set(&path("ntpServers"), "\"b\"", "root").unwrap();
    device.edit(stale.replace("kitchen", "cellar"));
    copies.import();
    // A change that is refused, and a file that is: it is still to be told.
    copies.set(&path("hostname"), "7", "root").unwrap_err();
    device.edit("{");
    copies.import();
    settle(&mut copies);
    assert!(
        copies.problem().contains("changed since: ntpServers;"),
        "{}",
        copies.problem()
    );
    // A release that does not know of it lets it lie, and goes on.
    drop(copies);
    let store = Store::at(device.path("state"));
    let mut stored = store.load().unwrap().unwrap();
    stored.revision += 1;
    store.save(&stored).unwrap();
    assert!(!device.start().problem().contains("changed since"));
}

#[test]
fn an_export_that_is_late_is_no_edit() {
    let device = Device::with(r#"{"hostname":"kitchen","ntpServers":"a"}"#);
    let mut copies = device.start();
    copies.set(&path("mine"), "1", "root").unwrap();
    let before = device.on_boot();
    // Nothing is known of the file while a change is made: another one is in its place, then it is there again.
    copies.seen = None;
    copies.set(&path("ntpServers"), "\"b\"", "root").unwrap();
    copies.is_unexported = true;
    device.edit(&before);
    copies.import();
    assert_eq!((ntp(&copies), copies.problem().as_str()), (Some("b"), ""));
    assert!(device.on_boot().contains("\"b\""));
}

#[test]
fn names_of_any_length_and_number_make_a_sentence() {
    let many: String = (0..40)
        .map(|n| format!("\"{}{n}\":1,", "x".repeat(300)))
        .collect();
    let device = Device::with(r#"{"hostname":"kitchen"}"#);
    let mut copies = device.start();
    let stale = device.on_boot();
    copies
        .patch(0, &format!("{{{}}}", many.trim_end_matches(',')), "root")
        .unwrap();
    device.edit(stale.replace("kitchen", "cellar"));
    copies.import();
    let said = copies.problem();
    assert!(
        said.contains("…, xxx") && said.contains(" and 24 more;"),
        "{said}"
    );
    assert!(said.len() < 2048, "{}", said.len());
}

#[test]
fn a_stale_copy_of_an_export_does_not_revert_an_edit() {
    let device = Device::with(r#"{"hostname":"kitchen","ntpServers":"a"}"#);
    let mut copies = device.start();
    copies.set(&path("mine"), "1", "root").unwrap();
    let stale = device.on_boot();
    device.edit(stale.replace("\"a\"", "\"b\""));
    copies.import();
    device.edit(stale.replace("kitchen", "cellar"));
    copies.import();
    assert_eq!((hostname(&copies), ntp(&copies)), (Some("cellar"), Some("b")));
}

#[test]
fn a_key_that_only_an_older_release_refused_is_applied() {
    let device = Device::with(r#"{"hostname":"kitchen","ntpServers":"a"}"#);
    let mut copies = device.start();
    device.edit(r#"{"hostname":"cellar","ntpServers":"b"}"#);
    copies.import();
    // As if the host name had been refused.
    let store = Store::at(device.path("state"));
    let mut stored = store.load().unwrap().unwrap();
    stored
        .document
        .as_mut()
        .unwrap()
        .set(&path("hostname"), "kitchen".into())
        .unwrap();
    stored.boot.text = Some(device.on_boot());
    stored.boot.refused = vec!["hostname".to_owned()];
    store.save(&stored).unwrap();
    let on_boot = device.on_boot();
    let copies = device.start();
    assert_eq!((hostname(&copies), copies.revision()), (Some("cellar"), 3));
    assert_eq!(device.on_boot(), on_boot);
    assert_eq!(device.start().revision(), 3);
}

#[test]
fn the_layout_before_generations_is_taken_over() {
    let device = Device::with(r#"{"hostname":"kitchen","ntpServers":7,"country":"DE"}"#);
    std::fs::write(device.path("state/uuid"), format!("{UUID}\n")).unwrap();
    std::fs::write(
        device.path("state/config.json"),
        r#"{"hostname":"kitchen","ntpServers":"a","country":"DE"}"#,
    )
    .unwrap();
    std::fs::copy(device.path("boot/config.json"), device.path("state/boot.json")).unwrap();
    for _ in 0..2 {
        let copies = device.start();
        assert_eq!((hostname(&copies), ntp(&copies)), (Some("kitchen"), Some("a")));
        assert_eq!(copies.identity().to_string(), UUID);
        assert_eq!((copies.revision(), copies.problem().as_str()), (1, ""));
        assert!(
            device.on_boot().contains('7'),
            "what was refused is left to the person"
        );
    }
}

#[test]
fn an_interrupted_export_is_told_from_a_revert() {
    let device = Device::with(r#"{"hostname":"kitchen"}"#);
    let mut copies = device.start();
    let before = device.on_boot();
    copies.set(&path("hostname"), "\"cellar\"", "root").unwrap();
    // The power goes before the rename.
    std::fs::rename(
        device.path("boot/config.json"),
        device.path("boot/config.json.new"),
    )
    .unwrap();
    device.edit(&before);
    let copies = device.start();
    assert_eq!((hostname(&copies), copies.revision()), (Some("cellar"), 2));
    assert!(device.on_boot().contains("cellar"));
    assert!(!device.path("boot/config.json.new").exists());
    // Put back on purpose while the device is off.
    device.edit(&before);
    let copies = device.start();
    assert_eq!((hostname(&copies), copies.revision()), (Some("kitchen"), 3));
}

#[test]
fn an_edit_over_an_interrupted_export_is_merged_with_it() {
    let device = Device::with(r#"{"hostname":"kitchen","ntpServers":"a"}"#);
    let mut copies = device.start();
    let before = device.on_boot();
    copies.set(&path("hostname"), "\"cellar\"", "root").unwrap();
    std::fs::rename(
        device.path("boot/config.json"),
        device.path("boot/config.json.new"),
    )
    .unwrap();
    device.edit(before.replace("\"a\"", "\"b\""));
    let copies = device.start();
    assert_eq!((hostname(&copies), ntp(&copies)), (Some("cellar"), Some("b")));
    assert!(device.on_boot().contains("cellar") && device.on_boot().contains("\"b\""));
}

#[test]
fn a_restart_without_a_change_writes_nothing() {
    let device = Device::with("{ \"hostname\":\"kitchen\", \"ntpServers\":7 }");
    let mut copies = device.start();
    copies.set(&path("mine"), "1", "root").unwrap();
    let bytes = || {
        ["state/generation-0", "state/generation-1", "boot/config.json"].map(|name| {
            (
                std::fs::read(device.path(name)).unwrap(),
                std::fs::metadata(device.path(name)).unwrap().modified().unwrap(),
            )
        })
    };
    drop(device.start());
    let before = bytes();
    for _ in 0..3 {
        device.start().import();
    }
    assert!(bytes() == before);
}
