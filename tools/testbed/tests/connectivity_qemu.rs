//! What a container's kernel has not: a card whose cable is pulled, a slow and lossy line, a second card, and Wi-Fi with an
//! access point of its own, in a network namespace of the guest. One boot for all of it.

#![cfg(feature = "long")]

use std::time::Duration;

use anyhow::{Context, Result};
use testbed::{Device, Link, SECOND_ADDRESS, SECOND_CARD, Switch, Tier};

/// The device's level, reason and status, and what was done about it.
const VERDICT: &str =
    "jq -r '[.level, .reason, .status, .repair.steps[].step] | join(\" \")' /run/fleet/connectivity.json";
/// The uplink that the level is of, and the status.
const INTERFACE: &str = "jq -r '[.interface, .status] | join(\" \")' /run/fleet/connectivity.json";
/// The radio's level and reason.
const RADIO: &str = "jq -r '.uplinks[] | select(.interface == \"wlan0\") | .level + \" \" + .reason' /run/fleet/connectivity.json";
const STEPS: &str = "jq -r '[.repair.steps[] | [.step, .subject, .reason, .outcome] | join(\" \")] | join(\"; \")' \
                     /run/fleet/connectivity.json";
const RECHECK: &str = "timeout 60 busctl call org.fleetos.Connectivity1 /org/fleetos/Connectivity1 org.fleetos.Connectivity1 Recheck || true";
const PATIENCE: Duration = Duration::from_secs(180);

/// All but ARP, as on a line that is slow beyond the gateway.
const LINE: &str = "tc qdisc add dev enp0s3 root handle 1: prio && tc filter add dev enp0s3 parent 1: protocol ip u32 match u32 0 0 \
                    flowid 1:3 && tc qdisc add dev enp0s3 parent 1:3 handle 30: netem";

/// An access point that leads to an internet of its own: addresses, names, and the server of the check.
const ACCESS_POINT: &str = r#"set -e
    modprobe mac80211_hwsim radios=2
    ip netns add ap
    nmcli device set wlan1 managed no
    iw phy $(cat /sys/class/net/wlan1/phy80211/name) set netns name ap
    mkdir /run/ap
    printf 'interface=wlan1\nssid=roof\nhw_mode=g\nchannel=1\nwpa=2\nwpa_key_mgmt=WPA-PSK\nrsn_pairwise=CCMP\nwpa_passphrase=%s\n' \
        the-key-of-before >/run/ap/hostapd.conf
    ip -n ap address add 10.55.0.1/24 dev wlan1 && ip -n ap link set lo up
    cat >/run/ap/answer <<'END'
while read -r line && [ ${#line} -gt 1 ]; do :; done
printf 'HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n'
END
    systemd-run --quiet --unit=ap-radio ip netns exec ap hostapd /run/ap/hostapd.conf
    systemd-run --quiet --unit=ap-names ip netns exec ap dnsmasq --keep-in-foreground --conf-file=/dev/null --bind-dynamic \
        --interface=wlan1 --dhcp-range=10.55.0.10,10.55.0.20,1h --dhcp-leasefile=/run/ap/leases --address=/#/10.55.0.1
    systemd-run --quiet --unit=ap-server ip netns exec ap systemd-socket-activate --accept --inetd --listen=80 sh /run/ap/answer"#;

/// Waits for it; with what was said if it does not come.
fn soon(device: &mut Device, command: &str, wanted: &str) -> Result<()> {
    if let Err(error) = device.soon(PATIENCE, command, wanted) {
        let said = device
            .run("cat /run/fleet/connectivity.json; journalctl -b -u NetworkManager -u wpa_supplicant -u fleet-watch -u 'ap-*' --no-pager -n 60; nmcli; tc qdisc")?
            .text();
        return Err(error).context(said);
    }
    Ok(())
}

#[test]
fn a_pulled_cable_a_slow_line_two_cards_and_a_wrong_key() -> Result<()> {
    let mut device = Device::boot(Tier::Qemu)
        .with_second_card()
        .config_text(
            r#"{"hostname": "roof", "os": {"network": {"connectivity": {"uri": "http://check.example/", "response": ""}, "repair": {"after": 20}}}}"#,
        )
        .start()?;
    soon(&mut device, VERDICT, "internet none online")?;
    // Its cable leads nowhere yet, and it would be tried for ever.
    device
        .run(&format!("nmcli device set {SECOND_CARD} managed no"))?
        .succeeds()?;
    slow_and_lossy(&mut device)?;

    device.world().link(Link::Down)?;
    soon(&mut device, VERDICT, "none no-carrier offline")?;
    device.world().link(Link::Up)?;
    soon(&mut device, VERDICT, "internet none online")?;
    two_cards(&mut device)?;
    wifi(&mut device)?;
    device.run("systemctl --failed --no-legend")?.says("")?;
    Ok(())
}

/// A line that is slow or loses packets works.
fn slow_and_lossy(device: &mut Device) -> Result<()> {
    device.run(&format!("{LINE} delay 1500ms"))?.succeeds()?;
    let parent = "tc qdisc change dev enp0s3 parent 1:3 handle 30: netem";
    for line in ["delay 3000ms", "loss 20%", "delay 300ms loss 5%"] {
        device.run(&format!("{parent} {line}"))?.succeeds()?;
        device.run("nmcli networking connectivity check")?.succeeds()?;
        device.run(RECHECK)?.succeeds()?;
        soon(device, VERDICT, "internet none online").with_context(|| format!("with a line of {line}"))?;
    }
    device.run("tc qdisc del dev enp0s3 root")?.succeeds()?;
    Ok(())
}

/// The better of two cards has a dead line behind a live link, and then no link.
fn two_cards(device: &mut Device) -> Result<()> {
    /// The card that packets to the internet go out by.
    const ROUTE: &str = "ip route get 203.0.113.7 | sed -n 's/.* dev \\([^ ]*\\) .*/\\1/p'";
    device.world().second_uplink()?;
    device
        .run(&format!(
            "nmcli device set {SECOND_CARD} managed yes && nmcli connection add type ethernet ifname {SECOND_CARD} con-name second \
             ipv4.method manual ipv4.addresses 172.31.78.2/24 ipv4.gateway {SECOND_ADDRESS} ipv4.dns {SECOND_ADDRESS} \
             ipv4.route-metric 900 ipv6.method disabled && nmcli --wait 90 connection up second"
        ))?
        .succeeds()?;
    let second = format!(
        "jq -r '.uplinks[] | select(.interface == \"{SECOND_CARD}\") | .level' /run/fleet/connectivity.json"
    );
    soon(device, &second, "internet")?;
    device.run(ROUTE)?.says("enp0s3")?;

    let over = format!("{SECOND_CARD} online");
    device.world().gateway(Switch::Off)?;
    soon(device, INTERFACE, &over)?;
    soon(device, ROUTE, SECOND_CARD)?;
    device.world().gateway(Switch::On)?;
    soon(device, ROUTE, "enp0s3")?;
    soon(device, INTERFACE, "enp0s3 online")?;

    device.world().link(Link::Down)?;
    soon(device, INTERFACE, &over)?;
    device.run(ROUTE)?.says(SECOND_CARD)?;
    device.world().link(Link::Up)?;
    soon(device, INTERFACE, "enp0s3 online")?;
    soon(device, ROUTE, "enp0s3")?;
    // The device was online throughout: there was nothing to repair.
    device.run(VERDICT)?.says("internet none online")?;
    device
        .run(&format!(
            "nmcli connection delete second && nmcli device set {SECOND_CARD} managed no"
        ))?
        .succeeds()?;
    Ok(())
}

/// The device has another key than the access point; and takes over from the cable once it has the same.
fn wifi(device: &mut Device) -> Result<()> {
    device.run(ACCESS_POINT)?.succeeds()?;
    device
        .run(
            "nmcli connection add type wifi ifname wlan0 con-name roof ssid roof wifi-sec.key-mgmt wpa-psk \
             wifi-sec.psk the-key-of-today",
        )?
        .succeeds()?;
    device.run("nmcli --wait 90 connection up roof")?.fails()?;
    soon(device, RADIO, "none need-auth")?;
    device
        .run("fleet connectivity")?
        .mentions("wlan0 is refused by the network: check the key or the credentials")?;
    // Nothing is done about it while the cable leads to the internet.
    device.run(VERDICT)?.says("internet none online")?;

    // The access point gets its new key, and the cable is pulled: nobody is there to try again but the device.
    device.world().link(Link::Down)?;
    device
        .run("sed -i s/before/today/ /run/ap/hostapd.conf && systemctl restart ap-radio")?
        .succeeds()?;
    soon(device, INTERFACE, "wlan0 online")?;
    soon(device, RADIO, "internet none")?;
    soon(device, STEPS, "reactivate wlan0 need-auth repaired")?;

    // With both, the cable is preferred; without it, the radio takes over at once.
    device.world().link(Link::Up)?;
    soon(device, INTERFACE, "enp0s3 online")?;
    device.world().link(Link::Down)?;
    soon(device, INTERFACE, "wlan0 online")?;
    device.world().link(Link::Up)?;
    soon(device, INTERFACE, "enp0s3 online")?;
    soon(device, RADIO, "internet none")
}
