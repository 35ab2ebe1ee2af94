//! The keys of the system: each from `config.json` to its effect, and back.

use std::time::Duration;

use anyhow::Result;
use testbed::{Device, Tier};

const SECOND: Duration = Duration::from_secs(1);

/// A property of systemd.
fn manager(property: &str) -> String {
    format!(
        "busctl get-property org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager {property}"
    )
}

/// State and value of a key in the report.
fn state(device: &mut Device, key: &str) -> Result<String> {
    let text = device.run("cat /run/fleet/config/report.json")?.text();
    let report: serde_json::Value = serde_json::from_str(&text)?;
    let rows = report["keys"].as_array().cloned().unwrap_or_default();
    let row = rows
        .iter()
        .find(|row| row["key"] == key)
        .cloned()
        .unwrap_or_default();
    Ok(format!(
        "{} {}",
        row["state"].as_str().unwrap_or_default(),
        row["value"].as_str().unwrap_or_default()
    ))
}

#[test]
fn a_time_zone_holds_for_what_starts_then() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).config_text("{}").start()?;
    device.run("date +%Z")?.says("UTC")?;
    device
        .run("fleet config set os.timezone Asia/Tokyo")?
        .succeeds()?;
    device.run("date +%Z")?.says("JST")?;
    device
        .run("readlink -f /etc/localtime")?
        .says("/usr/share/zoneinfo/Asia/Tokyo")?;
    // One that the image does not have, and one that would leave the folder.
    for bad in ["Asia/Nowhere", "../../../etc/passwd"] {
        device
            .run(&format!("fleet config set os.timezone {bad}"))?
            .fails()?;
    }
    device.run("date +%Z")?.says("JST")?;
    // What the documentation says of it: it follows one link only.
    device
        .run("timedatectl")?
        .mentions("Time zone: n/a (UTC, +0000)")?;
    device.run("timedatectl show -P TimeUSec")?.mentions(" JST")?;
    device.reboot()?;
    device.run("date +%Z")?.says("JST")?;
    device.run("fleet config unset os.timezone")?.succeeds()?;
    device.run("date +%Z")?.says("UTC")?;
    Ok(())
}

#[test]
fn a_proxy_is_in_the_environment_of_what_starts_then() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).config_text("{}").start()?;
    let environment = "systemd-run --quiet --pipe --wait env | grep -i _proxy | sort";
    let before = device.run(&manager("Environment"))?.text();
    device.run(environment)?.says("")?;
    device
        .run("fleet config set os.proxy.http http://proxy.example:3128 && fleet config set os.proxy.noProxy 'localhost, 10.0.0.0/8'")?
        .succeeds()?;
    let wanted = "HTTP_PROXY=http://proxy.example:3128\nNO_PROXY=localhost,10.0.0.0/8\n\
                  http_proxy=http://proxy.example:3128\nno_proxy=localhost,10.0.0.0/8";
    device.run(environment)?.says(wanted)?;
    device
        .run("systemd-run --quiet --pipe --wait --property=EnvironmentFile=-/run/fleet/config/proxy.env env | grep -i _proxy | sort")?
        .says(wanted)?;
    device
        .run("env -i sh -lc env | grep -i _proxy | sort")?
        .says(wanted)?;
    device
        .run("stat -c %a /run/fleet/config/proxy.env")?
        .says("644")?;
    assert_eq!(
        state(&mut device, "os.proxy.http")?,
        r#"applied "http://proxy.example:3128""#
    );
    device
        .run("fleet config set os.proxy.https http://me:hunter2@proxy.example:3128")?
        .fails()?;
    device
        .run("journalctl --no-pager | grep -c hunter2")?
        .mentions("0")?;

    // In place before NetworkManager starts, whose connectivity check reads it.
    device.reboot()?;
    device.run(environment)?.says(wanted)?;
    device
        .run("tr '\\0' '\\n' < /proc/$(pidof NetworkManager)/environ | grep -c proxy.example")?
        .says("2")?;
    device.run("fleet config unset os.proxy")?.succeeds()?;
    device.run(&manager("Environment"))?.says(&before)?;
    device.run("env -i sh -lc env | grep -i _proxy")?.fails()?;
    Ok(())
}

#[test]
fn watchdog_limits_are_set_read_back_and_set_back() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).config_text("{}").start()?;
    let before = ["RuntimeWatchdogUSec", "RebootWatchdogUSec"].map(manager);
    let before = [device.run(&before[0])?.text(), device.run(&before[1])?.text()];
    device
        .run("fleet config set os.watchdog.reboot 300 && fleet config set os.watchdog.runtime 30")?
        .succeeds()?;
    device.run(&manager("RuntimeWatchdogUSec"))?.says("t 30000000")?;
    device.run(&manager("RebootWatchdogUSec"))?.says("t 300000000")?;
    // A container has no watchdog device.
    assert_eq!(state(&mut device, "os.watchdog.runtime")?, "unsupported 30");
    // The helper has left and come again meanwhile; what was there before is known all the same.
    device.run("systemctl stop fleet-helper")?.succeeds()?;
    device.run("fleet config unset os.watchdog")?.succeeds()?;
    device.run(&manager("RuntimeWatchdogUSec"))?.says(&before[0])?;
    device.run(&manager("RebootWatchdogUSec"))?.says(&before[1])?;
    for bad in ["5", "601", "-1"] {
        device
            .run(&format!("fleet config set os.watchdog.runtime -- {bad}"))?
            .fails()?;
    }
    Ok(())
}

#[test]
fn limits_of_the_journal_hold_from_the_next_boot_on() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn)
        .config_text(r#"{"persistentLogging": true}"#)
        .start()?;
    let journald = "systemctl show -P InvocationID systemd-journald";
    let run = device.run(journald)?.text();
    device.run("fleet config set os.journal.maxUse 24M")?.succeeds()?;
    assert_eq!(
        state(&mut device, "os.journal.maxUse")?,
        "pending-reboot 134217728"
    );
    device.run(journald)?.says(&run)?;

    device.reboot()?;
    assert_eq!(state(&mut device, "os.journal.maxUse")?, "applied 25165824");
    device
        .run("systemd-analyze cat-config systemd/journald.conf | grep ^SystemMaxUse= | tail -1")?
        .says("SystemMaxUse=18808832")?;
    // In journald's own words: less by two files of 3 MiB.
    device
        .run("journalctl --no-pager -b -u systemd-journald | grep -o 'System Journal .*max 17.9M'")?
        .mentions("max 17.9M")?;

    device.run("fleet config unset os.journal.maxUse")?.succeeds()?;
    assert_eq!(
        state(&mut device, "os.journal.maxUse")?,
        "pending-reboot 25165824"
    );
    // Back again, so that nothing is pending.
    device.run("fleet config set os.journal.maxUse 24M")?.succeeds()?;
    assert_eq!(state(&mut device, "os.journal.maxUse")?, "applied 25165824");
    Ok(())
}

#[test]
fn the_host_name_is_answered_for_by_mdns_and_follows_a_change() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn)
        .config_text(r#"{"hostname": "kitchen"}"#)
        .start()?;
    let address = device
        .run("ip -4 -o address show eth0 | awk '{ sub(\"/.*\", \"\", $4); print $4 }'")?
        .text();
    device.run("systemctl is-active avahi-daemon")?.says("active")?;
    let run = device.run("systemctl show -P InvocationID avahi-daemon")?.text();
    asked_until(&device, "kitchen", &address)?;
    device.run("getent hosts $(hostname)")?.succeeds()?;

    device.run("fleet config set hostname cellar")?.succeeds()?;
    asked_until(&device, "cellar", &address)?;
    asked_until(&device, "kitchen", "none")?;
    device
        .run("systemctl show -P InvocationID avahi-daemon")?
        .says(&run)?;
    device.run("getent hosts $(hostname)")?.succeeds()?;

    // It reads the name itself when it starts again.
    device.run("systemctl kill -s KILL avahi-daemon")?.succeeds()?;
    device.soon(SECOND * 20, "systemctl is-active avahi-daemon", "active")?;
    asked_until(&device, "cellar", &address)?;
    Ok(())
}

/// Asks until the answer is this: a name is probed for and announced before it is answered for (RFC 6762 section 8).
fn asked_until(device: &Device, name: &str, wanted: &str) -> Result<()> {
    let mut tries = 0;
    loop {
        let answer = device.world().run(&format!("world mdns {name}"))?;
        match answer.says(wanted) {
            Err(_) if tries < 10 => std::thread::sleep(SECOND / 2),
            said => return said.map(drop),
        }
        tries += 1;
    }
}

#[test]
fn what_the_kernel_does_not_let_be_set_is_refused_with_the_reason() -> Result<()> {
    // systemd-nspawn mounts /proc/sys read-only.
    let mut device = Device::boot(Tier::Nspawn).config_text("{}").start()?;
    device
        .run("fleet config set os.sysctl.vm.swappiness 17")?
        .exits(1)?;
    device
        .run("fleet config show")?
        .mentions("vm.swappiness: Read-only file system")?;
    assert!(state(&mut device, "os.sysctl")?.starts_with("refused"));
    device
        .run("fleet config set os.sysctl.vm.swapiness 17")?
        .fails()?
        .complains("vm.swappiness")?;
    device.run("fleet config unset os.sysctl")?.succeeds()?;
    assert!(state(&mut device, "os.sysctl")?.starts_with("applied"));
    Ok(())
}
