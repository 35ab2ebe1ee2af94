//! What is lost, damaged, cut off or cannot be written, on either partition.

use tokio::time::advance;

use fleet_base::file;

use super::*;

const KEYFILE: &str = "[connection]\nid=office\n";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINrEGH2ofxVbbHY9RGew4bkVvleiMbzvvc94SXKuIZlv me";

impl Device {
    fn with_keyfiles() -> Self {
        let device = Self::with(r#"{"hostname":"kitchen"}"#);
        std::fs::create_dir(device.path(FOLDER)).unwrap();
        for name in ["office", "guest.nmconnection"] {
            std::fs::write(device.path(FOLDER).join(name), KEYFILE).unwrap();
        }
        device
    }

    /// As `rm -r /boot/*`, and as a file system that was made again.
    fn blank(&self) {
        std::fs::remove_dir_all(self.path("boot")).unwrap();
        std::fs::create_dir(self.path("boot")).unwrap();
    }

    fn edit_keyfile(&self, name: &str, text: &str) {
        std::fs::write(self.path(FOLDER).join(name), text).unwrap();
    }

    fn on_boot_keyfiles(&self) -> Vec<String> {
        let names = file::names(&self.path(FOLDER)).unwrap();
        names
            .into_iter()
            .map(|name| name.into_string().unwrap())
            .collect()
    }
}

const FOLDER: &str = "boot/system-connections";

fn names(copies: &mut Copies) -> Vec<String> {
    copies.keyfiles().good.into_keys().collect()
}

#[test]
fn a_blank_boot_partition_costs_no_profile() {
    let device = Device::with_keyfiles();
    let mut copies = device.start();
    assert_eq!(names(&mut copies), ["guest", "office"]);
    // While the device runs: our own export must not look like a partition without keyfiles.
    for _ in 0..2 {
        device.blank();
        for _ in 0..3 {
            copies.import();
            assert_eq!(names(&mut copies), ["guest", "office"]);
            assert_eq!(device.on_boot_keyfiles(), ["guest.nmconnection", "office"]);
            assert_eq!(copies.problem(), "");
        }
    }
    // With the power cut before or after it is written again, and while the device is off.
    for _ in 0..3 {
        device.blank();
        assert_eq!(names(&mut device.start()), ["guest", "office"]);
        assert_eq!(names(&mut device.start()), ["guest", "office"]);
    }
    // The folder alone, between two starts.
    std::fs::remove_dir_all(device.path(FOLDER)).unwrap();
    let mut copies = device.start();
    assert_eq!(names(&mut copies), ["guest", "office"]);
    assert_eq!(device.on_boot_keyfiles(), ["guest.nmconnection", "office"]);
    assert_eq!(
        std::fs::read_to_string(device.path(FOLDER).join("office")).unwrap(),
        KEYFILE
    );
}

#[test]
fn a_removal_in_steps_costs_no_profile() {
    let device = Device::with_keyfiles();
    let mut copies = device.start();
    names(&mut copies);
    std::fs::remove_file(device.path("boot/config.json")).unwrap();
    copies.import();
    assert_eq!(names(&mut copies), ["guest", "office"]);
    // config.json is ours now.
    std::fs::remove_dir_all(device.path(FOLDER)).unwrap();
    copies.import();
    assert_eq!(names(&mut copies), ["guest", "office"]);
    assert_eq!(device.on_boot_keyfiles().len(), 2);
}

#[test]
fn profiles_are_removed_by_removing_them() {
    let device = Device::with_keyfiles();
    let mut copies = device.start();
    assert_eq!(names(&mut copies), ["guest", "office"]);
    std::fs::remove_file(device.path(FOLDER).join("office")).unwrap();
    assert_eq!(names(&mut copies), ["guest"], "a file");
    assert_eq!(names(&mut device.start()), ["guest"]);

    device.edit_keyfile("guest.nmconnection", "");
    let mut copies = device.start();
    assert_eq!(names(&mut copies), ["guest"], "damaged: the last good one");
    assert_eq!(copies.keyfiles().refused.len(), 1);

    std::fs::rename(device.path("boot"), device.path("gone")).unwrap();
    copies.import();
    assert_eq!(names(&mut copies), ["guest"], "no boot partition");
    assert_eq!(
        names(&mut device.start()),
        ["guest"],
        "no boot partition at a start"
    );
    std::fs::rename(device.path("gone"), device.path("boot")).unwrap();

    let mut copies = device.start();
    names(&mut copies);
    std::fs::remove_dir_all(device.path(FOLDER)).unwrap();
    copies.import();
    assert!(names(&mut copies).is_empty(), "the folder");
    assert!(names(&mut device.start()).is_empty());
    assert!(!device.path(FOLDER).exists(), "nothing is written again");
}

#[test]
fn a_boot_partition_that_comes_late_is_as_good() {
    let device = Device::with_keyfiles();
    names(&mut device.start());
    std::fs::rename(device.path("boot"), device.path("gone")).unwrap();
    let mut copies = device.start();
    assert_eq!(names(&mut copies), ["guest", "office"]);
    std::fs::rename(device.path("gone"), device.path("boot")).unwrap();
    copies.import();
    assert_eq!(names(&mut copies), ["guest", "office"]);
    std::fs::remove_dir_all(device.path(FOLDER)).unwrap();
    copies.import();
    assert!(names(&mut copies).is_empty(), "a removal, as ever");
}

#[test]
fn another_card_without_keyfiles_is_no_removal() {
    let device = Device::with_keyfiles();
    let mut copies = device.start();
    names(&mut copies);
    std::fs::rename(device.path("boot"), device.path("gone")).unwrap();
    copies.import();
    names(&mut copies);
    std::fs::create_dir(device.path("boot")).unwrap();
    device.edit(r#"{"hostname":"cellar"}"#);
    copies.import();
    assert_eq!(names(&mut copies), ["guest", "office"]);
    assert_eq!(device.on_boot_keyfiles().len(), 2);
}

#[test]
fn keyfiles_that_cannot_be_written_again_stay_in_force() {
    let device = Device::with_keyfiles();
    names(&mut device.start());
    device.blank();
    std::fs::write(device.path("boot/system-connections.new"), "in the way").unwrap();
    let mut copies = device.start();
    assert_eq!(names(&mut copies), ["guest", "office"]);
    assert!(
        copies.problem().ends_with("the stored keyfiles are in force"),
        "{}",
        copies.problem()
    );
    std::fs::remove_file(device.path("boot/system-connections.new")).unwrap();
    assert_eq!(names(&mut copies), ["guest", "office"]);
    assert_eq!(copies.problem(), "");
    assert_eq!(device.on_boot_keyfiles().len(), 2);
    assert!(!device.path("boot/system-connections.new").exists());
}

#[test]
fn keyfiles_that_cannot_be_stored_are_a_problem() {
    let device = Device::with_keyfiles();
    std::fs::write(device.path("state/system-connections"), "in the way").unwrap();
    let mut copies = device.start();
    assert_eq!(names(&mut copies), ["guest", "office"]);
    assert!(
        copies
            .problem()
            .starts_with("the keyfiles are in force and not stored"),
        "{}",
        copies.problem()
    );
    assert!(copies.is_unstored());
    std::fs::remove_file(device.path("state/system-connections")).unwrap();
    names(&mut copies);
    assert_eq!((copies.problem().as_str(), copies.is_unstored()), ("", false));
}

#[test]
fn an_edit_that_cannot_be_stored_holds_and_is_not_forgotten() {
    let device = Device::with(r#"{"hostname":"kitchen"}"#);
    let mut copies = device.start();
    device.block_store();
    device.edit(r#"{"hostname":"cellar"}"#);
    for _ in 0..2 {
        copies.import();
        assert_eq!(hostname(&copies), Some("cellar"));
        assert!(
            copies
                .problem()
                .starts_with("the configuration is in force and lost at power-off"),
            "{}",
            copies.problem()
        );
        assert!(copies.is_unstored());
        // The power goes: the older configuration must not be written over the edit.
        copies = device.start();
        assert!(device.on_boot().contains("cellar"));
    }
    // Neither by way of an export.
    std::fs::remove_file(device.path("boot/config.json")).unwrap();
    copies.import();
    drop(device.start());
    assert!(device.on_boot().contains("cellar"));

    device.unblock_store();
    copies.store_again();
    assert_eq!((copies.problem().as_str(), copies.is_unstored()), ("", false));
    assert_eq!(hostname(&device.start()), Some("cellar"));
    std::fs::remove_file(device.path("boot/config.json")).unwrap();
    assert_eq!(hostname(&device.start()), Some("cellar"), "from the store");
}

#[test]
fn an_edit_that_was_not_stored_can_be_taken_back() {
    let device = Device::with(r#"{"hostname":"kitchen"}"#);
    let mut copies = device.start();
    device.block_store();
    device.edit(r#"{"hostname":"cellar"}"#);
    copies.import();
    device.edit(r#"{"hostname":"kitchen"}"#);
    copies.import();
    assert_eq!(hostname(&copies), Some("kitchen"));
    device.unblock_store();
    copies.store_again();
    assert_eq!(copies.problem(), "");
    assert_eq!(device.start().revision(), 3);
    assert!(device.on_boot().contains("kitchen"));
}

#[test]
fn a_store_that_fails_is_said_before_a_broken_file() {
    let device = Device::with(r#"{"hostname":"kitchen"}"#);
    let mut copies = device.start();
    device.block_store();
    device.edit(r#"{"hostname":"attic"}"#);
    copies.import();
    device.edit("{");
    copies.import();
    let problem = copies.problem();
    let at = |text| problem.find(text).unwrap_or_else(|| panic!("{problem}"));
    assert!(
        at("the configuration is in force and lost") < at("config.json: line 1"),
        "{problem}"
    );
    device.unblock_store();
    copies.store_again();
    assert!(!copies.is_unstored());
}

#[test]
fn what_is_too_large_when_it_is_stored_is_refused() {
    let device = Device::with(&format!(r#"{{"os":{{"sshKeys":["{KEY}"]}}}}"#));
    let mut copies = device.start();
    let large = format!(r#"{{"hostname":"cellar","mine":[{}1]}}"#, "1,".repeat(300_000));
    assert!(Document::parse(large.as_bytes()).is_ok(), "it can be read");
    device.edit(&large);
    copies.import();
    settle(&mut copies);
    for _ in 0..2 {
        assert_eq!(hostname(&copies), None);
        assert_eq!(
            copies.problem(),
            "config.json: indented, as it is stored, it is larger than 1024 KiB; it was put aside as \
             config.json.rejected; the last accepted configuration stays in force"
        );
        assert_eq!(authorized_keys::keys(&Store::at(device.path("state"))).len(), 1);
        copies = device.start();
    }
    let aside = std::fs::read_to_string(device.path("boot/config.json.rejected"));
    assert_eq!(aside.unwrap(), large);
}

#[test]
fn a_damaged_store_keeps_the_identity_and_takes_the_boot_partitions_copy() {
    let other = "ffffffffffffffffffffffffffffffff";
    for damaged in [&[0][..], &[1], &[0, 1]] {
        let device = Device::with(&format!(r#"{{"hostname":"kitchen","uuid":"{UUID}"}}"#));
        let mut copies = device.start();
        // Refused while it ran.
        device.edit(format!(r#"{{"hostname":"cellar","uuid":"{other}"}}"#));
        copies.import();
        let before = copies.revision();
        for slot in damaged {
            std::fs::write(device.path(&format!("state/generation-{slot}")), b"\0\0\0").unwrap();
        }
        for _ in 0..2 {
            let copies = device.start();
            assert_eq!(copies.identity().to_string(), UUID);
            assert!(
                copies
                    .findings()
                    .iter()
                    .any(|finding| finding.verdict == Verdict::OtherIdentity)
            );
            assert_eq!(
                (hostname(&copies), copies.problem().as_str()),
                (Some("cellar"), "")
            );
            assert!(damaged.len() == 2 || copies.revision() >= before);
        }
    }
}

#[test]
fn one_damaged_generation_does_not_need_the_boot_partition() {
    for slot in [0, 1] {
        let device = Device::with(r#"{"hostname":"kitchen"}"#);
        let mut copies = device.start();
        copies.set(&path("ntpServers"), "\"a\"", "root").unwrap();
        std::fs::write(device.path(&format!("state/generation-{slot}")), b"\0\0\0").unwrap();
        device.edit("{");
        assert_eq!(hostname(&device.start()), Some("kitchen"));
        assert_eq!(hostname(&device.start()), Some("kitchen"));
    }
}

#[test]
fn a_revision_is_never_told_of_another_configuration() {
    let device = Device::with(r#"{"hostname":"kitchen"}"#);
    let mut copies = device.start();
    copies.set(&path("hostname"), "\"attic\"", "root").unwrap();
    let told = copies.set(&path("hostname"), "\"cellar\"", "root").unwrap();
    let newest = ["state/generation-0", "state/generation-1"].map(|name| device.path(name));
    let newest = newest.into_iter().find(|slot| *slot != device.older()).unwrap();
    std::fs::write(newest, b"\0\0\0").unwrap();
    std::fs::remove_file(device.path("boot/config.json")).unwrap();
    let mut copies = device.start();
    let revision = copies.revision();
    assert_eq!(hostname(&copies), Some("attic"));
    assert!(revision > told, "{revision} after {told}");
    let entry = &copies.history().entries()[0];
    assert_eq!(
        (entry.revision, entry.who.as_str(), entry.how.as_str()),
        (revision, "device", "recovery")
    );
    for expected in [told - 1, told] {
        assert!(matches!(
            copies.patch(expected, r#"{"ntpServers":"a"}"#, "root"),
            Err(Error::Conflict { .. })
        ));
    }
    let again = device.start();
    assert_eq!(
        (again.revision(), hostname(&again)),
        (revision, Some("attic")),
        "once, and stored"
    );
}

#[test]
fn a_lost_identity_comes_from_the_accepted_configuration() {
    let device = Device::with(&format!(r#"{{"uuid":"{UUID}"}}"#));
    drop(device.start());
    std::fs::remove_file(device.path("state/uuid")).unwrap();
    device.edit("{}");
    assert_eq!(device.start().identity().to_string(), UUID);
}

#[tokio::test(start_paused = true)]
async fn an_empty_file_is_left_to_its_writer_for_a_while() {
    let before = r#"{"hostname":"kitchen"}"#;
    for empty in [&b""[..], b"\0\0\0", b"\n"] {
        let device = Device::with(before);
        let mut copies = device.start();
        device.edit(empty);
        let written = std::fs::File::options()
            .append(true)
            .open(device.path("boot/config.json"));
        for _ in 0..3 {
            copies.import();
            advance(Duration::from_secs(9)).await;
            assert_eq!(
                device.on_boot().as_bytes(),
                empty,
                "nothing is written under the writer's hands"
            );
            assert_eq!(
                (hostname(&copies), copies.problem().as_str()),
                (Some("kitchen"), "")
            );
        }
        if empty.is_empty() {
            std::io::Write::write_all(&mut written.unwrap(), br#"{"hostname":"cellar"}"#).unwrap();
            copies.import();
            assert_eq!(
                hostname(&copies),
                Some("cellar"),
                "the slow writer's edit is there"
            );
            device.edit("");
            copies.import();
            copies.stays().await;
            copies.import();
            assert!(device.on_boot().contains("cellar"));
        } else {
            copies.stays().await;
            copies.import();
            assert_eq!(device.on_boot(), before);
        }
        assert!(tokio::time::timeout(EMPTY * 10, copies.stays()).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_while_the_file_is_empty_is_exported_when_it_stays_so() {
    let device = Device::with(r#"{"hostname":"kitchen"}"#);
    let mut copies = device.start();
    device.edit("");
    copies.import();
    copies.set(&path("hostname"), "\"cellar\"", "root").unwrap();
    assert_eq!(device.on_boot(), "");
    copies.stays().await;
    copies.import();
    assert!(device.on_boot().contains("cellar"));
    assert_eq!(hostname(&device.start()), Some("cellar"));
}

#[test]
fn a_slip_in_the_only_key_keeps_the_keys_from_before() {
    let device = Device::with(&format!(r#"{{"os":{{"sshKeys":["{KEY}"]}}}}"#));
    let mut copies = device.start();
    let keys = || authorized_keys::keys(&Store::at(device.path("state"))).len();
    let refused = |copies: &Copies| {
        let refused = copies.findings().iter().filter(|finding| finding.is_refused());
        refused.map(Finding::name).collect::<Vec<_>>()
    };
    device.edit(format!(
        r#"{{"os":{{"sshKeys":["{}", 7]}}}}"#,
        KEY.replace("IZlv", "")
    ));
    for _ in 0..2 {
        copies.import();
        assert_eq!(keys(), 1);
        assert_eq!(refused(&copies), ["os.sshKeys", "os.sshKeys[0]", "os.sshKeys[1]"]);
        copies = device.start();
    }
    device.edit(format!(r#"{{"os":{{"sshKeys":["x","{KEY} other","y"]}}}}"#));
    copies.import();
    assert_eq!(
        (keys(), refused(&copies)),
        (1, vec!["os.sshKeys[0]".into(), "os.sshKeys[2]".into()])
    );
    device.edit(r#"{"os":{"sshKeys":[]}}"#);
    copies.import();
    assert_eq!(
        (keys(), refused(&copies).len()),
        (0, 0),
        "none at all can be said"
    );
}
