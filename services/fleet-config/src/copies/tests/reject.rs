//! A file that holds no document.

use super::*;

const GOOD: &str = r#"{"hostname":"kitchen","apiKey":"hunter2"}"#;

impl Device {
    fn aside(&self) -> Vec<u8> {
        std::fs::read(self.path("boot/config.json.rejected")).unwrap()
    }

    fn reason(&self) -> String {
        std::fs::read_to_string(self.path("boot/config.json.rejected.txt")).unwrap()
    }
}

#[test]
fn is_put_aside_whole_with_the_reason_and_a_good_one_takes_its_place() {
    let large = vec![b' '; 10 << 20];
    for broken in [
        &b"{\"hostname\":\"cellar\",\"apiKey\":\"hunter2\",}"[..],
        b"[\"hunter2\"]",
        b"{\"hostname\":\"hunter2",
        b"\xff",
        &large,
    ] {
        let device = Device::with(GOOD);
        let mut copies = device.start();
        device.edit(broken);
        copies.import();
        let on_boot = std::fs::read(device.path("boot/config.json")).unwrap();
        assert!(on_boot == broken, "it may still be written");
        let said = copies.problem();
        assert!(
            said.ends_with("the last accepted configuration stays in force"),
            "{said}"
        );
        settle(&mut copies);
        assert_eq!(device.on_boot(), GOOD);
        assert!(device.aside() == broken);
        assert!(device.reason().contains("fleet config check") && !device.reason().contains("hunter2"));
        for _ in 0..2 {
            assert_eq!(hostname(&copies), Some("kitchen"));
            assert!(
                copies.problem().contains("config.json.rejected"),
                "{}",
                copies.problem()
            );
            assert_eq!(copies.revision(), 1);
            copies = device.start();
        }
        device.edit(GOOD.replace("kitchen", "cellar"));
        copies.import();
        assert_eq!(
            (hostname(&copies), copies.problem().as_str()),
            (Some("cellar"), "")
        );
        assert_eq!(device.start().problem(), "");
    }
}

#[test]
fn at_first_boot_leaves_an_empty_object_and_the_identity_to_the_next() {
    let device = Device::with("{\n  \"hostname\": \"kitchen\",\n}");
    let mut copies = device.start();
    settle(&mut copies);
    assert_eq!(device.on_boot(), "{}\n");
    assert!(
        device.reason().contains("line 2, column 24"),
        "{}",
        device.reason()
    );
    let mut copies = device.start();
    assert!(
        copies.problem().contains("line 2, column 24"),
        "{}",
        copies.problem()
    );
    assert_eq!(copies.revision(), 0);
    device.edit(format!(r#"{{"uuid":"{UUID}"}}"#));
    copies.import();
    assert_eq!(copies.identity().to_string(), UUID);
    assert_eq!((copies.problem().as_str(), copies.revision()), ("", 1));
    assert_eq!(device.start().identity().to_string(), UUID);
}

#[test]
fn is_left_alone_while_it_is_written() {
    let device = Device::with(GOOD);
    let mut copies = device.start();
    for text in ["{", "{\"host", "{\"hostname\":\"ce"] {
        device.edit(text);
        settle(&mut copies);
        assert_eq!(device.on_boot(), text);
    }
    device.edit(r#"{"hostname":"cellar"}"#);
    copies.import();
    assert_eq!(
        (hostname(&copies), copies.problem().as_str()),
        (Some("cellar"), "")
    );
}

#[test]
fn a_folder_or_link_in_its_place_is_put_aside_too() {
    let device = Device::with(GOOD);
    let mut copies = device.start();
    let file = device.path("boot/config.json");
    for _ in 0..2 {
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        std::fs::write(file.join("x"), "x").unwrap();
        copies.import();
        settle(&mut copies);
        assert_eq!(device.on_boot(), GOOD);
        assert!(device.path("boot/config.json.rejected/x").exists());
        assert!(copies.problem().contains("it is not a regular file"));
    }
    std::fs::write(device.path("passwd"), "root:").unwrap();
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(device.path("passwd"), &file).unwrap();
    copies.import();
    settle(&mut copies);
    assert_eq!(device.on_boot(), GOOD);
    assert!(device.path("boot/config.json.rejected").is_symlink());
    assert_eq!(std::fs::read_to_string(device.path("passwd")).unwrap(), "root:");
}

#[test]
fn a_change_meanwhile_is_exported_when_it_is_put_aside() {
    let device = Device::with(r#"{"hostname":"kitchen","mine":1}"#);
    let mut copies = device.start();
    device.edit("{\"hostname\":");
    copies.import();
    copies.set(&path("ntpServers"), "\"b\"", "root").unwrap();
    assert_eq!(
        device.on_boot(),
        "{\"hostname\":",
        "the broken file is not written over"
    );
    settle(&mut copies);
    assert!(device.on_boot().contains("\"mine\": 1") && device.on_boot().contains("\"b\""));
    assert_eq!(device.aside(), b"{\"hostname\":");
    copies.set(&path("ntpServers"), "\"c\"", "root").unwrap();
    assert_eq!(copies.problem(), "");
    assert_eq!(device.start().revision(), 3);
}
