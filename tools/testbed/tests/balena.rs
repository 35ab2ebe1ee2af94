//! The configuration cases that balenaOS tests on its own image, on ours: the same keys, asked of the same daemons.
//! Host name, time servers, resolvers, connectivity check, scan address; udev rules and the journal over a reboot are in
//! the tests of those.

use std::time::Duration;

use anyhow::{Context, Result};
use testbed::{Device, Tier, Time};

const SECOND: Duration = Duration::from_secs(1);

/// Every unit that is active, with the run of it that is: a restart gives it another. What only comes when it is
/// called, or goes with the status of the network, is left out; and what stays when the key that brought it has gone: the
/// mount of the trust store, and that the network was waited for.
const UNITS: &str = "for unit in $(systemctl list-units --plain --no-legend --state=active --type=service,socket,mount,target \
     | cut -d' ' -f1 | grep -vE 'fleet-(helper|journal|regdomain|connectivity@)|NetworkManager-dispatcher|etc-ssl-certs|network-online|hostnamed|timedated|fleet-development|development-console|session|user'); do \
     echo \"$unit $(systemctl show -P InvocationID $unit)\"; done | sort";

/// A property of NetworkManager as it runs.
fn network_manager(property: &str) -> String {
    format!(
        "busctl get-property org.freedesktop.NetworkManager /org/freedesktop/NetworkManager \
         org.freedesktop.NetworkManager {property} | cut -d' ' -f2-"
    )
}

#[test]
fn a_host_name_without_a_file_in_etc() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn)
        .config_text(r#"{"uuid": "0123456789abcdef0123456789abcdef"}"#)
        .start()?;
    // The default is the beginning of the identity.
    device.run("uname -n")?.says("0123456")?;
    device.run("fleet config set hostname rooftop")?.succeeds()?;
    device.run("uname -n")?.says("rooftop")?;
    device.run("hostnamectl hostname")?.says("rooftop")?;
    // What would say otherwise is not there, and the device finds itself by its name.
    device.run("ls /etc/hostname")?.fails()?;
    device.run("getent hosts rooftop")?.succeeds()?;
    device.run("fleet config set hostname ''")?.succeeds()?;
    device.run("uname -n")?.says("0123456")?;
    Ok(())
}

#[test]
fn time_comes_from_the_servers_that_are_named_and_from_no_other() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn)
        .config_text(r#"{"ntpServers": "172.31.77.1"}"#)
        .start()?;
    device.world().time(Time::On)?;
    // In a container chronyd does not set the clock, but it does select its source.
    device.soon(
        30 * SECOND,
        "chronyc -n -c sources | cut -d, -f2,3",
        "*,172.31.77.1",
    )?;
    device
        .run("fleet config set ntpServers '[\"192.0.2.1\", \"192.0.2.2\"]'")?
        .succeeds()?;
    device.soon(
        5 * SECOND,
        "chronyc -n -c sources | cut -d, -f3 | sort | xargs",
        "192.0.2.1 192.0.2.2",
    )?;
    // "null": none at all, also not the product's pools.
    device
        .run(r#"fleet config set ntpServers '"null"'"#)?
        .succeeds()?;
    device.soon(5 * SECOND, "chronyc -n -c sources | wc -l", "0")?;
    Ok(())
}

#[test]
fn resolvers_with_a_value_with_null_and_absent() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).config_text("{}").start()?;
    let leased = device.run("cat /etc/resolv.conf")?.succeeds()?.text();
    device
        .run("fleet config set dnsServers '192.0.2.53 2001:db8::53'")?
        .succeeds()?;
    device.soon(
        5 * SECOND,
        "grep ^nameserver /etc/resolv.conf | cut -d' ' -f2 | xargs",
        "192.0.2.53 2001:db8::53",
    )?;
    device
        .run("NetworkManager --print-config")?
        .mentions("servers=192.0.2.53,2001:db8::53")?;
    // "null": none of these, and no fallback either.
    device
        .run(r#"fleet config set dnsServers '"null"'"#)?
        .succeeds()?;
    device.soon(5 * SECOND, "cat /etc/resolv.conf", &leased)?;
    device
        .run("grep -c . /run/fleet/config/dns-fallback; true")?
        .says("0")?;
    device.run("fleet config unset dnsServers")?.succeeds()?;
    device.soon(5 * SECOND, "cat /etc/resolv.conf", &leased)?;
    device
        .run("grep -q . /run/fleet/config/dns-fallback")?
        .succeeds()?;
    Ok(())
}

#[test]
fn the_check_is_in_the_file_and_in_the_running_network_manager() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).config_text("{}").start()?;
    device
        .run("fleet config set os.network.connectivity.uri http://check.example/ok")?
        .succeeds()?;
    device
        .run("fleet config set os.network.connectivity.interval 600")?
        .succeeds()?;
    device
        .run("fleet config set os.network.connectivity.response fine")?
        .succeeds()?;
    device
        .run("NetworkManager --print-config")?
        .mentions("uri=http://check.example/ok")?
        .mentions("interval=600")?
        .mentions("response=fine")?;
    device
        .run(&network_manager("ConnectivityCheckUri"))?
        .says(r#""http://check.example/ok""#)?;
    device
        .run(&network_manager("ConnectivityCheckEnabled"))?
        .says("true")?;
    for off in [r#"uri '"null"'"#, "uri http://check.example/ok", "interval 0"] {
        device
            .run(&format!("fleet config set os.network.connectivity.{off}"))?
            .succeeds()?;
        let enabled = if off.contains("http") { "true" } else { "false" };
        device
            .run(&network_manager("ConnectivityCheckEnabled"))?
            .says(enabled)?;
    }
    Ok(())
}

#[test]
fn a_random_scan_address_reaches_network_manager_and_leaves_it() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).config_text("{}").start()?;
    let configured = "NetworkManager --print-config | sed -n '/^.device-fleet/,/^$/s/^wifi.scan/wifi.scan/p'";
    // Ours is a section of its own: Debian has one for single drivers.
    let default = device.run(configured)?.text();
    for (value, said) in [("true", "yes"), ("false", "no")] {
        device
            .run(&format!(
                "fleet config set os.network.wifi.randomMacAddressScan {value}"
            ))?
            .succeeds()?;
        device
            .run(configured)?
            .says(&format!("wifi.scan-rand-mac-address={said}"))?;
    }
    device
        .run("fleet config unset os.network.wifi.randomMacAddressScan")?
        .succeeds()?;
    device.run(configured)?.says(&default)?;
    Ok(())
}

#[test]
fn no_key_restarts_anything() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).config_text("{}").start()?;
    device
        .run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=ca -keyout /dev/null -out /run/ca.pem")?
        .succeeds()?;
    let units = device.run(UNITS)?.succeeds()?.text();
    for change in [
        "hostname other",
        "ntpServers '192.0.2.1 192.0.2.2'",
        "dnsServers 192.0.2.53",
        "os.network.connectivity.uri http://check.example/",
        "os.network.wifi.randomMacAddressScan true",
        "os.sshKeys '[]'",
        "persistentLogging true",
        "developmentMode true",
        "os.timezone Europe/Berlin",
        "os.proxy.http http://proxy.example:3128",
        "os.watchdog.runtime 60",
        "os.journal.maxUse 64M",
        "country DE",
        "balenaRootCA \"$(base64 -w0 /run/ca.pem)\"",
        "os.udevRules '{\"57\": \"KERNEL==\\\"null\\\", SYMLINK+=\\\"nothing\\\"\"}'",
        "os.network.probe.interval 600",
        "os.network.repair.after 60",
        "os.journal.upload.url http://192.0.2.9",
        "os.vpn \"$(jq -n --rawfile ca /run/ca.pem '{type: \"openvpn\", openvpn: {username: \"me\", password: \"it\", config: (\"client\\nauth-user-pass\\nremote 192.0.2.9\\ndev tun\\n<ca>\\n\" + $ca + \"</ca>\\n\")}}')\"",
        "mine '{\"of\": \"another program\"}'",
    ] {
        device
            .run(&format!("fleet config set {change}"))?
            .succeeds()
            .with_context(|| change.to_owned())?;
    }
    device
        .run(r#"echo '{"hostname": "edited", "hostnam": 1, "os": {"network": []}}' > /boot/config.json"#)?
        .succeeds()?;
    device.soon(2 * SECOND, "uname -n", "edited")?;
    // The file was like the one of before the calls: what they set is still so.
    device
        .run("fleet config unset os.vpn && fleet config unset os.journal.upload")?
        .succeeds()?;
    // Nothing is gone or was restarted, and what a key brought has gone with it.
    device.soon(10 * SECOND, UNITS, &units)?;
    device.run("systemctl --failed --no-legend")?.says("")?;
    Ok(())
}
