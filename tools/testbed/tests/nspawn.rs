//! The device under systemd-nspawn: what the reference image and the testbed promise to every other test.

use std::time::Duration;

use anyhow::{Result, ensure};
use testbed::{Device, Dhcp, Dns, Http, Link, Tier};

fn device() -> Result<Device> {
    Device::boot(Tier::Nspawn)
        .timeout(Duration::from_secs(120))
        .start()
}

#[test]
fn its_boot_partition_holds_what_was_asked_for() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("testbed-boot-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("system-connections"))?;
    std::fs::write(folder.join("system-connections/vpn 1"), "[connection]\n")?;
    let booted = Device::boot(Tier::Nspawn)
        .config_text("{}")
        .boot_folder(&folder)
        .start();
    std::fs::remove_dir_all(&folder)?;
    let mut device = booted?;
    device.run("cat /boot/config.json")?.says("{}")?;
    device
        .run("cat '/boot/system-connections/vpn 1'")?
        .says("[connection]")?;
    device.run("stat -c '%U %a' /boot")?.says("fleet-config 700")?;
    Ok(())
}

#[test]
fn it_finds_the_internet_and_loses_it_as_told() -> Result<()> {
    let mut device = device()?;
    let check = "nmcli networking connectivity check";
    device.run(check)?.says("full")?;
    for (mode, verdict) in [
        (Http::Redirect, "portal"),
        (Http::Wrong, "portal"),
        (Http::Refuse, "limited"),
    ] {
        device.world().http(mode)?;
        device.run(check)?.says(verdict)?;
    }
    device.world().http(Http::Ok)?;
    device.world().dns(Dns::Servfail)?;
    device.run(check)?.says("limited")?;
    device.world().dns(Dns::Ok)?;
    device.run(check)?.says("full")?;
    Ok(())
}

#[test]
fn every_address_and_every_name_is_the_world() -> Result<()> {
    let mut device = device()?;
    device
        .run("getent ahostsv4 anything.example | head -n 1")?
        .mentions("172.31.77.1")?;
    device.run("ping -c 1 -W 2 203.0.113.7")?.succeeds()?;
    device
        .world()
        .run("curl --silent --show-error --output /dev/null --write-out '%{http_code}' http://203.0.113.7/x")?
        .says("204")?;
    ensure!(
        device.world().log("http")?.contains("-> 203.0.113.7"),
        "the world did not log the request"
    );
    Ok(())
}

#[test]
fn its_cable_can_be_pulled() -> Result<()> {
    let mut device = device()?;
    device.run("cat /sys/class/net/eth0/carrier")?.says("1")?;
    device.world().link(Link::Down)?;
    device.run("cat /sys/class/net/eth0/carrier")?.says("0")?;
    device.soon(Duration::from_secs(20), "nmcli -g STATE general", "disconnected")?;
    device.world().link(Link::Up)?;
    device.soon(Duration::from_secs(20), "nmcli -g STATE general", "connected")?;
    Ok(())
}

#[test]
fn without_dhcp_it_gets_no_address() -> Result<()> {
    let mut device = device()?;
    device.world().dhcp(Dhcp::Off)?;
    device.run("nmcli device disconnect eth0")?.succeeds()?;
    device.run("nmcli --wait 3 device connect eth0")?.fails()?;
    device.world().dhcp(Dhcp::On)?;
    device.run("nmcli device connect eth0")?.succeeds()?;
    device
        .run("ip -4 -brief address show dev eth0")?
        .mentions("172.31.77.")?;
    Ok(())
}

#[test]
fn a_reboot_keeps_state_and_forgets_the_rest() -> Result<()> {
    let mut device = device()?;
    let boot = device.run("cat /proc/sys/kernel/random/boot_id")?.text();
    device
        .run("touch /var/lib/fleet/kept /data/kept /boot/kept /run/lost /tmp/lost")?
        .succeeds()?;
    device.reboot()?;
    device
        .run("ls /var/lib/fleet/kept /data/kept /boot/kept")?
        .succeeds()?;
    device.run("ls /run/lost")?.fails()?;
    device.run("ls /tmp/lost")?.fails()?;
    ensure!(
        device.run("cat /proc/sys/kernel/random/boot_id")?.text() != boot,
        "it has not rebooted"
    );
    device.cut()?;
    device.run("ls /var/lib/fleet/kept")?.succeeds()?;
    Ok(())
}

#[test]
fn a_reboot_of_its_own_is_waited_for() -> Result<()> {
    let mut device = device()?;
    device.run("touch /run/lost; systemctl reboot")?;
    device.run("sleep 10")?;
    device.run("ls /run/lost")?.fails()?;
    Ok(())
}

#[test]
fn commands_are_told_apart_byte_for_byte() -> Result<()> {
    let mut device = device()?;
    let output = device.run("printf 'a\\0\\377'; printf 'x\\n' >&2; exit 7")?;
    assert_eq!(
        (output.code, &output.stdout[..], &output.stderr[..]),
        (7, &b"a\0\xff"[..], &b"x\n"[..])
    );
    device.run("kill -KILL $$")?.exits(137)?;
    device.run("sleep 60 & echo \"a  'b'\"")?.says("a  'b'")?;
    Ok(())
}

#[test]
fn the_hosts_clock_is_out_of_reach() -> Result<()> {
    device()?.run("date --set='2001-01-01'")?.fails()?;
    Ok(())
}

#[test]
fn two_devices_do_not_meet() -> Result<()> {
    let (mut one, mut other) = (device()?, device()?);
    one.world().http(Http::Redirect)?;
    one.run("touch /data/one")?.succeeds()?;
    other.run("ls /data/one")?.fails()?;
    other.run("nmcli networking connectivity check")?.says("full")?;
    one.run("nmcli networking connectivity check")?.says("portal")?;
    Ok(())
}

#[test]
fn a_run_leaves_nothing() -> Result<()> {
    let device = device()?;
    let (name, folder) = (
        device.own_run().name().to_owned(),
        device.own_run().directory().to_owned(),
    );
    drop(device);
    ensure!(!folder.exists(), "{} is left", folder.display());
    let left = std::process::Command::new("find")
        .args(["/sys/fs/cgroup", "-name", &format!("fleet-{name}")])
        .output()?;
    ensure!(
        left.stdout.is_empty(),
        "a control group is left: {}",
        String::from_utf8_lossy(&left.stdout)
    );
    Ok(())
}
