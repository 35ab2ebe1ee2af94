//! The repair ladder on the real NetworkManager: a fault made on purpose, and the step that repairs it. The only thing that is
//! not as on a device in the field is the wait, by its key.

#[cfg(feature = "long")]
#[path = "repair/patience.rs"]
mod patience;

use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use testbed::{Device, Dhcp, SECOND_ADDRESS, Tier};

const VERDICT: &str = "jq -r '[.level, .reason] | join(\" \")' /run/fleet/connectivity.json";
/// Every step: what was done, for what, why, and what became of it.
const STEPS: &str = "jq -r '[.repair.steps[] | [.step, .subject, .reason, .outcome] | join(\" \")] | join(\"; \")' \
                     /run/fleet/connectivity.json";
const STATE: &str = "jq -r '.repair.state' /run/fleet/connectivity.json";
const PATIENCE: Duration = Duration::from_secs(150);
/// Long enough for a step that should not come: the wait is 10 s.
const LONG: Duration = Duration::from_secs(40);
const WELL: &str = "internet none";

fn boot(keys: &str) -> Result<Device> {
    let config =
        format!(r#"{{"dnsServers": "null", "os": {{"network": {{"repair": {{"after": 10{keys}}}}}}}}}"#);
    let mut device = Device::boot(Tier::Nspawn).config_text(config).start()?;
    device.soon(PATIENCE, VERDICT, WELL)?;
    device.run(STEPS)?.says("")?;
    Ok(device)
}

/// Takes a fault's address away behind NetworkManager's back: nobody but an activation gives it again.
const LOSE_ADDRESS: &str = "ip address flush dev eth0 scope global";

#[test]
fn a_lost_address_comes_back_by_a_new_activation() -> Result<()> {
    let mut device = boot("")?;
    // Nothing else brings it back.
    device
        .run("fleet config set os.network.repair.enabled false")?
        .succeeds()?;
    device.soon(PATIENCE, STATE, "off")?;
    device.run(LOSE_ADDRESS)?.succeeds()?;
    device.soon(PATIENCE, VERDICT, "carrier no-address")?;
    sleep(LONG);
    device.run(VERDICT)?.says("carrier no-address")?;
    device.run(STEPS)?.says("")?;

    device
        .run("fleet config set os.network.repair.enabled true")?
        .succeeds()?;
    device.soon(PATIENCE, VERDICT, WELL)?;
    device.soon(PATIENCE, STEPS, "reactivate eth0 no-address repaired")?;
    device.run(STATE)?.says("idle")?;
    device
        .run("journalctl -b -o cat --no-pager FLEET_REPAIR_STEP=reactivate")?
        .says("repair: reactivate for eth0, because of no-address\nrepair: eth0 is well after reactivate")?;
    device
        .run("fleet connectivity")?
        .mentions("reactivate for eth0 (no-address), repaired")?;
    device
        .run("busctl get-property org.fleetos.Connectivity1 /org/fleetos/Connectivity1 org.fleetos.Connectivity1 Repairs")?
        .mentions(r#""reactivate" "eth0" "no-address" "repaired""#)?;
    device
        .run("stat -c '%a %U' /var/lib/fleet/watch/repairs && wc -l </var/lib/fleet/watch/repairs")?
        .says("644 fleet-watch\n1")?;
    Ok(())
}

/// What left devices of others offline until somebody came: the wired uplink is dead somewhere behind its gateway when
/// NetworkManager starts, which gives leases and answers ARP all the same, and the resolver of the uplink that works is reached
/// over a default route only.
#[test]
fn a_default_route_that_is_dead_from_the_start_makes_room_for_one_that_works() -> Result<()> {
    const LEVELS: &str = "jq -r '[.uplinks[] | [.interface, .level, .reason] | join(\" \")] | join(\"; \")' /run/fleet/connectivity.json";
    let mut device = boot("")?;
    device.world().second_uplink()?;
    device
        .run(&format!(
            "nmcli connection add type ethernet ifname eth1 con-name second ipv4.method manual ipv4.addresses 172.31.78.2/24 \
             ipv4.gateway {SECOND_ADDRESS} ipv4.dns 203.0.113.53 ipv4.route-metric 900 ipv6.method disabled && \
             nmcli --wait 60 connection up second"
        ))?
        .succeeds()?;
    device.soon(PATIENCE, LEVELS, "eth0 internet none; eth1 internet none")?;
    device
        .world()
        .run(
            "for what in 'udp ! --dport 67' tcp icmp; do iptables -I INPUT -s 172.31.77.0/24 -p $what -j DROP || exit; done",
        )?
        .succeeds()?;
    device.run("systemctl restart NetworkManager")?.succeeds()?;
    device.soon(PATIENCE, STEPS, "bounce eth0 resolver-silent repaired")?;
    device.soon(
        PATIENCE,
        LEVELS,
        "eth0 gateway resolver-silent; eth1 internet none",
    )?;
    device.run(VERDICT)?.says(WELL)?;
    device
        .run("ip -o route get 203.0.113.7 | grep -o 'dev eth.'")?
        .says("dev eth1")?;
    // It stays so, and nothing more is done.
    sleep(LONG);
    device.run(VERDICT)?.says(WELL)?;
    device.run(STEPS)?.says("bounce eth0 resolver-silent repaired")?;

    // The wire is back: so is the traffic, without a step.
    device.world().run("iptables -F INPUT")?.succeeds()?;
    device.soon(PATIENCE, LEVELS, "eth0 internet none; eth1 internet none")?;
    device.soon(
        PATIENCE,
        "ip -o route get 203.0.113.7 | grep -o 'dev eth.'",
        "dev eth0",
    )?;
    device.run(STEPS)?.says("bounce eth0 resolver-silent repaired")?;
    Ok(())
}

#[test]
fn what_an_activation_does_not_cure_is_bounced() -> Result<()> {
    let mut device = boot("")?;
    device.world().dhcp(Dhcp::Off)?;
    let profile = "'Wired connection 1'";
    device
        .run(&format!(
            "nmcli connection modify {profile} ipv4.dhcp-timeout 5 && nmcli --wait 30 connection up {profile} || true"
        ))?
        .succeeds()?;
    device.soon(PATIENCE, VERDICT, "carrier no-lease")?;
    // While NetworkManager tries again by itself, the fault is now the one and now the other.
    let steps = format!("{STEPS} | sed 's/no-lease/connecting/g' | cut -d' ' -f1-7");
    device.soon(
        PATIENCE,
        &steps,
        "reactivate eth0 connecting no-effect; bounce eth0 connecting",
    )?;
    // It was down, for NetworkManager and for the other end of the cable; the step is told when it begins.
    device.soon(
        PATIENCE,
        "journalctl -b -u NetworkManager -o cat --no-pager | grep -c 'eth0.*-> unmanaged'",
        "1",
    )?;
    device.world().dhcp(Dhcp::On)?;
    device.soon(PATIENCE, VERDICT, WELL)?;
    device
        .run("nmcli -g GENERAL.NM-MANAGED,GENERAL.AUTOCONNECT device show eth0")?
        .says("yes\nyes")?;
    Ok(())
}
