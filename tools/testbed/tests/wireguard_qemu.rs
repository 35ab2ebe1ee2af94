//! The VPN of `os.vpn.*` on a machine: WireGuard, which a container's kernel may not have, and OpenVPN with the kernel's
//! module of its device not loaded yet. The other side is a network namespace of the guest.

#![cfg(feature = "long")]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testbed::{Device, Tier};

/// The published file, as one line: level, reason, status, and what was done about it.
const VERDICT: &str =
    "jq -r '[.level, .reason, .status, .repair.steps[].step] | join(\" \")' /run/fleet/connectivity.json";
const BOOT: &str = r#"{"hostname": "wire", "os": {"network": {"connectivity": {"uri": "http://check.example/", "response": ""}}}}"#;
/// The other side, reached over a virtual cable that NetworkManager leaves alone.
const CABLE: &str = "set -e
    ip netns add peer
    ip link add up0 type veth peer name up1 netns peer
    nmcli device set up0 managed no
    ip address add 10.99.0.1/24 dev up0 && ip link set up0 up
    ip -n peer address add 10.99.0.2/24 dev up1 && ip -n peer link set up1 up";
const PEER: &str = "set -e
    ip -n peer link add wg1 type wireguard
    umask 077 && wg genkey >/run/peer.key
    ip netns exec peer wg set wg1 listen-port 51820 private-key /run/peer.key
    ip -n peer address add 10.77.0.1/24 dev wg1 && ip -n peer link set wg1 up
    wg pubkey </run/peer.key";

/// Says how far the device is; with what NetworkManager and the watcher said if it is not.
fn soon(device: &mut Device, seconds: u64, verdict: &str) -> Result<()> {
    if let Err(error) = device.soon(Duration::from_secs(seconds), VERDICT, verdict) {
        let said = device
            .run("journalctl -u NetworkManager -u fleet-watch -u fleet-config -u fleet-helper -u fleet-handshakes -u openvpn-client@fleet -u peer --no-pager -n 80; fleet config show; ls -l /run/fleet/wireguard; cat /run/fleet/wireguard/handshakes; wg show")?
            .text();
        return Err(error).context(said);
    }
    Ok(())
}

#[test]
fn a_handshake_is_what_makes_a_tunnel() -> Result<()> {
    let mut device = Device::boot(Tier::Qemu).config_text(BOOT).start()?;
    soon(&mut device, 60, "internet none online")?;
    device.run(CABLE)?.succeeds()?;
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

    device
        .run(
            "jq -r '.vpns[] | [.name, .state, .reason, .received_bytes > 0, .sent_bytes > 0, .last_handshake > 1700000000] | join(\" \")' \
             /run/fleet/connectivity.json",
        )?
        .says("fleet-vpn up none true true true")?;
    device.run("fleet connectivity")?.mentions("; heard ")?;

    // Another peer, who does not answer, is tried and taken back.
    let patch = format!(
        r#"{{"os": {{"vpn": {{"wireguard": {{"peers": [{{"publicKey": "{peer}", "endpoint": "10.99.0.2:4444", "allowedIPs": "10.77.0.0/24"}}]}}}}}}}}"#
    );
    device
        .run(&format!(
            "cat >/run/other.json <<END\n{patch}\nEND\nfleet config apply /run/other.json"
        ))?
        .succeeds()?;
    soon(&mut device, 180, "internet vpn-unreachable heartbeat-only")?;
    device.soon(
        Duration::from_secs(400),
        "fleet config show --json | jq -r '.keys[] | select(.key | startswith(\"os.vpn.wireguard.peers\")) | .state + \" \" + .detail' | cut -c-29",
        "refused tried, and taken back",
    )?;
    soon(&mut device, 180, "vpn none online")?;
    device
        .run("wg show fleet-vpn endpoints")?
        .mentions("10.99.0.2:51820")?;

    // A name whose IPv6 address leads nowhere: NetworkManager stays with the one that it is told first.
    device
        .run(
            "ip address add fd00:99::1/64 dev up0 nodad
             { cat /etc/hosts; echo fd00:99::2 peer.example; echo 10.99.0.2 peer.example; } >/run/hosts
             mount --bind /run/hosts /etc/hosts && getent ahosts peer.example | cut -d' ' -f1 | uniq",
        )?
        .says("10.99.0.2\nfd00:99::2")?;
    let patch = format!(
        r#"{{"os": {{"vpn": {{"wireguard": {{"peers": [{{"publicKey": "{peer}", "endpoint": "peer.example:51820", "allowedIPs": "10.77.0.0/24"}}]}}}}}}}}"#
    );
    device
        .run(&format!(
            "cat >/run/named.json <<END\n{patch}\nEND\nfleet config apply /run/named.json"
        ))?
        .succeeds()?;
    device.soon(
        Duration::from_secs(60),
        "fleet config show --json | jq -r '.keys[] | select(.key | startswith(\"os.vpn.wireguard.peers\")) | .state'",
        "applied",
    )?;
    soon(&mut device, 60, "vpn none online")?;
    device
        .run("wg show fleet-vpn endpoints")?
        .mentions("10.99.0.2:51820")?;

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

/// An authority, a server's and a device's certificate, and a server that takes it.
const SERVER: &str = r#"set -e
    umask 077 && mkdir /run/ca && cd /run/ca
    ec='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
    openssl req -x509 $ec -days 30 -subj /CN=ca -keyout ca.key -out ca.crt
    for name in server client; do
        openssl req $ec -subj /CN=$name -keyout $name.key -out $name.csr
        printf 'keyUsage=digitalSignature\nextendedKeyUsage=%sAuth\n' $name >$name.ext
        openssl x509 -req -in $name.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile $name.ext -out $name.crt
    done
    { printf 'client\ndev tun\nremote 10.99.0.2 1194 udp\n'
      for part in ca:ca.crt cert:client.crt key:client.key; do
          printf '<%s>\n' ${part%:*}; cat ${part#*:}; printf '</%s>\n' ${part%:*}
      done; } >client.ovpn
    jq -Rs '{os: {vpn: {type: "openvpn", openvpn: {config: .}}}}' client.ovpn >patch.json"#;
const SERVE: &str = "systemd-run --quiet --unit=peer ip netns exec peer openvpn --mode server --tls-server --dev peer0 --dev-type tun \
    --topology subnet --proto udp --port 1194 --ifconfig 10.77.0.1 255.255.255.0 --ifconfig-pool 10.77.0.10 10.77.0.20 \
    --push 'topology subnet' --keepalive 5 20 --dh none --ca /run/ca/ca.crt --cert /run/ca/server.crt --key /run/ca/server.key \
    --disable-dco --verb 3";

#[test]
fn openvpn_gets_its_device() -> Result<()> {
    let mut device = Device::boot(Tier::Qemu).config_text(BOOT).start()?;
    soon(&mut device, 60, "internet none online")?;
    device.run(CABLE)?.succeeds()?;
    device.run(SERVER)?.succeeds()?;
    device.run("lsmod | grep -c '^tun '; true")?.says("0")?;
    // The kernel loads it for whoever opens the device, also within the unit's limits.
    device
        .run(
            "systemd-run --quiet --wait -p User=fleet-vpn -p AmbientCapabilities=CAP_NET_ADMIN -p CapabilityBoundingSet=CAP_NET_ADMIN \
             -p DevicePolicy=closed -p 'DeviceAllow=/dev/net/tun rw' -p ProtectKernelModules=yes \
             /usr/sbin/openvpn --mktun --dev probe0 --dev-type tun",
        )?
        .succeeds()?;
    device.run("fleet config apply /run/ca/patch.json")?.succeeds()?;
    soon(&mut device, 180, "internet vpn-unreachable heartbeat-only")?;
    device.run(SERVE)?.succeeds()?;
    soon(&mut device, 300, "vpn none online")?;
    device.run("ping -c 1 -W 5 10.77.0.1")?.succeeds()?;
    device.run("systemctl stop peer")?.succeeds()?;
    soon(&mut device, 180, "internet vpn-unreachable heartbeat-only")?;
    device.run("systemctl --failed --no-legend")?.says("")?;
    Ok(())
}
