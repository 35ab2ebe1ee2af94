//! What every boot must show, under systemd-nspawn.

use anyhow::Result;
use testbed::{Device, Tier};

#[test]
fn a_device_boots_to_running_with_nothing_failed() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    device.run("systemctl is-system-running")?.says("running")?;
    device.run("systemctl --failed --no-legend")?.says("")?;
    device
        .run("systemctl is-active fleet-config fleet-watch NetworkManager ssh chrony")?
        .succeeds()?;
    // An ordering cycle is resolved by systemd by leaving a unit out; it says so and goes on.
    device
        .run("journalctl -b --no-pager | grep -i 'ordering cycle'")?
        .fails()?;

    device
        .run("systemd-analyze verify --man=no /usr/lib/systemd/system/fleet-*.service /usr/lib/systemd/system/fleet-*.target /usr/lib/systemd/system/development-console.service 2>&1")?
        .says("")?;

    // Nobody logs in without a key.
    device
        .run("systemctl list-units --type=service --no-legend '*getty*' 'development-console*'")?
        .says("")?;
    device
        .run("awk -F: '$2 !~ /^[!*]/ {print $1}' /etc/shadow")?
        .says("")?;
    device
        .run("systemctl is-active fleet-development.target")?
        .fails()?;
    device.run("command -v polkitd pkexec")?.fails()?;
    Ok(())
}

#[test]
fn only_the_listed_paths_can_be_written() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    for path in [
        "/usr/x",
        "/etc/x",
        "/x",
        "/root/x",
        "/var/x",
        "/var/lib/x",
        "/var/log/x",
        "/etc/machine-id",
    ] {
        device.run(&format!("echo x > {path}"))?.fails()?;
    }
    let listed = [
        "/boot",
        "/data",
        "/var/lib/fleet",
        "/var/lib/NetworkManager",
        "/etc/NetworkManager/system-connections",
        "/var/lib/systemd",
        "/var/lib/chrony",
        "/var/log/journal",
        "/var/tmp",
        "/tmp",
        "/run",
    ];
    for path in listed {
        device
            .run(&format!("echo x > {path}/x && rm {path}/x"))?
            .succeeds()?;
    }
    Ok(())
}

#[test]
fn status_has_a_plain_sentence_for_each_subject() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn)
        .config_text(r#"{"hostname": "pump-17"}"#)
        .start()?;
    let status = device.run("fleet status")?.succeeds()?;
    for (subject, sentence) in [
        ("Host name", "pump-17."),
        ("Configuration", "keys applied"),
        ("Connectivity", "online (internet) on "),
        ("Logging", "volatile: in RAM"),
        ("State", "kept on the state partition."),
        ("Last reboot", "unknown: there is no record of an earlier run"),
        ("System", "running"),
    ] {
        let text = status.text();
        let line = text
            .lines()
            .find(|line| line.starts_with(subject))
            .unwrap_or_default();
        anyhow::ensure!(
            line.contains(sentence),
            "{subject} does not say {sentence:?}\n{status}"
        );
    }
    device
        .run("fleet status --json | grep -c '\"hostname\": \"pump-17\"'")?
        .says("1")?;
    Ok(())
}
