//! Why the last run ended, where no hardware is needed to tell.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::{Device, Tier};

const FILE: &str = "cat /run/fleet/reboot-reason.json";
const RECORD: &str = "/var/lib/fleet/reboot/last-run";
const BOOT: &str = "tr -d - </proc/sys/kernel/random/boot_id";
const LINES: &str = "journalctl -b -o json MESSAGE_ID=a885b0c4235e47e68599bf4970d42573 --no-pager";

/// What is published, after a look at whether file, journal, bus and command line say the same.
fn published(device: &mut Device) -> Result<(String, String, String)> {
    let parsed = |text: &str| serde_json::from_str::<Value>(text).with_context(|| text.to_owned());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let file = parsed(&device.run(FILE)?.succeeds()?.text())?;
    let (reason, detail) = (text(&file["reason"]), text(&file["detail"]));

    let lines = device.run(LINES)?.succeeds()?.text();
    ensure!(lines.lines().count() == 1, "one line was expected: {lines}");
    let line = parsed(&lines)?;
    ensure!(
        line["FLEET_REBOOT_REASON"] == reason && line["FLEET_LAST_BOOT"] == file["boot"],
        "{line}"
    );
    let status = parsed(&device.run("fleet status --json")?.succeeds()?.text())?;
    ensure!(
        status["reboot"]["reason"] == reason && status["reboot"]["detail"] == detail,
        "{status}"
    );
    device
        .run("fleet journal status")?
        .mentions(&format!("Last reboot: {reason}: {detail}."))?;
    for (property, value) in [("RebootReason", &reason), ("RebootDetail", &detail)] {
        device
            .run(&format!(
                "setpriv --reuid=nobody --regid=nogroup --clear-groups busctl get-property org.fleetos.Journal1 \
                 /org/fleetos/Journal1 org.fleetos.Journal1 {property}"
            ))?
            .mentions(value)?;
    }
    Ok((reason, detail, text(&file["boot"])))
}

#[test]
fn an_orderly_end_and_a_power_cut_are_told_apart() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    let (reason, detail, boot) = published(&mut device)?;
    ensure!(
        reason == "unknown" && detail.contains("this is the first") && boot.is_empty(),
        "{reason}: {detail}"
    );
    device
        .run("stat --format='%a %U' /run/fleet/reboot/reason.json")?
        .says("644 fleet-reboot")?;

    let first = device.run(BOOT)?.text();
    device.reboot()?;
    let (reason, detail, boot) = published(&mut device)?;
    ensure!(
        (reason.as_str(), detail.as_str()) == ("requested", "a reboot was asked for"),
        "{reason}: {detail}"
    );
    ensure!(boot == first, "{boot} is not {first}");

    device.cut()?;
    let (reason, detail, _) = published(&mut device)?;
    ensure!(
        reason == "power" && detail.contains("power was cut"),
        "{reason}: {detail}"
    );

    device.switch_off_and_on()?;
    let (reason, detail, _) = published(&mut device)?;
    ensure!(
        reason == "requested" && detail.contains("switched off in order"),
        "{reason}: {detail}"
    );

    // Killed without an orderly end, as by a forced reboot: that cannot be told from a power cut.
    device.run("systemctl reboot --force")?;
    device.soon(
        std::time::Duration::from_secs(60),
        "jq --raw-output .reason /run/fleet/reboot-reason.json",
        "power",
    )?;
    device.run("systemctl --failed --no-legend")?.says("")?;
    Ok(())
}

#[test]
fn a_restart_of_the_service_is_not_an_end() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    device.reboot()?;
    let before = published(&mut device)?;
    let record = device.run(&format!("cat {RECORD}"))?.succeeds()?.text();
    ensure!(record.ends_with(" running"), "{record}");
    for command in [
        "systemctl restart fleet-reboot-reason",
        "systemctl stop fleet-reboot-reason && systemctl start fleet-reboot-reason",
        "systemctl kill --signal=KILL fleet-reboot-reason; systemctl restart fleet-reboot-reason",
    ] {
        device.run(command)?.succeeds()?;
        device.run(&format!("cat {RECORD}"))?.says(&record)?;
        ensure!(published(&mut device)? == before, "after {command}");
    }
    // Stopped and not started again, and the power goes.
    device.run("systemctl stop fleet-reboot-reason")?.succeeds()?;
    device.cut()?;
    ensure!(published(&mut device)?.0 == "power");
    Ok(())
}

#[test]
fn a_record_that_is_none_costs_one_reason() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    for damage in [
        format!("printf torn > {RECORD}"),
        format!("head -c 100000 /dev/urandom > {RECORD}"),
        format!("rm {RECORD} && ln -s /etc/shadow {RECORD}"),
        format!("truncate --size=30 {RECORD}"),
    ] {
        device.run(&damage)?.succeeds()?;
        device.cut()?;
        let (reason, detail, _) = published(&mut device)?;
        ensure!(
            reason == "unknown" && detail.contains("cannot be read"),
            "{damage}: {reason}: {detail}"
        );
        device.cut()?;
        ensure!(published(&mut device)?.0 == "power", "after {damage}");
    }
    device.run("systemctl is-system-running")?.says("running")?;

    // It cannot be written: the reason is still told, the next one is not known to be right.
    device
        .run(&format!("rm {RECORD} && mkdir -p {RECORD}/in-the-way"))?
        .succeeds()?;
    device.reboot()?;
    ensure!(published(&mut device)?.0 == "unknown");
    device
        .run("journalctl -b -u fleet-reboot-reason -o cat --no-pager")?
        .mentions("how this run ends will not be known")?;
    Ok(())
}
