//! The device in QEMU, from firmware to shell. One boot for many questions: it takes a minute.

use std::time::Duration;

use anyhow::{Result, ensure};
use testbed::{Device, Link, Tier};

#[test]
fn a_whole_machine_boots_reboots_and_survives_a_power_cut() -> Result<()> {
    let mut device = Device::boot(Tier::Qemu)
        .config_text(r#"{"hostname": "machine"}"#)
        .start()?;

    device.run("systemctl --failed --no-legend")?.says("")?;
    device.run("systemctl is-system-running")?.says("running")?;
    device.run("test -d /sys/firmware/efi")?.succeeds()?;
    device
        .run("touch /usr/x")?
        .fails()?
        .complains("Read-only file system")?;
    device
        .run("findmnt --noheadings --output FSTYPE /boot")?
        .says("vfat")?;
    device
        .run("cat /boot/config.json")?
        .says(r#"{"hostname": "machine"}"#)?;
    device
        .run("cat /sys/class/watchdog/watchdog0/identity")?
        .says("i6300ESB timer")?;
    device.run("nmcli networking connectivity check")?.says("full")?;

    let output = device.run("printf 'a\\0\\377'; printf 'x\\n' >&2; exit 7")?;
    assert_eq!(
        (output.code, &output.stdout[..], &output.stderr[..]),
        (7, &b"a\0\xff"[..], &b"x\n"[..])
    );
    let large = device.run("head -c 5000000 /dev/zero")?.succeeds()?;
    ensure!(
        large.stdout.len() == 5_000_000,
        "{} bytes came through",
        large.stdout.len()
    );
    device.run("sleep 60 & echo left")?.says("left")?;

    device.world().link(Link::Down)?;
    device.soon(Duration::from_secs(60), "nmcli -g STATE general", "disconnected")?;
    device.world().link(Link::Up)?;
    device.soon(Duration::from_secs(60), "nmcli -g STATE general", "connected")?;

    device
        .run("echo kept >/data/kept && sync /data/kept && touch /run/lost")?
        .succeeds()?;
    device.reboot()?;
    device.run("cat /data/kept")?.says("kept")?;
    device.run("ls /run/lost")?.fails()?;

    device
        .run("echo flushed >/var/lib/fleet/flushed && sync /var/lib/fleet/flushed")?
        .succeeds()?;
    device.cut()?;
    device.run("cat /var/lib/fleet/flushed")?.says("flushed")?;
    device.run("systemctl is-system-running")?.says("running")?;
    Ok(())
}
