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
    let environment = device
        .run("cat /boot/EFI/BOOT/fleet-?.env | tr -d '#' | sha256sum | cut -c1-64")?
        .succeeds()?
        .text();
    // Five partitions, and a root that cannot be made writable: the file system itself says so.
    device.run("lsblk -rno PARTLABEL | grep -c ^fleet-")?.says("5")?;
    device
        .run("findmnt -no LABEL /var/lib/fleet")?
        .says("fleet-state")?;
    device.run("findmnt -no LABEL /data")?.says("fleet-data")?;
    device.run("mount -o remount,rw /; touch /usr/x")?.fails()?;
    device
        .run("cat /sys/class/watchdog/watchdog0/identity")?
        .says("i6300ESB timer")?;
    device.run("nmcli networking connectivity check")?.says("full")?;

    // The services, on a real FAT: an edit is seen, a change is exported.
    device
        .run("fleet connectivity --json")?
        .mentions(r#""status": "online""#)?;
    device
        .run(r#"echo '{"hostname": "edited"}' > /boot/config.json"#)?
        .succeeds()?;
    device.soon(Duration::from_secs(60), "uname -n", "edited")?;
    device
        .run("fleet config set hostname exported && grep -c exported /boot/config.json")?
        .succeeds()?;
    let identity = "cat /etc/machine-id /var/lib/fleet/ssh/*.pub /var/lib/fleet/config/uuid";
    let before = device.run(identity)?.succeeds()?.text();
    device
        .run("fleet config set persistentLogging true && journalctl --sync")?
        .succeeds()?;

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
    // journald syncs every five minutes by itself: what is younger may go with the power.
    device.run("journalctl --sync")?.succeeds()?;
    // With the power goes the checksum of the state's first block: e2fsck repairs what has no label any more.
    device
        .run("printf '\\377' | dd of=/dev/disk/by-partlabel/fleet-state bs=1 seek=1068 conv=notrunc,fsync")?
        .succeeds()?;
    device.cut()?;
    device
        .run("journalctl -b -k -o cat --no-pager | grep -c 'repaired the state partition'")?
        .says("1")?;
    device.run("cat /var/lib/fleet/flushed")?.says("flushed")?;
    device.run("systemctl is-system-running")?.says("running")?;
    device.run(identity)?.says(&before)?;
    device.run("uname -n")?.says("exported")?;
    // Slot A is good: three boots wrote nothing where the boot loader chooses by.
    device
        .run("grep -o 'rauc.slot=.' /proc/cmdline")?
        .says("rauc.slot=A")?;
    device
        .run("cat /boot/EFI/BOOT/fleet-?.env | tr -d '#' | sha256sum | cut -c1-64")?
        .says(&environment)?;
    // The first boot, the orderly reboot, and the one after the cut.
    device
        .run("journalctl --list-boots --quiet --no-pager | wc -l")?
        .says("3")?;
    Ok(())
}

#[test]
fn a_card_in_another_board_forgets_who_it_was() -> Result<()> {
    let mut device = Device::boot(Tier::Qemu).config_text("{}").start()?;
    device
        .run("cat /run/fleet/board")?
        .mentions("serial fleet-testbed")?;
    let identity = "cat /etc/machine-id /var/lib/fleet/ssh/*.pub";
    let before = device.run(identity)?.succeeds()?.text();
    // As if the card had been in another board until now.
    device
        .run("echo 'serial another' > /var/lib/fleet/board && sync /var/lib/fleet/board")?
        .succeeds()?;
    device.reboot()?;
    let after = device.run(identity)?.succeeds()?.text();
    for line in before.lines() {
        ensure!(!after.contains(line), "{line} is still there");
    }
    device.run("systemctl is-system-running")?.says("running")?;
    device
        .run("journalctl -b -k -o cat --no-pager | grep -c 'the state was copied from another device'")?
        .says("1")?;
    device.reboot()?;
    device.run(identity)?.says(&after)?;
    Ok(())
}

#[test]
fn kernel_parameters_and_the_watchdog_are_set_and_set_back_on_a_whole_machine() -> Result<()> {
    let mut device = Device::boot(Tier::Qemu)
        .config_text(
            r#"{"os": {"sysctl": {"vm.min_free_kbytes": 9000, "vm.swappiness": 17, "kernel.panic": 0}}}"#,
        )
        .start()?;
    let value = |name: &str| format!("cat /proc/sys/{}", name.replace('.', "/"));
    // Set at boot; the entry that could keep a panicked device from coming back is refused, and costs the others nothing.
    device.run(&value("vm.min_free_kbytes"))?.says("9000")?;
    device.run(&value("vm.swappiness"))?.says("17")?;
    device
        .run("fleet config show")?
        .mentions("a whole number from 1 to 300 was expected")?;
    let before = device.run(&value("kernel.panic"))?.text();
    device
        .run("fleet config set os.sysctl.kernel.panic 7")?
        .succeeds()?;
    device.run(&value("kernel.panic"))?.says("7")?;

    // The helper that takes it back is another run of it.
    device.run("systemctl stop fleet-helper")?.succeeds()?;
    device
        .run("fleet config unset os.sysctl.kernel.panic")?
        .succeeds()?;
    device.run(&value("kernel.panic"))?.says(&before)?;
    device.run(&value("vm.swappiness"))?.says("17")?;
    device.run("fleet config unset os.sysctl")?.succeeds()?;
    device.run(&value("vm.swappiness"))?.says("100")?;

    // systemd opens the device that QEMU has, and tells so.
    let property = |name: &str| {
        format!(
            "busctl get-property org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager {name}"
        )
    };
    device
        .run(&property("WatchdogDevice"))?
        .mentions("/dev/watchdog")?;
    device.run(&property("RebootWatchdogUSec"))?.says("t 300000000")?;
    // Without a key it is the image's, and armed.
    let counts = "cat /sys/class/watchdog/watchdog0/state /sys/class/watchdog/watchdog0/timeout";
    device.run(&property("RuntimeWatchdogUSec"))?.says("t 60000000")?;
    device.run(counts)?.says("active\n60")?;
    device
        .run("fleet config set os.watchdog.runtime 600")?
        .succeeds()?;
    device.run("fleet config show")?.mentions("os.watchdog.runtime")?;
    device.run(counts)?.says("active\n600")?;
    device.run("fleet config set os.watchdog.runtime 0")?.succeeds()?;
    device.run(counts)?.mentions("inactive")?;
    device.run("fleet config unset os.watchdog")?.succeeds()?;
    device.run(&property("RuntimeWatchdogUSec"))?.says("t 60000000")?;
    device.run(counts)?.says("active\n60")?;

    // On a Raspberry Pi, as far as its name goes: what its driver could make a reset of is not set.
    device
        .run(
            "systemctl stop fleet-helper; echo Broadcom BCM2835 Watchdog timer >/run/identity && \
             mount --bind /run/identity /sys/class/watchdog/watchdog0/identity && \
             fleet config set os.watchdog.runtime 64; fleet config show",
        )?
        .mentions("could reset a Raspberry Pi")?;
    device.run(counts)?.says("active\n60")?;
    device.run("fleet config set os.watchdog.runtime 61; true")?;
    device.run(counts)?.says("active\n61")?;
    Ok(())
}
