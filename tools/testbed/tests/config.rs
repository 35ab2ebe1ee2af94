//! The way of a setting, from the file on the boot partition to its effect.

use std::time::Duration;

use anyhow::Result;
use testbed::{Device, Tier};

/// Every unit that is active, with the run of it that is: a restart gives it another. What only comes when it is
/// called is left out.
const UNITS: &str = "for unit in $(systemctl list-units --plain --no-legend --state=active --type=service,socket,mount,target \
     | cut -d' ' -f1 | grep -vE 'fleet-(helper|journal)|hostnamed|NetworkManager-dispatcher'); do \
     echo \"$unit $(systemctl show -P InvocationID $unit)\"; done | sort";

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_edit_changes_the_host_name_within_a_second_and_restarts_nothing() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn)
        .config_text(r#"{"hostname": "before"}"#)
        .start()?;
    device.run("uname -n")?.says("before")?;
    let units = device.run(UNITS)?.text();

    device
        .run(r#"echo '{"hostname": "after"}' > /boot/config.json"#)?
        .succeeds()?;
    device.soon(SECOND, "uname -n", "after")?;
    device.run("hostnamectl hostname")?.says("after")?;
    device.run(UNITS)?.says(&units)?;

    // As an editor does it: a new file, renamed over the old one.
    device.run(r#"cd /boot && echo '{"hostname": "third"}' > .config.json.swp && mv .config.json.swp config.json"#)?.succeeds()?;
    device.soon(SECOND, "uname -n", "third")?;
    device.run(UNITS)?.says(&units)?;
    Ok(())
}

#[test]
fn a_hundred_edits_converge_to_the_last_and_fail_nothing() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    device.run(r#"for i in $(seq 100); do echo "{\"hostname\": \"edit-$i\"}" > /boot/config.json; sleep 0.02; done"#)?.succeeds()?;
    device.soon(SECOND * 2, "uname -n", "edit-100")?;
    device.run("systemctl --failed --no-legend")?.says("")?;
    device
        .run("systemctl show -P NRestarts fleet-config")?
        .says("0")?;
    Ok(())
}

#[test]
fn each_key_takes_effect_and_is_taken_back() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).config_text("{}").start()?;
    let nm = "busctl get-property org.freedesktop.NetworkManager /org/freedesktop/NetworkManager org.freedesktop.NetworkManager";
    let default_uri = device.run(&format!("{nm} ConnectivityCheckUri"))?.text();
    let default_sources = device.run("cat /run/fleet/config/chrony/*.sources")?.text();
    let leased = device.run("cat /etc/resolv.conf")?.text();

    device
        .run("fleet config set os.network.connectivity.uri http://check.example/generate_204")?
        .succeeds()?;
    device
        .run(&format!("{nm} ConnectivityCheckUri"))?
        .says(r#"s "http://check.example/generate_204""#)?;
    device
        .run("fleet config set ntpServers '192.0.2.1 192.0.2.2'")?
        .succeeds()?;
    device
        .run("cat /run/fleet/config/chrony/*.sources")?
        .mentions("server 192.0.2.1")?
        .mentions("server 192.0.2.2")?;
    device.soon(SECOND * 5, "chronyc -n sources | grep -c 192.0.2.", "2")?;
    device
        .run("fleet config set dnsServers '10.1.2.3 10.1.2.4'")?
        .succeeds()?;
    device.soon(
        SECOND * 5,
        "grep -c 'nameserver 10.1.2.[34]' /etc/resolv.conf",
        "2",
    )?;
    device
        .run("fleet config set persistentLogging true")?
        .succeeds()?;
    device.run("fleet journal status")?.mentions("persistent")?;
    device.run("fleet config set developmentMode true")?.succeeds()?;
    device
        .run("systemctl is-active fleet-development.target")?
        .says("active")?;

    for key in [
        "os.network.connectivity.uri",
        "ntpServers",
        "dnsServers",
        "persistentLogging",
        "developmentMode",
    ] {
        device.run(&format!("fleet config unset {key}"))?.succeeds()?;
    }
    device
        .run(&format!("{nm} ConnectivityCheckUri"))?
        .says(&default_uri)?;
    device
        .run("cat /run/fleet/config/chrony/*.sources")?
        .says(&default_sources)?;
    device.soon(SECOND * 5, "cat /etc/resolv.conf", &leased)?;
    device.run("fleet journal status")?.mentions("volatile")?;
    device
        .run("systemctl is-active fleet-development.target")?
        .fails()?;
    Ok(())
}

#[test]
fn a_bad_value_is_refused_with_its_rule_and_changes_nothing() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn)
        .config_text(r#"{"hostname": "good", "mystery": [1, 2]}"#)
        .start()?;
    let before = device.run("cat /boot/config.json")?.text();
    for (key, value) in [
        ("hostname", "under_score"),
        ("hostname", "-5"),
        ("ntpServers", "a;id"),
        ("dnsServers", "not-an-address"),
        ("os.network.connectivity.uri", "file:///etc/shadow"),
        ("persistentLogging", "perhaps"),
    ] {
        device
            .run(&format!("fleet config set {key} '{value}'"))?
            .exits(65)?
            .complains(key)?;
    }
    device.run("cat /boot/config.json")?.says(&before)?;
    device.run("uname -n")?.says("good")?;

    // In a file, the bad key costs itself only.
    device.run(r#"echo '{"hostname": {}, "ntpServers": "time.example", "os": {"sshKeys": "one"}}' > /boot/config.json"#)?;
    device.soon(
        SECOND * 2,
        "grep -c time.example /run/fleet/config/chrony/*.sources",
        "1",
    )?;
    // The report comes after the last effect.
    device.soon(
        SECOND * 5,
        "fleet config show | grep -cE '^refused +(hostname|os.sshKeys) '",
        "2",
    )?;
    Ok(())
}

#[test]
fn setting_a_key_keeps_the_order_and_the_unknown_keys_of_the_file() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn)
        .config_text(r#"{"zebra": 1, "hostname": "one", "ant": {"b": 2, "a": 3}}"#)
        .start()?;
    device.run("fleet config set hostname two")?.succeeds()?;
    device.run("tr -d ' \\n' < /boot/config.json | grep -o '^{\"zebra\":1,\"hostname\":\"two\",\"ant\":{\"b\":2,\"a\":3}'")?.succeeds()?;
    device.run("uname -n")?.says("two")?;
    Ok(())
}

#[test]
fn a_stale_copy_of_the_file_does_not_revert_a_change() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn)
        .config_text(r#"{"hostname": "one"}"#)
        .start()?;
    device
        .run("cp /boot/config.json /tmp/stale && fleet config set ntpServers 192.0.2.9")?
        .succeeds()?;
    device
        .run("sed s/one/two/ /tmp/stale > /boot/config.json")?
        .succeeds()?;
    device.soon(SECOND * 2, "uname -n", "two")?;
    device.run("fleet config get ntpServers")?.says("\"192.0.2.9\"")?;
    device.soon(SECOND * 2, "grep -c 192.0.2.9 /boot/config.json", "1")?;
    // Whoever meant it hears which half is not in force, and how to put it back.
    for say in [
        "fleet status",
        "journalctl -u fleet-config -o cat --no-pager",
        "busctl get-property org.fleetos.Config1 /org/fleetos/Config1 org.fleetos.Config1 Problem",
    ] {
        device
            .run(say)?
            .mentions("stay as they were changed since: ntpServers; to put one back")?
            .mentions("`fleet config unset`")?;
    }
    // The revision is told from the start on.
    device
        .run(
            "systemctl restart fleet-config; \
             busctl get-property org.fleetos.Config1 /org/fleetos/Config1 org.fleetos.Config1 Revision",
        )?
        .says("t 3")?;
    device
        .run("fleet status")?
        .mentions("changed since: ntpServers")?;
    device.run("fleet config unset ntpServers")?.succeeds()?;
    device.run("fleet status | grep -c Problem; true")?.says("0")?;
    Ok(())
}

#[test]
fn calls_are_all_or_nothing_and_are_remembered() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn)
        .config_text(r#"{"hostname": "one", "apiKey": "hunter2"}"#)
        .start()?;
    let call = "busctl call org.fleetos.Config1 /org/fleetos/Config1 org.fleetos.Config1";
    device
        .run(&format!(
            r#"{call} Patch ts 1 '{{"hostname": "two", "ntpServers": "192.0.2.1", "apiKey": "hunter3"}}'"#
        ))?
        .says("t 2")?;
    device.run("uname -n")?.says("two")?;
    device
        .run(&format!(r#"{call} Patch ts 1 '{{"hostname": "three"}}'"#))?
        .fails()?
        .complains("at revision 2, not 1")?;
    device
        .run(&format!(
            r#"{call} Patch ts 0 '{{"hostname": "three", "dnsServers": "x", "persistentLogging": "perhaps"}}'"#
        ))?
        .fails()?
        .complains("dnsServers")?
        .complains("persistentLogging")?;
    device.run("uname -n")?.says("two")?;
    device.run(&format!("{call} Revert t 1"))?.says("t 3")?;
    device.run("uname -n")?.says("one")?;
    device.cut()?;
    device
        .run(&format!("{call} History"))?
        .mentions(r#""root" "revert""#)?
        .mentions(r#""root" "patch""#)?
        .mentions(r#""config.json" "first""#)?;
    device.run(&format!("{call} Revert t 2"))?.says("t 4")?;
    device.run("uname -n")?.says("two")?;
    device
        .run("journalctl -b --no-pager | grep -c hunter; grep -rc hunter /run/fleet | grep -v :0; true")?
        .says("0")?;
    Ok(())
}

#[test]
fn profiles_come_and_go_with_the_boot_partition() -> Result<()> {
    let keyfile = "[connection]\nid=bench\ntype=ethernet\nautoconnect=false\n\n[ipv4]\nmethod=manual\naddress1=192.0.2.7/24\n";
    let folder = std::env::temp_dir().join(format!("fleet-profiles-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("system-connections"))?;
    std::fs::write(folder.join("system-connections/bench"), keyfile)?;
    std::fs::write(folder.join("system-connections/broken"), "this is no keyfile")?;
    let started = Device::boot(Tier::Nspawn).boot_folder(&folder).start();
    std::fs::remove_dir_all(&folder)?;
    let mut device = started?;

    device
        .run("nmcli -g ipv4.addresses connection show bench")?
        .says("192.0.2.7/24")?;
    device
        .run("stat -c '%a %U' /usr/lib/NetworkManager/system-connections/fleet-boot-bench.nmconnection")?
        .says("600 root")?;
    device
        .run("fleet config show")?
        .mentions("system-connections/broken")?;

    device
        .run("sed -i s/192.0.2.7/192.0.2.8/ /boot/system-connections/bench")?
        .succeeds()?;
    device.soon(
        SECOND * 3,
        "nmcli -g ipv4.addresses connection show bench",
        "192.0.2.8/24",
    )?;
    // Scripts beside it are named, and not run.
    device
        .run("mkdir /boot/dispatcher.d && printf '#!/bin/sh\\ntouch /run/ran\\n' > /boot/dispatcher.d/90-route && chmod +x /boot/dispatcher.d/90-route")?
        .succeeds()?;
    device.soon(
        SECOND * 3,
        "fleet config show | grep -c 'unsupported  *dispatcher.d/90-route  *not run'; true",
        "1",
    )?;
    device
        .run("nmcli connection up bench 2>/dev/null; sleep 1; ls /run/ran")?
        .fails()?;
    device.run("rm -r /boot/dispatcher.d")?.succeeds()?;
    device.run("rm /boot/system-connections/bench")?.succeeds()?;
    device.soon(
        SECOND * 3,
        "nmcli -g NAME connection show | grep -c bench; true",
        "0",
    )?;

    // An edit made on the device outlives a reboot, although the boot partition has the older profile.
    device
        .run(&format!(
            "printf '{}' > /boot/system-connections/bench",
            keyfile.replace('\n', "\\n")
        ))?
        .succeeds()?;
    device.soon(
        SECOND * 3,
        "nmcli -g ipv4.addresses connection show bench",
        "192.0.2.7/24",
    )?;
    device
        .run("nmcli connection modify bench ipv4.addresses 192.0.2.9/24")?
        .succeeds()?;
    device.reboot()?;
    device
        .run("nmcli -g ipv4.addresses connection show bench")?
        .says("192.0.2.9/24")?;
    Ok(())
}

#[test]
fn a_boot_partition_that_lost_everything_costs_no_profile() -> Result<()> {
    let keyfile = "[connection]\\nid=kept\\ntype=ethernet\\nautoconnect=false\\n";
    let mut device = Device::boot(Tier::Nspawn).start()?;
    device
        .run(&format!(
            "mkdir -p /boot/system-connections && printf '{keyfile}' > /boot/system-connections/kept"
        ))?
        .succeeds()?;
    device.soon(SECOND * 3, "nmcli -g connection.id connection show kept", "kept")?;
    device.run("rm -rf /boot/*; sleep 3")?.succeeds()?;
    device
        .run("nmcli -g connection.id connection show kept")?
        .says("kept")?;
    device.cut()?;
    device
        .run("nmcli -g connection.id connection show kept; sleep 2")?
        .says("kept")?;
    device
        .run("nmcli -g connection.id connection show kept")?
        .says("kept")?;
    device.run("ls /boot/config.json")?.succeeds()?;
    Ok(())
}

#[test]
fn what_others_override_is_refused_and_what_is_in_force_is_shown() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    device
        .run("fleet config set dnsServers '192.0.2.5 192.0.2.6'")?
        .mentions(r#"applied  dnsServers  ["192.0.2.5","192.0.2.6"]"#)?;
    device
        .run("printf '[global-dns-domain-*]\\nservers=192.0.2.99\\n' > /run/NetworkManager/conf.d/99-other.conf")?
        .succeeds()?;
    device
        .run("fleet config set dnsServers 192.0.2.7; fleet config show")?
        .mentions(r#"refused"#)?
        .mentions(r#"["192.0.2.99"]"#)?
        .mentions("NetworkManager uses other resolvers")?;
    device
        .run("rm /run/NetworkManager/conf.d/99-other.conf && fleet config set dnsServers 192.0.2.8")?
        .mentions(r#"applied  dnsServers  ["192.0.2.8"]"#)?;

    // chrony looks the names up meanwhile: each of these sources gets its address about when it is asked which it has.
    device
        .run("for i in $(seq 40); do fleet config set ntpServers \"a$i.example 192.0.2.9\" || exit; done")?
        .succeeds()?;

    // A file of chrony's that reads ours no more.
    device
        .run("fleet config set ntpServers 'a.example 192.0.2.9'")?
        .mentions(r#"applied  ntpServers  ["a.example","192.0.2.9"]"#)?;
    device
        .run("mkdir /run/empty && mount --bind /run/empty /run/fleet/config/chrony && chronyc -m 'reload sources'")?
        .succeeds()?;
    device
        .run("nsenter -t $(systemctl show -P MainPID fleet-config) -m umount /run/fleet/config/chrony; fleet config set ntpServers b.example; fleet config show")?
        .mentions("chronyd does not use b.example")?;
    Ok(())
}
