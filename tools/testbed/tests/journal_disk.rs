//! A data partition whose file system finds an error of itself while the journal is on it (journald alone would drop every
//! line from then on, without a word), or that cannot be mounted at a boot.

#![cfg(feature = "long")]

use std::time::Duration;

use anyhow::Result;
use testbed::{Device, Tier};

/// The service that watches over the journal looks every 30 s, and emulation takes its time.
const LOOKED: Duration = Duration::from_secs(120);
const MODE: &str = "fleet journal status --json | sed -n 's/.*\"mode\": \"\\(.*\\)\".*/\\1/p'";

/// A device that keeps its journal, and the line `before` in it.
fn with_a_line_on_flash() -> Result<Device> {
    let mut device = Device::boot(Tier::Qemu)
        .config_text(r#"{"persistentLogging": true}"#)
        .start()?;
    device.soon(LOOKED, MODE, "persistent")?;
    device
        .run("logger -t probe before; journalctl --sync")?
        .succeeds()?;
    Ok(device)
}

#[test]
fn a_file_system_error_sends_it_to_ram_and_a_repair_brings_it_back() -> Result<()> {
    let mut device = with_a_line_on_flash()?;
    // The kernel's own way to try this (Documentation/ABI/testing/sysfs-fs-ext4).
    device
        .run(
            "echo 1 > /sys/fs/ext4/$(basename $(readlink -f $(findmnt -n -o SOURCE /data)))/trigger_fs_error",
        )?
        .succeeds()?;
    device.run("touch /data/x")?.fails()?;
    device.soon(
        LOOKED,
        "test -e /run/systemd/journal/flushed && echo on flash || echo back",
        "back",
    )?;
    device.run(MODE)?.says("volatile")?;
    device
        .run("fleet journal status")?
        .mentions("has an error, which the next boot repairs")?;
    device
        .run("logger -t probe after && journalctl --sync; journalctl -q -t probe -o cat 2>/dev/null | tail -n 1")?
        .says("after")?;
    device.run("systemctl --failed --no-legend")?.says("")?;
    device
        .run("fleet connectivity --json")?
        .mentions(r#""status": "online""#)?;

    // The next boot repairs it.
    device.reboot()?;
    device.soon(LOOKED, MODE, "persistent")?;
    device
        .run("journalctl -t probe -o cat | head -n 1")?
        .says("before")?;
    device.run("touch /data/x")?.succeeds()?;
    Ok(())
}

#[test]
fn a_partition_that_cannot_be_mounted_is_repaired_or_costs_only_the_stored_journal() -> Result<()> {
    let mut device = with_a_line_on_flash()?;

    // Its first block is torn: no superblock, no label. There are copies of it.
    device
        .run("dd if=/dev/zero of=/dev/disk/by-partlabel/fleet-data bs=4096 count=1 conv=notrunc,fsync")?
        .succeeds()?;
    device.cut()?;
    device.run("findmnt -no LABEL /data")?.says("fleet-data")?;

    device.soon(LOOKED, MODE, "persistent")?;
    device
        .run("journalctl -t probe -o cat | head -n 1")?
        .says("before")?;
    device.run("systemctl --failed --no-legend")?.says("")?;

    // Nothing of it is left.
    device
        .run("dd if=/dev/zero of=/dev/disk/by-partlabel/fleet-data bs=1M conv=notrunc,fsync; true")?
        .succeeds()?;
    device.cut()?;
    device.run("findmnt /data")?.fails()?;
    device.run(MODE)?.says("volatile")?;
    device
        .run("fleet journal status")?
        .mentions("Problem: the journal is to be on the data partition and is in RAM")?
        .mentions("not mounted")?;
    device
        .run("logger -t probe after && journalctl --sync; journalctl -q -t probe -o cat | tail -n 1")?
        .says("after")?;
    device
        .run("fleet connectivity --json")?
        .mentions(r#""status": "online""#)?;
    device
        .run("fleet config set hostname goes-on && uname -n")?
        .mentions("goes-on")?;

    // A new one is taken as it comes.
    device
        .run("mkfs.ext4 -q -F -L fleet-data /dev/disk/by-partlabel/fleet-data && sync")?
        .succeeds()?;
    device.reboot()?;
    device.soon(LOOKED, MODE, "persistent")?;
    device.run("systemctl --failed --no-legend")?.says("")?;
    Ok(())
}
