//! What the repair ladder leaves alone, and what it does last: each takes its time, because nothing must happen in it, or
//! because a reboot waits for minutes.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use testbed::{Device, Dns, Http, Link};

use super::{LONG, PATIENCE, STATE, STEPS, VERDICT, WELL, boot};

const RECHECK: &str = "timeout 30 busctl call org.fleetos.Connectivity1 /org/fleetos/Connectivity1 org.fleetos.Connectivity1 Recheck \
                       || true";
const BOOT: &str = "cat /proc/sys/kernel/random/boot_id";

#[test]
fn what_is_upstream_or_somebodys_will_is_left_alone() -> Result<()> {
    let mut device = boot("")?;
    for (http, dns, verdict) in [
        (Http::Redirect, Dns::Ok, "dns portal"),
        (Http::Fault, Dns::Ok, "dns server-fault"),
        (Http::Silent, Dns::Ok, "dns check-timeout"),
        (Http::Ok, Dns::Silent, "gateway resolver-silent"),
        (Http::Ok, Dns::Ok, WELL),
    ] {
        device.world().http(http)?;
        device.world().dns(dns)?;
        device.run(RECHECK)?.succeeds()?;
        device.soon(PATIENCE, VERDICT, verdict)?;
        sleep(LONG);
        device.run(VERDICT)?.says(verdict)?;
        device.run(STEPS)?.says("")?;
        device.run(STATE)?.says("idle")?;
    }
    device.world().link(Link::Down)?;
    device.soon(PATIENCE, VERDICT, "none no-carrier")?;
    sleep(LONG);
    device.run(STEPS)?.says("")?;
    device.world().link(Link::Up)?;
    device.soon(PATIENCE, VERDICT, WELL)?;
    // Two ways to say that it shall be off.
    for off in ["device disconnect eth0", "connection down 'Wired connection 1'"] {
        device.run(&format!("nmcli {off}"))?.succeeds()?;
        device.soon(PATIENCE, VERDICT, "carrier inactive")?;
        sleep(LONG);
        device.run(VERDICT)?.says("carrier inactive")?;
        device.run(STEPS)?.says("")?;
        device.run("nmcli --wait 60 device connect eth0")?.succeeds()?;
        device.soon(PATIENCE, VERDICT, WELL)?;
    }
    Ok(())
}

#[test]
fn a_network_manager_that_is_down_is_restarted_within_its_budget_over_a_reboot() -> Result<()> {
    let mut device = boot("")?;
    device.run("systemctl stop NetworkManager")?.succeeds()?;
    device.soon(PATIENCE, VERDICT, WELL)?;
    let once = "restart-network-manager NetworkManager network-manager-down repaired";
    device.soon(PATIENCE, STEPS, once)?;

    // Hung: it would not stop either.
    let pid = device.run("systemctl show -P MainPID NetworkManager")?.text();
    device
        .run("systemctl kill --signal=STOP NetworkManager")?
        .succeeds()?;
    device.run(RECHECK)?.succeeds()?;
    device.soon(PATIENCE, STEPS, &format!("{once}; {once}"))?;
    device.soon(PATIENCE, VERDICT, WELL)?;
    let other = device.run("systemctl show -P MainPID NetworkManager")?.text();
    ensure!(pid != other, "it is the same as before: {pid}");

    // Twice an hour is its bound, and there is nothing else that is allowed.
    let spent = |device: &mut Device| -> Result<()> {
        device.run("systemctl stop NetworkManager")?.succeeds()?;
        device.soon(PATIENCE, STATE, "spent")?;
        device.run(VERDICT)?.says("none network-manager-down")?;
        device
            .run("jq -r .explanation /run/fleet/connectivity.json")?
            .mentions("was tried, and is not tried again for now")?;
        device
            .run("fleet connectivity")?
            .mentions("tried as often as it may be; the next in")?;
        device
            .run("journalctl -b -o cat --no-pager FLEET_REPAIR_OUTCOME=spent | wc -l")?
            .says("1")?;
        sleep(LONG);
        device
            .run("systemctl is-active NetworkManager || true")?
            .says("inactive")?;
        device.run(STEPS)?.says(&format!("{once}; {once}"))?;
        Ok(())
    };
    spent(&mut device)?;
    // The helper does not take the watcher's word for it.
    let watch = "setpriv --reuid=fleet-watch --regid=fleet-watch --init-groups";
    let helper = "busctl call org.fleetos.Helper1 /org/fleetos/Helper1 org.fleetos.Helper1";
    device
        .run(&format!("{watch} {helper} Reboot s network-manager-down"))?
        .fails()?
        .complains("os.network.repair.reboot does not allow it")?;

    device.reboot()?;
    device.soon(PATIENCE, VERDICT, WELL)?;
    device.soon(PATIENCE, STEPS, &format!("{once}; {once}"))?;
    spent(&mut device)?;
    Ok(())
}

#[test]
fn a_reboot_is_the_last_step_and_needs_the_key() -> Result<()> {
    let mut device = boot(r#", "reboot": true"#)?;
    let before = device.run(BOOT)?.text();
    // It cannot be started, until the next boot.
    device
        .run(
            "mkdir -p /run/systemd/system/NetworkManager.service.d && \
             printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' >/run/systemd/system/NetworkManager.service.d/fail.conf && \
             systemctl daemon-reload && systemctl stop NetworkManager",
        )?
        .succeeds()?;
    let deadline = Instant::now() + 4 * PATIENCE;
    loop {
        ensure!(Instant::now() < deadline, "no reboot");
        match device.run(BOOT) {
            Ok(now) if now.clone().succeeds().is_ok() && now.text() != before => break,
            _ => sleep(Duration::from_secs(2)),
        }
    }
    device.soon(4 * PATIENCE, VERDICT, WELL)?;
    let failed = "restart-network-manager NetworkManager network-manager-down failed";
    device.soon(
        PATIENCE,
        &format!("{STEPS} | sed 's/begun/failed/g; s/no-effect/failed/g'"),
        &format!("{failed}; {failed}; reboot NetworkManager network-manager-down repaired"),
    )?;
    device
        .run("jq -r '.reason + \": \" + .detail' /run/fleet/reboot-reason.json")?
        .says("requested: a reboot was asked for to repair the network: network-manager-down")?;
    Ok(())
}
