//! The VPN of `os.vpn.*` by WireGuard, on a machine whose kernel has it. The other side is a network namespace of the
//! guest.

#![cfg(feature = "long")]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testbed::{Device, Tier};

/// The published file, as one line: level, reason, status.
const VERDICT: &str = r#"sed -nE 's/.*"level": ?"([^"]*)".*"reason": ?"([^"]*)".*"status": ?"([^"]*)".*/\1 \2 \3/p' /run/fleet/connectivity.json"#;
/// The other side, reached over a virtual cable that NetworkManager leaves alone.
const PEER: &str = "set -e
    ip netns add peer
    ip link add up0 type veth peer name up1 netns peer
    nmcli device set up0 managed no
    ip address add 10.99.0.1/24 dev up0 && ip link set up0 up
    ip -n peer address add 10.99.0.2/24 dev up1 && ip -n peer link set up1 up
    ip -n peer link add wg1 type wireguard
    umask 077 && wg genkey >/run/peer.key
    ip netns exec peer wg set wg1 listen-port 51820 private-key /run/peer.key
    ip -n peer address add 10.77.0.1/24 dev wg1 && ip -n peer link set wg1 up
    wg pubkey </run/peer.key";

/// Says how far the device is; with what NetworkManager and the watcher said if it is not.
fn soon(device: &mut Device, seconds: u64, verdict: &str) -> Result<()> {
    if let Err(error) = device.soon(Duration::from_secs(seconds), VERDICT, verdict) {
        let said = device
            .run("journalctl -u NetworkManager -u fleet-watch -u fleet-config -u fleet-helper -u fleet-handshakes --no-pager -n 80; fleet config show; ls -l /run/fleet/wireguard; cat /run/fleet/wireguard/handshakes; wg show")?
            .text();
        return Err(error).context(said);
    }
    Ok(())
}

#[test]
fn a_handshake_is_what_makes_a_tunnel() -> Result<()> {
    let text = r#"{"hostname": "wire", "os": {"network": {"connectivity": {"uri": "http://check.example/", "response": ""}}}}"#;
    let mut device = Device::boot(Tier::Qemu).config_text(text).start()?;
    soon(&mut device, 60, "internet none online")?;
    let peer = device.run(PEER)?.succeeds()?.text();
    // The guest's agent logs the commands that it is given: the key is in none of them.
    let public = device
        .run("umask 077 && wg genkey >/run/device.key && wg pubkey </run/device.key")?
        .succeeds()?
        .text();
    let key = device.run("cat /run/device.key")?.succeeds()?.text();

    // Its keys are one change: nothing is half there.
    let patch = format!(
        r#"{{"os": {{"vpn": {{"type": "wireguard", "wireguard": {{"privateKey": "$(cat /run/device.key)", "addresses": "10.77.0.2/24",
        "peers": [{{"publicKey": "{peer}", "endpoint": "10.99.0.2:51820", "allowedIPs": "10.77.0.0/24"}}]}}}}}}}}"#
    );
    device
        .run(&format!(
            "umask 077 && cat >/run/patch.json <<END\n{patch}\nEND\nfleet config apply /run/patch.json"
        ))?
        .succeeds()?;
    // The interface is up, and nobody answers.
    device.soon(
        Duration::from_secs(30),
        "ip -br link show fleet-vpn | cut -d' ' -f1",
        "fleet-vpn",
    )?;
    soon(&mut device, 180, "internet vpn-unreachable heartbeat-only")?;

    device
        .run(&format!(
            "ip netns exec peer wg set wg1 peer {public} allowed-ips 10.77.0.2/32"
        ))?
        .succeeds()?;
    soon(&mut device, 180, "vpn none online")?;
    device.run("ping -c 1 -W 5 10.77.0.1")?.succeeds()?;

    // The key is NetworkManager's and ours, and nobody else's.
    device
        .run("stat -c '%a %U' /run/fleet/config/vpn/wireguard.nmconnection /usr/lib/NetworkManager/system-connections/*fleet-vpn*")?
        .says("600 fleet-config\n600 root")?;
    for command in [
        "journalctl --no-pager -o export",
        "cat /run/fleet/wireguard/handshakes /run/fleet/config/report.json",
        "busctl call org.fleetos.Config1 /org/fleetos/Config1 org.freedesktop.DBus.Properties GetAll s org.fleetos.Config1",
        "fleet config show --json; fleet config get os.vpn",
    ] {
        let said = device.run(command)?;
        ensure!(!said.text().contains(&key), "{command} shows the key");
    }

    // The other side falls silent: the interface stays up, the level does not.
    device.run("ip -n peer link set wg1 down")?.succeeds()?;
    soon(&mut device, 700, "internet vpn-silent heartbeat-only")?;
    device.run("ip -n peer link set wg1 up")?.succeeds()?;
    soon(&mut device, 180, "vpn none online")?;

    device.run("fleet config unset os.vpn.type")?.succeeds()?;
    soon(&mut device, 60, "internet none online")?;
    device
        .soon(
            Duration::from_secs(30),
            "ls /run/fleet/config/vpn; ip -br link show fleet-vpn 2>/dev/null; ls /usr/lib/NetworkManager/system-connections | grep fleet-vpn; true",
            "",
        )?;
    device.run("systemctl --failed --no-legend")?.says("")?;
    Ok(())
}
