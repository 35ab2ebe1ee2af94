//! Time servers that a lease names, and a clock that is wrong by what the check's server says. What a container has not, a
//! clock of its own, is in clock_qemu.rs.

use std::time::Duration;

use anyhow::Result;
use testbed::{ADDRESS, Device, Dhcp, FALSE_TIME, Http, Tier, Time};

/// chronyd asks a server that was silent again after a minute, and needs some answers to choose one.
const PATIENCE: Duration = Duration::from_secs(180);
const SOURCES: &str = "chronyc -n -c sources | cut -d, -f3 | sort | xargs";
/// The one that the clock follows.
const SELECTED: &str = "chronyc -n -c sources | grep -F '^,*' | cut -d, -f3";
/// A lease anew, with what it names now.
const LEASE: &str = "nmcli device up eth0";
const CONFIGURED: &str = "192.0.2.9";

#[test]
fn a_leased_time_server_is_used_beside_the_configured_ones() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn)
        .config_text(format!(r#"{{"ntpServers": "{CONFIGURED}"}}"#))
        .start()?;
    device.soon(PATIENCE, SOURCES, CONFIGURED)?;

    device.world().time(Time::On)?;
    device.world().dhcp(Dhcp::TimeServer)?;
    device.run(LEASE)?.succeeds()?;
    device.soon(PATIENCE, SOURCES, &format!("{ADDRESS} {CONFIGURED}"))?;
    // The configured one is silent: the leased one is what there is.
    device.soon(PATIENCE, SELECTED, &ADDRESS.to_string())?;
    device.run("fleet config show")?.mentions("applied  ntpServers")?;

    // It goes with the lease's saying so, and with the lease.
    device.world().dhcp(Dhcp::On)?;
    device.run(LEASE)?.succeeds()?;
    device.soon(PATIENCE, SOURCES, CONFIGURED)?;
    device.world().dhcp(Dhcp::TimeServer)?;
    device.run(LEASE)?.succeeds()?;
    device.soon(PATIENCE, SOURCES, &format!("{ADDRESS} {CONFIGURED}"))?;
    device.run("nmcli device disconnect eth0")?.succeeds()?;
    device.soon(PATIENCE, SOURCES, CONFIGURED)?;
    device.run("ls /run/chrony-dhcp")?.says("")?;
    device.run("systemctl --failed --no-legend")?.says("")?;
    Ok(())
}

#[test]
fn a_leased_time_server_that_is_wrong_does_not_win() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn)
        .config_text(format!(r#"{{"ntpServers": "{ADDRESS}"}}"#))
        .start()?;
    device.world().dhcp(Dhcp::FalseTimeServer)?;
    device.run(LEASE)?.succeeds()?;
    // Alone it is believed: there is no other.
    device.soon(PATIENCE, SELECTED, &FALSE_TIME.to_string())?;
    // Against a configured one it is not, although it was there first.
    device.world().time(Time::On)?;
    device.run("chronyc burst 4/4")?.succeeds()?;
    device.soon(PATIENCE, SELECTED, &ADDRESS.to_string())?;
    device
        .run("chronyc -n -c sources | grep -F '^,x' | cut -d, -f3")?
        .says(&FALSE_TIME.to_string())?;
    Ok(())
}

#[test]
fn the_day_that_the_check_s_server_says_tells_a_wrong_clock() -> Result<()> {
    let config =
        r#"{"os": {"network": {"connectivity": {"uri": "https://check.example/", "response": ""}}}}"#;
    let mut device = Device::boot(Tier::Nspawn).config_text(config).start()?;
    let verdict =
        "jq -r '[.level, .reason, .repair.steps[].step] | join(\" \")' /run/fleet/connectivity.json";
    let recheck = "timeout 30 busctl call org.fleetos.Connectivity1 /org/fleetos/Connectivity1 org.fleetos.Connectivity1 Recheck || true";
    // A server whose certificate nobody trusts: to NetworkManager it is one failure like another.
    let folder = device.own_run().directory().display().to_string();
    device
        .world()
        .run(&format!(
            "cd {folder} && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=check.example \
             -keyout tls.key -out tls.crt && (setsid openssl s_server -accept 443 -cert tls.crt -key tls.key -www </dev/null >s_server.log 2>&1 &)"
        ))?
        .succeeds()?;
    for (mode, reason) in [
        (Http::Ok, "dns tls-intercepted"),
        (Http::Past, "dns clock-wrong"),
        // Nobody there to say it: the failure is what it was before.
        (Http::Refuse, "dns tls-intercepted"),
        (Http::Silent, "dns tls-intercepted"),
        (Http::Past, "dns clock-wrong"),
    ] {
        device.world().http(mode)?;
        device.run(recheck)?;
        device.soon(PATIENCE, verdict, reason)?;
    }
    device
        .run("fleet connectivity")?
        .mentions("the clock is wrong, so that no certificate is valid")?;
    Ok(())
}

#[test]
fn the_last_known_time_is_noted() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    let age = "touch -d '2 days ago' /var/lib/chrony/chrony.drift; {}; \
               test $(( $(date +%s) - $(stat -c %Y /var/lib/chrony/chrony.drift) )) -lt 60 && echo new";
    for noted_by in ["systemctl start fleet-last-time", "systemctl stop chrony"] {
        device.run(&age.replace("{}", noted_by))?.says("new")?;
    }
    device
        .run("systemctl is-active fleet-last-time.timer")?
        .says("active")?;
    // Where there is none, none is made by anybody but chronyd.
    device
        .run("rm /var/lib/chrony/chrony.drift && systemctl start fleet-last-time; ls /var/lib/chrony")?
        .says("")?;
    device
        .run("systemctl start chrony && systemctl --failed --no-legend")?
        .says("")?;
    Ok(())
}
