//! Slots on a whole machine: UEFI, GRUB with the layer's configuration, the image, and RAUC telling GRUB what to start.

#![cfg(feature = "long")]

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use testbed::{Device, Tier};

const SLOT: &str = "grep -o 'rauc.slot=.' /proc/cmdline";

/// A line of the environment's first copy.
fn variable(name: &str) -> String {
    format!("sed -n 's/^{name}=//p' /boot/EFI/BOOT/fleet-1.env")
}

#[test]
fn rauc_and_grub_agree_on_the_slot_and_a_device_without_one_comes_up_in_rescue() -> Result<()> {
    let mut device = Device::boot(Tier::Qemu)
        .config_text(r#"{"hostname": "slots"}"#)
        .start()?;
    device.run("systemctl is-system-running")?.says("running")?;
    device.run(SLOT)?.says("rauc.slot=A")?;
    device
        .run("readlink -f /dev/disk/fleet/fleet-root-a /dev/disk/fleet/fleet-root-b /dev/disk/fleet/disk")?
        .says("/dev/vda2\n/dev/vda3\n/dev/vda")?;
    // RAUC runs for as long as somebody asks it, and not before.
    device.run("systemctl is-active rauc.service")?.fails()?;
    device
        .run("rauc status --output-format=shell")?
        .mentions("RAUC_SYSTEM_BOOTED_BOOTNAME='A'")?
        .mentions("RAUC_BOOT_PRIMARY='rootfs.0'")?;
    // Whoever is not root may not say what is booted.
    device
        .run("setpriv --reuid nobody --clear-groups rauc status mark-active other")?
        .fails()?;
    device.run(&variable("ORDER"))?.says("A B")?;

    // Slot B on trial, as after an update.
    device.run("rauc status mark-active other")?.succeeds()?;
    device.run(&variable("B_TRY"))?.says("3")?;
    device.reboot()?;
    device.run(SLOT)?.says("rauc.slot=B")?;
    device.run("findmnt -no SOURCE /")?.says("/dev/vda3")?;
    device.run(&variable("B_TRY"))?.says("2")?;
    device.run("systemctl is-system-running")?.says("running")?;
    device.run("rauc status mark-good booted")?.succeeds()?;
    device.run(&variable("B_OK"))?.says("1")?;

    // Neither slot may be started, and the last resort is used up.
    device
        .run(
            "rauc status mark-bad booted && rauc status mark-bad other && cd /boot/EFI/BOOT && \
             for n in 1 2; do sed 's/^FLEET_TRIES=3/FLEET_TRIES=0/' fleet-$n.env >/run/env && \
             dd if=/run/env of=fleet-$n.env conv=notrunc,fsync; done",
        )?
        .succeeds()?;
    device.reboot()?;
    device.run(SLOT)?.says("rauc.slot=B")?;
    device
        .run(
            "systemctl is-active fleet-rescue.target ssh.service NetworkManager.service fleet-config.service",
        )?
        .says("active\nactive\nactive\nactive")?;
    device.run("systemctl is-active multi-user.target")?.fails()?;
    device.run("findmnt /data")?.fails()?;
    device.run("uname -n")?.says("slots")?;
    device.soon(
        Duration::from_secs(120),
        "fleet connectivity --json | jq -r .status",
        "online",
    )?;

    // One word from whoever looks after it, and the next boot is an ordinary one.
    device.run("rauc status mark-good booted")?.succeeds()?;
    device.reboot()?;
    device.run("systemctl is-system-running")?.says("running")?;
    device
        .run("systemctl is-active multi-user.target")?
        .says("active")?;
    device.run(SLOT)?.says("rauc.slot=B").map(drop)
}

#[test]
fn a_trial_that_hangs_is_given_up() -> Result<()> {
    let mut device = Device::boot(Tier::Qemu).start()?;
    device.run(SLOT)?.says("rauc.slot=A")?;
    // The last of its three tries, to save two hangs.
    device
        .run(
            "rauc status mark-active other && cd /boot/EFI/BOOT && for n in 1 2; do \
             sed 's/^B_TRY=3/B_TRY=1/' fleet-$n.env >/run/env && \
             dd if=/run/env of=fleet-$n.env conv=notrunc,fsync; done",
        )?
        .succeeds()?;
    device.run(&variable("B_TRY"))?.says("1")?;
    device.reboot()?;
    device.run(SLOT)?.says("rauc.slot=B")?;
    device.run(&variable("B_TRY"))?.says("0")?;

    // The kernel runs and process 1 does not: nobody restarts it but the watchdog.
    let begun = Instant::now();
    device
        .run("echo 1 >/sys/fs/cgroup/init.scope/cgroup.freeze")?
        .succeeds()?;
    // A command that is under way when the machine is reset has no end.
    while !device.run(SLOT).is_ok_and(|slot| slot.text() == "rauc.slot=A") {
        ensure!(
            begun.elapsed() < Duration::from_secs(400),
            "it has not been given up"
        );
        std::thread::sleep(Duration::from_secs(1));
    }
    println!("in the good slot after {:?}", begun.elapsed());
    device.run("systemctl is-system-running")?.says("running")?;
    device
        .run("jq -r .reason /run/fleet/reboot-reason.json")?
        .says("watchdog")
        .map(drop)
}
