//! The journal, moved between RAM and flash while it is written to.

use anyhow::Result;
use testbed::{Device, Tier};

#[test]
fn goes_to_flash_and_back_with_every_line() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    device
        .run("fleet journal status --json")?
        .mentions(r#""mode": "volatile""#)?;
    device
        .run("find /var/log/journal -name '*.journal' | wc -l")?
        .says("0")?;

    // journald drops beyond 10,000 lines in 30 s from one service; 4,000 in 8 s stay below.
    device.run("systemd-run --quiet --unit=writer --collect sh -c 'for i in $(seq 4000); do echo line-$i; sleep 0.001; done'")?.succeeds()?;
    for _ in 0..3 {
        device
            .run("fleet journal persist")?
            .succeeds()?
            .mentions("persistent")?;
        device
            .run("sleep 0.5; fleet journal volatile")?
            .succeeds()?
            .mentions("volatile")?;
    }
    device
        .soon(
            std::time::Duration::from_secs(30),
            "systemctl is-active writer",
            "inactive",
        )
        .ok();
    device.run("while systemctl is-active -q writer; do sleep 0.2; done; journalctl -u writer -o cat | grep -c '^line-'")?.says("4000")?;
    device
        .run("journalctl -u writer -o cat | grep '^line-' | sort -u | wc -l")?
        .says("4000")?;
    device
        .run("systemctl show -P NRestarts systemd-journald")?
        .says("0")?;
    Ok(())
}

#[test]
fn keeps_early_lines_over_a_power_cut_once_persistent() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    let boot = device
        .run("cat /proc/sys/kernel/random/boot_id | tr -d -")?
        .text();
    device.run("fleet journal persist")?.succeeds()?;
    device.run("journalctl --sync")?.succeeds()?;
    device.cut()?;
    device
        .run(&format!(
            "journalctl -b {boot} -u fleet-config -o cat --no-pager | wc -l | grep -v '^0$'"
        ))?
        .succeeds()?;
    // The call was for now; the key decides at boot.
    device
        .run("fleet journal status --json")?
        .mentions(r#""mode": "volatile""#)?;
    device
        .run("fleet config set persistentLogging true")?
        .succeeds()?;
    device.reboot()?;
    device
        .run("fleet journal status --json")?
        .mentions(r#""mode": "persistent""#)?;
    Ok(())
}

#[test]
fn the_services_that_nobody_calls_leave() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    device
        .run("fleet journal persist && systemctl is-active fleet-journal fleet-helper")?
        .succeeds()?;
    let gone = std::time::Duration::from_secs(25);
    device
        .soon(
            gone,
            "systemctl is-active fleet-journal fleet-helper | sort -u",
            "inactive",
        )
        .ok();
    device
        .run("systemctl show -P ActiveState fleet-journal fleet-helper | sort -u | grep .")?
        .says("inactive")?;
    device.run("systemctl --failed --no-legend")?.says("")?;
    device
        .run("fleet journal status --json")?
        .mentions(r#""mode": "persistent""#)?;
    Ok(())
}
