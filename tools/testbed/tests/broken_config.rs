//! A config.json that cannot be read costs the device nothing but the edit.

use std::time::Duration;

use anyhow::Result;
use testbed::{Device, Tier};

/// Boots with this file and looks for `place` in what the device says of it.
fn boots_with(config: &[u8], place: &str) -> Result<Device> {
    let mut device = Device::boot(Tier::Nspawn).config_text(config).start()?;
    device.run("systemctl is-system-running")?.says("running")?;
    device
        .run("fleet connectivity --json")?
        .mentions(r#""status": "online""#)?;
    device
        .run("fleet status")?
        .succeeds()?
        .mentions("Problem: ")?
        .mentions(place)?;
    Ok(device)
}

#[test]
fn one_stray_comma_at_first_boot() -> Result<()> {
    let mut device = boots_with(b"{\n  \"hostname\": \"alpha\",\n}\n", "line 2, column 22")?;
    // Repaired in place, it applies at once.
    device
        .run(r#"echo '{"hostname": "alpha"}' > /boot/config.json"#)?
        .succeeds()?;
    device.soon(Duration::from_secs(1), "uname -n", "alpha")?;
    device.run("fleet status | grep Problem")?.fails()?;
    Ok(())
}

#[test]
fn a_huge_file_and_a_folder_in_its_place_are_put_aside() -> Result<()> {
    let good = br#"{"hostname": "alpha"}"#;
    let mut device = Device::boot(Tier::Nspawn).config_text(good).start()?;
    for broken in [
        "head -c 10M /dev/urandom > /boot/config.json",
        "rm /boot/config.json; mkdir /boot/config.json",
    ] {
        device.run(broken)?.succeeds()?;
        device.soon(
            Duration::from_secs(3),
            "test -e /boot/config.json.rejected && cat /boot/config.json",
            r#"{"hostname": "alpha"}"#,
        )?;
        device.run("uname -n")?.says("alpha")?;
    }
    device.run("test -d /boot/config.json.rejected")?.succeeds()?;
    device.run("fleet config set hostname beta")?.succeeds()?;
    device.run("fleet status | grep Problem")?.fails()?;
    Ok(())
}

#[test]
fn a_file_that_the_medium_does_not_give_is_left_alone_and_read_later() -> Result<()> {
    let good = br#"{"hostname": "alpha"}"#;
    let mut device = Device::boot(Tier::Nspawn).config_text(good).start()?;
    // A file in its place that every read of fails.
    device
        .run("mount --bind /proc/1/mem /boot/config.json && touch /boot/config.json; touch /boot/x; mkdir /boot/dispatcher.d")?
        .succeeds()?;
    device.soon(
        Duration::from_secs(3),
        "fleet status | grep -c 'config.json: it cannot be read: .*; the last accepted configuration stays'",
        "1",
    )?;
    device.run("uname -n")?.says("alpha")?;
    device.run("ls /boot/config.json.rejected")?.fails()?;
    device.run("fleet config set ntpServers 192.0.2.3")?.succeeds()?;
    // It comes back by itself: nobody edits it.
    device.run("umount /boot/config.json")?.succeeds()?;
    device.soon(
        Duration::from_secs(60),
        "fleet status | grep -c Problem; true",
        "0",
    )?;
    device.run("grep -c 192.0.2.3 /boot/config.json")?.says("1")?;
    device.run("uname -n")?.says("alpha")?;
    Ok(())
}

#[test]
fn a_boot_partition_that_is_not_there_is_named() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    device
        .run("umount /boot && fleet config set country SE")?
        .succeeds()?;
    device.run("fleet status")?.mentions(
        "the boot partition is not mounted there (`systemctl status boot.mount`); the stored configuration is in force",
    )?;
    device.run("fleet config get country")?.says("\"SE\"")?;
    Ok(())
}

#[test]
fn a_copy_that_waits_in_its_middle_is_one_edit() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    device
        .run("(printf '{\"hostname\":'; sleep 2; printf '\"slow\"}') >/boot/config.json")?
        .succeeds()?;
    device.soon(Duration::from_secs(20), "uname -n", "slow")?;
    device.run("ls /boot")?.says("config.json")?;
    Ok(())
}

#[test]
fn an_empty_file_at_first_boot() -> Result<()> {
    boots_with(b"", "line 1, column 1").map(drop)
}

#[test]
fn a_truncated_file_at_first_boot() -> Result<()> {
    boots_with(b"{\n  \"hostname\": \"alp", "line 2, column").map(drop)
}

#[test]
fn a_list_at_first_boot() -> Result<()> {
    boots_with(b"[]", "line 1, column 1").map(drop)
}

#[test]
fn a_file_broken_later_leaves_the_device_as_it_was() -> Result<()> {
    let good = br#"{"uuid": "0123456789abcdef0123456789abcdef", "hostname": "alpha"}"#;
    let mut device = Device::boot(Tier::Nspawn).config_text(good).start()?;
    device
        .run("printf '{\"hostname\": \"beta\"' > /boot/config.json")?
        .succeeds()?;
    device.soon(Duration::from_secs(2), "fleet status | grep -c Problem", "1")?;
    device.run("uname -n")?.says("alpha")?;
    // It is put aside as it was, with the reason, and a good one takes its place.
    device.soon(
        Duration::from_secs(2),
        "cat /boot/config.json.rejected",
        "{\"hostname\": \"beta\"",
    )?;
    device
        .run("cat /boot/config.json.rejected.txt")?
        .mentions("line 1, column")?
        .mentions("fleet config check")?;
    device.soon(Duration::from_secs(2), "grep -c alpha /boot/config.json", "1")?;
    // After a power cut it is still said, and host name and identity are those of the last accepted one.
    device.cut()?;
    device.run("uname -n")?.says("alpha")?;
    device
        .run("fleet status")?
        .mentions("Problem: ")?
        .mentions("config.json.rejected")?;
    device
        .run("fleet config show")?
        .mentions("0123456789abcdef0123456789abcdef")?;
    // A file that is gone is no edit; the last accepted one is written back.
    device.run("rm /boot/config.json")?.succeeds()?;
    device.soon(Duration::from_secs(2), "grep -c alpha /boot/config.json", "1")?;
    // Nor is an emptied one, which somebody may be writing just now: it is left to them for a while.
    device
        .run(r#"(sleep 3; echo '{"hostname": "slow"}') > /boot/config.json"#)?
        .succeeds()?;
    device.soon(Duration::from_secs(2), "uname -n", "slow")?;
    device.run(": > /boot/config.json")?.succeeds()?;
    device.soon(Duration::from_secs(60), "grep -c slow /boot/config.json", "1")?;
    Ok(())
}
