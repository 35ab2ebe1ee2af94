//! A card that was copied to another board.

use super::*;

const OTHER: &str = "ffffffffffffffffffffffffffffffff";

impl Device {
    fn board(&self, evidence: &str) {
        std::fs::write(self.path("board"), evidence).unwrap();
    }
}

fn uuid_on_boot(device: &Device) -> Option<String> {
    let document = Document::parse(device.on_boot().as_bytes()).unwrap();
    document
        .setting("uuid")
        .and_then(Value::as_str)
        .map(str::to_owned)
}

#[test]
fn gets_an_identity_of_its_own_once() {
    let device = Device::with(&format!(r#"{{"uuid":"{UUID}","hostname":"kitchen"}}"#));
    device.board("serial 1a\n");
    drop(device.start());
    device.board("serial 2b\n");
    let copies = device.start();
    let made = copies.identity().to_string();
    assert_ne!(made, UUID);
    assert!(
        copies.problem().contains("copied from another device"),
        "{}",
        copies.problem()
    );
    assert_eq!(uuid_on_boot(&device).as_deref(), Some(made.as_str()));
    assert_eq!(
        copies.accepted().setting("uuid").and_then(Value::as_str),
        Some(made.as_str())
    );
    assert_eq!(hostname(&copies), Some("kitchen"));
    let newest = &copies.history().entries()[0];
    assert_eq!((newest.who.as_str(), newest.how.as_str()), ("device", "identity"));
    assert_eq!(
        (newest.keys.as_slice(), copies.revision()),
        (&["uuid".to_owned()][..], 2)
    );
    assert!(copies.findings().iter().all(|finding| !finding.is_refused()));
    // Whichever generation is lost.
    for slot in [0, 1] {
        std::fs::write(device.path(&format!("state/generation-{slot}")), "").unwrap();
        let copies = device.start();
        assert_eq!(
            (copies.identity().to_string(), copies.problem().as_str()),
            (made.clone(), "")
        );
        assert_eq!(copies.revision(), 2);
        Store::at(device.path("state"))
            .save_twice(&copies.to_store())
            .unwrap();
    }
}

#[test]
fn that_was_edited_keeps_the_edit() {
    for given in [UUID, OTHER] {
        let device = Device::with(&format!(r#"{{"uuid":"{UUID}","hostname":"kitchen"}}"#));
        device.board("mac 02:00:00:00:00:01\n");
        drop(device.start());
        device.board("mac 02:00:00:00:00:02\n");
        device.edit(format!(r#"{{"uuid":"{given}","hostname":"cellar"}}"#));
        let copies = device.start();
        let identity = copies.identity().to_string();
        assert_ne!(identity, UUID);
        assert!(
            given == UUID || identity == given,
            "the file gives one of its own"
        );
        assert_eq!(hostname(&copies), Some("cellar"));
        assert_eq!(uuid_on_boot(&device), Some(identity));
    }
}

#[test]
fn needs_evidence() {
    let device = Device::with(&format!(r#"{{"uuid":"{UUID}"}}"#));
    for evidence in [
        "",
        "serial 1a\n",
        "",
        "serial 1a\nmac 02:00:00:00:00:01\n",
        "serial 1a\nmac 02:00:00:00:00:02\n",
    ] {
        device.board(evidence);
        let copies = device.start();
        assert_eq!(
            (copies.identity().to_string().as_str(), copies.problem().as_str()),
            (UUID, ""),
            "{evidence}"
        );
    }
    std::fs::remove_file(device.path("board")).unwrap();
    assert_eq!(device.start().identity().to_string(), UUID);
}

#[test]
fn is_not_told_by_an_address_that_shows_later() {
    let device = Device::with(&format!(r#"{{"uuid":"{UUID}"}}"#));
    for (evidence, recorded) in [
        ("mac 02\n", "mac 02\n"),
        ("mac 01\nmac 02\n", "mac 01\nmac 02\n"),
        ("mac 01\n", "mac 01\nmac 02\n"),
        ("mac 02\nserial 1a\n", "serial 1a\nmac 01\nmac 02\n"),
        ("serial 2b\n", "serial 1a\nmac 01\nmac 02\n"),
    ] {
        device.board(evidence);
        let copies = device.start();
        assert_eq!(copies.identity().to_string(), UUID, "{evidence}");
        assert_eq!(copies.stored.board, recorded, "{evidence}");
        let stored = Store::at(device.path("state")).load().unwrap().unwrap();
        assert_eq!(stored.board, recorded, "{evidence}");
    }
    device.board("serial 2b\nmac 03\n");
    let copies = device.start();
    assert_ne!(copies.identity().to_string(), UUID);
    assert_eq!(copies.stored.board, "serial 2b\nmac 03\n");
}

#[test]
fn without_a_uuid_in_the_file_has_none_after() {
    let device = Device::with(r#"{"hostname":"kitchen"}"#);
    device.board("serial 1a\n");
    let before = *device.start().identity();
    let text = device.on_boot();
    device.board("serial 2b\n");
    let copies = device.start();
    assert_ne!(*copies.identity(), before);
    assert_eq!(device.on_boot(), text);
    assert_eq!(Store::at(device.path("state")).uuid(), Some(*copies.identity()));
}
