//! Why the last run ended, on a whole machine: a first run, a panic, a watchdog, a request, a power cut, in this order,
//! because what one leaves must not be taken for the next.

#![cfg(feature = "long")]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::{Device, Tier};

/// Freezes process 1, which no signal stops.
const HANG: &str = "echo 1 >/sys/fs/cgroup/init.scope/cgroup.freeze";
const BOOT: &str = "tr -d - </proc/sys/kernel/random/boot_id";

/// The reason and the detail that are published.
fn published(device: &mut Device) -> Result<(String, String)> {
    let text = device
        .run("cat /run/fleet/reboot-reason.json")?
        .succeeds()?
        .text();
    let value: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
    let part = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    println!("{text}");
    // How long the wait for the watchdogs' drivers was.
    let blame =
        device.run("systemd-analyze blame --no-pager | grep fleet-reboot-reason; systemd-analyze time")?;
    println!("{}", blame.text());
    device
        .run("journalctl -b -o cat MESSAGE_ID=a885b0c4235e47e68599bf4970d42573 --no-pager | wc -l")?
        .says("1")?;
    device
        .run("fleet status")?
        .mentions(&format!("{}: {}.", part("reason"), part("detail")))?;
    Ok((part("reason"), part("detail")))
}

/// Does what ends this run by itself, and waits until the device is in another.
fn ends(device: &mut Device, how: &str) -> Result<()> {
    let before = device.run(BOOT)?.succeeds()?.text();
    let begun = Instant::now();
    device.run(how)?.succeeds()?;
    // A command that is under way when the machine is reset has no end.
    while !device
        .run(BOOT)
        .is_ok_and(|now| now.code == 0 && now.text() != before)
    {
        ensure!(
            begun.elapsed() < Duration::from_secs(400),
            "nothing came of {how}"
        );
        std::thread::sleep(Duration::from_secs(1));
    }
    println!("in the next run after {:?}: {how}", begun.elapsed());
    Ok(())
}

#[test]
fn panic_watchdog_request_and_power_cut_are_told_apart() -> Result<()> {
    let mut device = Device::boot(Tier::Qemu).start()?;
    let (reason, detail) = published(&mut device)?;
    ensure!(
        reason == "unknown" && detail.contains("this is the first"),
        "{reason}: {detail}"
    );
    device
        .run("cat /sys/module/pstore/parameters/backend")?
        .says("efi_pstore")?;
    device.run("cat /proc/sys/kernel/panic")?.says("10")?;
    let variables = "find /sys/firmware/efi/efivars -name 'dump-*' | wc -l";
    device.run(variables)?.says("0")?;

    // The words of a person at the console, and the kernel's own.
    ends(
        &mut device,
        "echo 'the pump ran dry' >/dev/kmsg; (sleep 1; echo c >/proc/sysrq-trigger) >/dev/null 2>&1 &",
    )?;
    let (reason, detail) = published(&mut device)?;
    ensure!(
        reason == "panic" && detail.starts_with("Kernel panic - not syncing: sysrq triggered crash;"),
        "{reason}: {detail}"
    );
    let tail = device
        .run("journalctl -b -u fleet-console-tail -o cat --no-pager")?
        .succeeds()?
        .mentions("the pump ran dry")?
        .mentions("sysrq: Trigger a crash")?
        .mentions("Kernel panic - not syncing: sysrq triggered crash")?
        .mentions("Call Trace:")?
        .text();
    println!("{} lines, {} bytes", tail.lines().count(), tail.len());
    // In the order of the kernel's time, and as text that can be searched.
    let places: Vec<_> = ["the pump ran dry", "Trigger a crash", "Kernel panic - not"]
        .iter()
        .map(|word| tail.find(word))
        .collect();
    ensure!(places.is_sorted() && places[0].is_some(), "{places:?}");
    device
        .run(
            "journalctl -b -g 'Kernel panic' -o cat --no-pager | grep -c '^\\[.*Kernel panic - not syncing'",
        )?
        .says("1")?;
    // What was kept is gone, and nothing has piled up on the state partition.
    device.run("ls /sys/fs/pstore")?.says("")?;
    device.run("find /var/lib/systemd/pstore -type f")?.says("")?;
    device.run("systemctl is-system-running")?.says("running")?;
    device
        .run("systemd-analyze security --no-pager --threshold=15 fleet-console-tail")?
        .succeeds()?;

    // The kernel goes on and process 1 does not: a minute later the watchdog, which it does not feed any more, resets the
    // machine. Nothing was configured for that.
    ends(&mut device, HANG)?;
    let (reason, detail) = published(&mut device)?;
    ensure!(
        reason == "watchdog" && detail.contains("i6300ESB timer"),
        "{reason}: {detail}"
    );
    device
        .run("cat /sys/class/watchdog/watchdog0/bootstatus")?
        .says("32")?;
    device
        .run("journalctl -b -u fleet-console-tail -o cat --no-pager | grep 'Kernel panic' | wc -l")?
        .says("0")?;
    // Only now: the kernel lists the firmware's variables once a boot, and pstore removes them behind its back.
    device.run(variables)?.says("0")?;

    device.reboot()?;
    let (reason, detail) = published(&mut device)?;
    ensure!(
        reason == "requested" && detail == "a reboot was asked for",
        "{reason}: {detail}"
    );

    device.cut()?;
    let (reason, detail) = published(&mut device)?;
    ensure!(
        reason == "power" && detail.contains("power was cut"),
        "{reason}: {detail}"
    );
    device.run("systemctl --failed --no-legend")?.says("")?;
    Ok(())
}

#[test]
fn a_panic_is_kept_in_ram_where_the_firmware_keeps_nothing() -> Result<()> {
    // No UEFI, and what meta-fleet tells the kernel of such a board. Debian's ramoops is a module.
    let mut device = Device::boot(Tier::Qemu)
        .direct_kernel(
            "reserve_mem=256K:4096:oops ramoops.mem_name=oops ramoops.record_size=0x8000 modules_load=ramoops",
        )
        .start()?;
    device
        .run("cat /sys/module/pstore/parameters/backend")?
        .says("ramoops")?;
    ends(
        &mut device,
        "echo 'the pump ran dry' >/dev/kmsg; (sleep 1; echo c >/proc/sysrq-trigger) >/dev/null 2>&1 &",
    )?;
    let (reason, detail) = published(&mut device)?;
    ensure!(
        reason == "panic" && detail.starts_with("Kernel panic - not syncing: sysrq triggered crash;"),
        "{reason}: {detail}"
    );
    let tail = device
        .run("journalctl -b -u fleet-console-tail -o cat --no-pager")?
        .succeeds()?
        .mentions("the pump ran dry")?
        .mentions("Kernel panic - not syncing: sysrq triggered crash")?
        .text();
    println!("{} lines, {} bytes", tail.lines().count(), tail.len());
    device.run("ls /sys/fs/pstore")?.says("")?;

    device.cut()?;
    ensure!(published(&mut device)?.0 == "power");
    Ok(())
}
