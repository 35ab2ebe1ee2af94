//! The DNS fallback: in the place of the configured resolvers while none of them answers, and never beside one that does. The
//! resolvers are the product's; in the world every address answers, or does not, as it is told.

use std::time::Duration;

use anyhow::Result;
use testbed::{Device, Dns, SECOND_ADDRESS, Tier};

/// Generous: a fault of DNS shows in 40 s, and NetworkManager's check takes 20 s to fail.
const PATIENCE: Duration = Duration::from_secs(150);

/// Every uplink: its name, level, reason, and what is at fault on it; and what was done beside the fallback, which is nothing.
const UPLINKS: &str = "jq -r '[(.uplinks[] | ([.interface, .level, .reason] + [.problems[] | .reason, .subject] | \
                       map(select(. != \"\"))) | join(\" \")), .repair.steps[].step] | join(\"; \")' \
                       /run/fleet/connectivity.json";
const RESOLVERS: &str = "sed -n 's/^nameserver //p' /etc/resolv.conf | xargs";
const FILE: &str = "/run/NetworkManager/conf.d/60-fleet-dns-fallback.conf";
const LINES: &str = "journalctl -b -o cat --no-pager MESSAGE_ID=8dda02a7d8344df78ae0cd1ce51c8b88";

/// What the lease names.
const ADDRESS: &str = "172.31.77.1";
/// What the image's fleet.toml names.
const FALLBACK: [&str; 2] = ["9.9.9.9", "1.1.1.1"];
const IN_USE: &str = "eth0 internet none resolver-silent 172.31.77.1 dns-fallback";

fn boot() -> Result<Device> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    device.soon(PATIENCE, UPLINKS, "eth0 internet none")?;
    device.run(RESOLVERS)?.says(ADDRESS)?;
    for address in FALLBACK {
        device.world().dns_at(address, Dns::Ok)?;
    }
    Ok(device)
}

/// Makes NetworkManager check and the probes begin. An error only says that the check takes its time.
fn recheck(device: &mut Device) -> Result<()> {
    let call = "org.fleetos.Connectivity1 /org/fleetos/Connectivity1 org.fleetos.Connectivity1 Recheck";
    device
        .run(&format!("timeout 30 busctl call {call} || true"))?
        .succeeds()?;
    Ok(())
}

/// Has the world's DNS do so at every address but those of the fallback.
fn elsewhere(device: &mut Device, mode: Dns) -> Result<()> {
    device.world().dns(mode)?;
    recheck(device)
}

#[test]
fn it_begins_when_none_answers_and_ends_when_one_does() -> Result<()> {
    let mut device = boot()?;
    let before = device.run("cat /etc/resolv.conf")?.text();
    elsewhere(&mut device, Dns::Silent)?;
    device.soon(PATIENCE, UPLINKS, IN_USE)?;
    // In the place of the lease's, not beside it; and it works.
    device.run(RESOLVERS)?.says(&FALLBACK.join(" "))?;
    device
        .run("getent ahostsv4 anything.example")?
        .mentions(ADDRESS)?;
    device
        .run("fleet connectivity")?
        .mentions("the fallback is used in their place (9.9.9.9, 1.1.1.1)")?;
    device
        .run(&format!("{LINES} | grep -c 'the DNS fallback is in use'"))?
        .says("1")?;

    // fleet-config has NetworkManager read its files: what it reads back is no fault.
    device
        .run("fleet config set os.network.connectivity.interval 200")?
        .succeeds()?;
    device
        .run("busctl get-property org.fleetos.Config1 /org/fleetos/Config1 org.fleetos.Config1 Keys")?
        .mentions(r#""dnsServers" "applied""#)?
        .mentions("the fallback was in use")?;

    // A NetworkManager that starts anew has it too.
    device.run("systemctl restart NetworkManager")?.succeeds()?;
    device.soon(PATIENCE, UPLINKS, IN_USE)?;
    device.run(RESOLVERS)?.says(&FALLBACK.join(" "))?;

    elsewhere(&mut device, Dns::Ok)?;
    device.soon(PATIENCE, UPLINKS, "eth0 internet none")?;
    device.run("cat /etc/resolv.conf")?.says(&before)?;
    device.run(&format!("test -e {FILE}"))?.fails()?;
    // After the many changes of a restart there may be no room for a line for half a minute.
    device.soon(
        PATIENCE,
        &format!("{LINES} | tail -n 1 | cut -c1-26"),
        "the DNS fallback has ended",
    )?;

    // An answer is an answer, also that there is no such name; an error is none.
    elsewhere(&mut device, Dns::Wrong)?;
    device.soon(PATIENCE, UPLINKS, "eth0 dns name-unknown")?;
    device.run(RESOLVERS)?.says(ADDRESS)?;
    elsewhere(&mut device, Dns::Servfail)?;
    device.soon(
        PATIENCE,
        UPLINKS,
        "eth0 internet none resolver-failing 172.31.77.1 dns-fallback",
    )?;
    // One that does not answer either is named, and costs the rung.
    for address in FALLBACK {
        device.world().dns_at(address, Dns::Silent)?;
    }
    recheck(&mut device)?;
    device.soon(
        PATIENCE,
        UPLINKS,
        "eth0 gateway resolver-silent resolver-failing 172.31.77.1 resolver-silent 9.9.9.9 resolver-silent 1.1.1.1 \
         dns-fallback",
    )?;
    Ok(())
}

#[test]
fn nothing_is_left_behind() -> Result<()> {
    let mut device = boot()?;
    elsewhere(&mut device, Dns::Silent)?;
    device.soon(PATIENCE, UPLINKS, IN_USE)?;
    // Killed, it goes on with what is.
    device
        .run("systemctl kill --signal=KILL fleet-watch")?
        .succeeds()?;
    device.soon(PATIENCE, "systemctl show -P NRestarts fleet-watch", "1")?;
    device.soon(PATIENCE, UPLINKS, IN_USE)?;
    device.run(RESOLVERS)?.says(&FALLBACK.join(" "))?;
    // The configured one answers again while nobody looks.
    device.run("systemctl stop fleet-watch")?.succeeds()?;
    device.world().dns(Dns::Ok)?;
    device.run("systemctl start fleet-watch")?.succeeds()?;
    device.soon(PATIENCE, RESOLVERS, ADDRESS)?;
    device.soon(PATIENCE, UPLINKS, "eth0 internet none")?;

    // Switched off by its key while it is in use, and on again.
    elsewhere(&mut device, Dns::Silent)?;
    device.soon(PATIENCE, UPLINKS, IN_USE)?;
    device
        .run(r#"fleet config set dnsServers '"null"'"#)?
        .succeeds()?;
    device.soon(PATIENCE, RESOLVERS, ADDRESS)?;
    let silent = "eth0 gateway resolver-silent resolver-silent 172.31.77.1";
    device.soon(PATIENCE, UPLINKS, silent)?;
    recheck(&mut device)?;
    device.soon(PATIENCE, UPLINKS, silent)?;
    device.run(&format!("test -e {FILE}"))?.fails()?;
    device
        .run("busctl get-property org.fleetos.Config1 /org/fleetos/Config1 org.fleetos.Config1 Keys")?
        .mentions("there is no fallback")?;
    device.run("fleet config unset dnsServers")?.succeeds()?;
    device.soon(PATIENCE, UPLINKS, IN_USE)?;

    // A reboot with nobody there to take it back.
    device.run("systemctl stop fleet-watch")?.succeeds()?;
    device.run(&format!("test -e {FILE}"))?.succeeds()?;
    device.world().dns(Dns::Ok)?;
    device.reboot()?;
    device.soon(PATIENCE, UPLINKS, "eth0 internet none")?;
    device.run(RESOLVERS)?.says(ADDRESS)?;
    device.run(&format!("{LINES} | wc -l"))?.says("0")?;
    Ok(())
}

#[test]
fn the_configured_ones_are_those_of_the_key_or_of_every_uplink() -> Result<()> {
    let mut device = boot()?;
    // Of the key: the lease's, which answers, is not among them.
    device.world().dns_at("10.53.0.2", Dns::Silent)?;
    device.run("fleet config set dnsServers 10.53.0.2")?.succeeds()?;
    let in_use = "eth0 internet none resolver-silent 10.53.0.2 dns-fallback";
    device.soon(PATIENCE, UPLINKS, in_use)?;
    recheck(&mut device)?;
    device.soon(PATIENCE, UPLINKS, in_use)?;
    device.run(RESOLVERS)?.says(&FALLBACK.join(" "))?;
    device.world().dns_at("10.53.0.2", Dns::Ok)?;
    recheck(&mut device)?;
    device.soon(PATIENCE, RESOLVERS, "10.53.0.2")?;
    device.soon(PATIENCE, UPLINKS, "eth0 internet none")?;
    device.run("fleet config unset dnsServers")?.succeeds()?;

    // Of both uplinks: while one answers, there is no fallback.
    device.world().second_uplink()?;
    device
        .run(&format!(
            "nmcli connection add type ethernet ifname eth1 con-name second ipv4.method manual \
             ipv4.addresses 172.31.78.2/24 ipv4.gateway {SECOND_ADDRESS} ipv4.dns {SECOND_ADDRESS} ipv4.route-metric 900 \
             ipv6.method disabled && nmcli --wait 60 connection up second"
        ))?
        .succeeds()?;
    device.soon(PATIENCE, UPLINKS, "eth0 internet none; eth1 internet none")?;
    device.world().dns_at(ADDRESS, Dns::Silent)?;
    recheck(&mut device)?;
    device.soon(
        PATIENCE,
        UPLINKS,
        "eth0 internet none resolver-silent 172.31.77.1; eth1 internet none",
    )?;
    device.run(&format!("test -e {FILE}"))?.fails()?;
    device.world().dns_at(&SECOND_ADDRESS.to_string(), Dns::Silent)?;
    recheck(&mut device)?;
    device.soon(
        PATIENCE,
        UPLINKS,
        &format!("{IN_USE}; eth1 internet none resolver-silent {SECOND_ADDRESS} dns-fallback"),
    )?;
    device.world().dns_at(&SECOND_ADDRESS.to_string(), Dns::Ok)?;
    recheck(&mut device)?;
    device.soon(PATIENCE, RESOLVERS, &format!("{ADDRESS} {SECOND_ADDRESS}"))?;
    Ok(())
}
