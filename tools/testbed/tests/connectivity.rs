//! How far the device reaches, and why not further, in a world that misbehaves.

use std::time::Duration;

use anyhow::Result;
use testbed::{Device, Http, Link, Tier};

/// The published file, as one line: level, reason, status, and what was done about it, which is nothing.
const VERDICT: &str =
    "jq -r '[.level, .reason, .status, .repair.steps[].step] | join(\" \")' /run/fleet/connectivity.json";

/// NetworkManager notices a lost carrier after some seconds, and asks the check's address every 60.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn the_ladder_follows_the_world() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    device.run(VERDICT)?.says("internet none online")?;

    for (mode, verdict) in [
        (Http::Redirect, "dns portal offline"),
        (Http::Refuse, "dns check-refused offline"),
        (Http::Wrong, "dns portal offline"),
        (Http::Ok, "internet none online"),
    ] {
        device.world().http(mode)?;
        device.run("busctl call org.fleetos.Connectivity1 /org/fleetos/Connectivity1 org.fleetos.Connectivity1 Recheck")?.succeeds()?;
        device.soon(PATIENCE, VERDICT, verdict)?;
    }

    device.world().link(Link::Down)?;
    device.soon(PATIENCE, VERDICT, "none no-carrier offline")?;
    device.world().link(Link::Up)?;
    device.soon(PATIENCE, VERDICT, "internet none online")?;

    // What is in the file, on the bus and on the command line is the same; each transition is one journal line.
    device.run("fleet connectivity --json | tr -d '\\n' | grep -c '\"level\": \"internet\",  \"reason\": \"none\",  \"status\": \"online\"'")?.says("1")?;
    device
        .run("journalctl -u fleet-watch -o cat --no-pager | grep -c portal")?
        .says("2")?;
    Ok(())
}

#[test]
fn a_restart_of_networkmanager_or_of_the_bus_is_survived() -> Result<()> {
    let config = r#"{"hostname": "alpha", "os": {"network": {"connectivity": {"uri": "http://check.example/", "response": ""}}}}"#;
    let mut device = Device::boot(Tier::Nspawn).config_text(config).start()?;
    let uri = "busctl get-property org.freedesktop.NetworkManager /org/freedesktop/NetworkManager org.freedesktop.NetworkManager ConnectivityCheckUri";
    device.run(VERDICT)?.says("internet none online")?;

    device.run("systemctl stop NetworkManager")?.succeeds()?;
    device.soon(PATIENCE, VERDICT, "none network-manager-down offline")?;
    device.run("systemctl start NetworkManager")?.succeeds()?;
    device.soon(PATIENCE, VERDICT, "internet none online")?;
    device.run(uri)?.says(r#"s "http://check.example/""#)?;
    device
        .run("systemctl show -P NRestarts fleet-watch fleet-config | sort -u | grep .")?
        .says("0")?;

    // Killed: that is said, and systemd starts it again.
    let said = "journalctl -b -u fleet-watch -o cat | grep -c network-manager-down";
    let once = device.run(said)?.text();
    let pid = "systemctl show -P MainPID NetworkManager";
    let before = device.run(pid)?.text();
    device
        .run("systemctl kill --signal=KILL NetworkManager")?
        .succeeds()?;
    device.soon(
        PATIENCE,
        &format!("[ $({pid}) != {before} ] && systemctl is-active NetworkManager"),
        "active",
    )?;
    device.soon(PATIENCE, uri, r#"s "http://check.example/""#)?;
    device.soon(PATIENCE, VERDICT, "internet none online")?;
    device.run(&format!("[ $({said}) -gt {once} ]"))?.succeeds()?;

    // Missing: what cannot be started is told to a watcher that has never seen it.
    device
        .run("mount --bind /dev/null /usr/sbin/NetworkManager && systemctl restart NetworkManager")?
        .fails()?;
    device.run("systemctl restart fleet-watch")?.succeeds()?;
    device.soon(PATIENCE, VERDICT, "none network-manager-down offline")?;
    device
        .run("umount /usr/sbin/NetworkManager && systemctl reset-failed NetworkManager && systemctl start NetworkManager")?
        .succeeds()?;
    device.soon(PATIENCE, VERDICT, "internet none online")?;

    device.run("systemctl restart dbus")?.succeeds()?;
    device.soon(PATIENCE, "systemctl is-system-running", "running")?;
    device.soon(
        PATIENCE,
        "fleet connectivity --json | grep -c '\"status\": \"online\"'",
        "1",
    )?;
    device.soon(PATIENCE, uri, r#"s "http://check.example/""#)?;
    device.run("fleet status")?.succeeds()?;
    device
        .run(r#"fleet config set hostname beta && uname -n"#)?
        .mentions("beta")?;
    Ok(())
}
