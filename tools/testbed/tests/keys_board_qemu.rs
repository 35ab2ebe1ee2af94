//! What a container has not: udev, a radio, and a clock of its own. One boot for all of it.

use std::time::Duration;

use anyhow::Result;
use testbed::{Device, Tier, Time};

const SECOND: Duration = Duration::from_secs(1);
/// State, key, value and detail of each key, a blank between them.
const SHOW: &str = "fleet config show | tr -s ' '";

#[test]
fn udev_rules_and_the_country_take_effect_on_a_machine() -> Result<()> {
    let mut device = Device::boot(Tier::Qemu)
        .config_text(r#"{"hostname": "board", "country": "de", "os": {"udevRules": {"56": "SUBSYSTEM==\"mem\", KERNEL==\"zero\", SYMLINK+=\"at-boot\""}}}"#)
        .start()?;
    // Set at boot as well, after the devices were there.
    device.soon(SECOND * 5, "readlink /dev/at-boot", "zero")?;
    device.run("ls /run/udev/rules.d/56.fleet.rules")?.succeeds()?;

    udev_rules(&mut device)?;
    country(&mut device)?;
    scan_address(&mut device)?;
    clock(&mut device)?;
    device.run("systemctl --failed --no-legend")?.says("")?;
    Ok(())
}

fn udev_rules(device: &mut Device) -> Result<()> {
    device
        .run(
            r#"fleet config set os.udevRules.57 'SUBSYSTEM=="mem", KERNEL=="null", SYMLINK+="fifty-seven"'"#,
        )?
        .succeeds()?;
    device.soon(SECOND * 2, "readlink /dev/fifty-seven", "null")?;
    device.run("readlink /dev/at-boot")?.says("zero")?;
    device.run("fleet config unset os.udevRules.57")?.succeeds()?;
    device.soon(SECOND * 2, "ls /dev/fifty-seven 2>/dev/null; true", "")?;

    // What udev itself does not take costs its own file only.
    device.run(
        r#"fleet config set os.udevRules.58 'SUBSYSTEM=="mem", ENV{x}="1", TEST{9}=="y", SYMLINK+="x"'"#,
    )?;
    device
        .run(SHOW)?
        .mentions(r#"refused os.udevRules["58"]"#)?
        .mentions("applied os.udevRules ")?;
    device.run("fleet config unset os.udevRules.58")?.succeeds()?;

    // A program is for development mode only.
    let run = r#"fleet config set os.udevRules.run 'SUBSYSTEM=="mem", KERNEL=="null", RUN+="/usr/bin/touch /run/ran"'"#;
    device.run(run)?.exits(65)?.complains("developmentMode")?;
    device
        .run("ls /run/ran /run/udev/rules.d/run.fleet.rules")?
        .fails()?;
    device.run("fleet config set developmentMode true")?.succeeds()?;
    device.run(run)?.succeeds()?;
    device.soon(SECOND * 2, "ls /run/ran", "/run/ran")?;
    device.run("fleet config set developmentMode false")?.succeeds()?;
    device.run("ls /run/udev/rules.d/run.fleet.rules")?.fails()?;
    device.run(SHOW)?.mentions(r#"refused os.udevRules["run"]"#)?;

    device.run("fleet config unset os.udevRules")?.succeeds()?;
    device.soon(SECOND * 2, "ls /dev/at-boot 2>/dev/null; true", "")?;
    device
        .run("ls /run/udev/rules.d | grep -c '\\.fleet\\.rules'; true")?
        .says("0")?;
    Ok(())
}

fn country(device: &mut Device) -> Result<()> {
    let in_force = "iw reg get | sed -n 's/^country \\(..\\):.*/\\1/p' | head -1";
    device
        .run(SHOW)?
        .mentions("applied country")?
        .mentions("no Wi-Fi device here")?;
    // A radio that appears later gets it.
    device.run("modprobe mac80211_hwsim radios=1")?.succeeds()?;
    // An emulated kernel takes its time to read its database; until then it is told again and again.
    device.soon(SECOND * 60, in_force, "DE")?;
    device.run("fleet config set country us")?;
    device.soon(SECOND * 30, in_force, "US")?;
    device.soon(
        SECOND * 30,
        "fleet config show | tr -s ' ' | grep -o 'applied country \"US\"'",
        "applied country \"US\"",
    )?;
    device.run("fleet config set country uk")?.exits(65)?;
    device.run(in_force)?.says("US")?;
    // A country for which the kernel's database has no rules.
    device.run("fleet config set country aq")?;
    device.run(SHOW)?.mentions("refused country")?;
    device.run("fleet config unset country")?;
    device.soon(SECOND * 30, in_force, "00")?;
    Ok(())
}

/// A scan with the radio's own address, or with another: the kernel shows the own one as `permaddr` then.
fn scan_address(device: &mut Device) -> Result<()> {
    let scans = "nmcli radio wifi off; sleep 1; nmcli radio wifi on; sleep 2; nmcli device wifi rescan ifname wlan0; \
                 ip link show wlan0 | grep -c permaddr; true";
    for (random, others) in [("true", "1"), ("false", "0")] {
        device
            .run(&format!(
                "fleet config set os.network.wifi.randomMacAddressScan {random}"
            ))?
            .succeeds()?;
        device.soon(SECOND * 30, scans, others)?;
    }
    Ok(())
}

/// The clock is set from the server that is named, without any other network.
fn clock(device: &mut Device) -> Result<()> {
    device.world().time(Time::Ahead)?;
    device
        .run("date +%s > /run/before; fleet config set ntpServers 172.31.77.1")?
        .succeeds()?;
    device.soon(
        SECOND * 60,
        "test $(( $(date +%s) - $(cat /run/before) )) -gt 3000 && echo an hour later",
        "an hour later",
    )?;
    device
        .run("chronyc -n -c sources | cut -d, -f3")?
        .says("172.31.77.1")?;
    Ok(())
}
