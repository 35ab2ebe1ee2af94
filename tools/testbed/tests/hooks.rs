//! What a product hangs on the connectivity's status: one target is active, whatever happens on the way there.

use std::time::Duration;

use anyhow::Result;
use testbed::{Device, Http, Link, Tier};

const PATIENCE: Duration = Duration::from_secs(60);
/// The targets that are active, and those that are on their way.
const TARGETS: &str = "systemctl list-units --all --plain --no-legend 'fleet-connectivity@*.target' | \
                       awk '$3 != \"inactive\" {print $1}' | xargs; systemctl list-jobs --no-legend";
const FOLDER: &str = "/run/fleet/watch/status";
const RECHECK: &str =
    "busctl call org.fleetos.Connectivity1 /org/fleetos/Connectivity1 org.fleetos.Connectivity1 Recheck";

/// As in docs/connectivity.md, with files in the LED's place. The root is read-only: a product has it in its image.
const LED: &str = "for status in online offline; do
    echo 0 >/run/led-$status
    cat >/run/systemd/system/led-$status.service <<END
[Unit]
PartOf=fleet-connectivity@$status.target
StartLimitIntervalSec=0
[Service]
Type=oneshot
RemainAfterExit=yes
SuccessExitStatus=TERM
ExecStart=/bin/sh -c 'echo 1 >/run/led-$status'
ExecStopPost=/bin/sh -c 'echo 0 >/run/led-$status'
[Install]
WantedBy=fleet-connectivity@$status.target
END
done
systemctl daemon-reload
systemctl enable --runtime led-online led-offline";
const LEDS: &str = "cat /run/led-online /run/led-offline | xargs";

fn boot() -> Result<Device> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    device.soon(PATIENCE, TARGETS, "fleet-connectivity@online.target")?;
    Ok(device)
}

#[test]
fn the_target_of_the_status_is_active() -> Result<()> {
    let mut device = boot()?;
    device.run(LED)?.succeeds()?;
    device.world().http(Http::Refuse)?;
    device.run(RECHECK)?.succeeds()?;
    device.soon(PATIENCE, TARGETS, "fleet-connectivity@offline.target")?;
    device.soon(PATIENCE, "cat /run/led-offline", "1")?;
    device.world().http(Http::Ok)?;
    device.run(RECHECK)?.succeeds()?;
    device.soon(PATIENCE, TARGETS, "fleet-connectivity@online.target")?;
    device.soon(PATIENCE, LEDS, "1 0")?;

    // The watcher cannot do more than publish.
    device
        .run("setpriv --reuid=fleet-watch --clear-groups systemctl --no-ask-password start fleet-connectivity@offline.target")?
        .fails()?;
    // Somebody stops the target of the status that is: that is undone.
    device
        .run("systemctl stop fleet-connectivity@online.target")?
        .succeeds()?;
    device.soon(PATIENCE, TARGETS, "fleet-connectivity@online.target")?;

    // While the watcher is down, the last status stays; what changed meanwhile follows when it is there again.
    device
        .run("systemctl kill --signal KILL fleet-watch && systemctl stop fleet-watch")?
        .succeeds()?;
    device.run(TARGETS)?.says("fleet-connectivity@online.target")?;
    device.world().link(Link::Down)?;
    device.soon(PATIENCE, "nmcli -g STATE general", "disconnected")?;
    device.run(TARGETS)?.says("fleet-connectivity@online.target")?;
    device.run("systemctl start fleet-watch")?.succeeds()?;
    device.soon(PATIENCE, TARGETS, "fleet-connectivity@offline.target")?;
    device.soon(PATIENCE, LEDS, "0 1")?;
    device.run(&format!("ls {FOLDER}"))?.says("offline")?;
    device.run("systemctl --failed --no-legend")?.says("")?;
    Ok(())
}

#[test]
fn a_thousand_changes_end_in_the_right_target() -> Result<()> {
    let mut device = boot()?;
    device.run(LED)?.succeeds()?;
    // What the watcher does at a change, faster than it does it.
    device.run("systemctl stop fleet-watch")?.succeeds()?;
    for (changes, pause, last) in [
        (1000, "", "offline"),
        (100, "sleep 0.01", "online"),
        (1, "", "vpn-only"),
    ] {
        device
            .run(&format!(
                "cd {FOLDER} && now=$(ls) && for change in $(seq {changes}); do
                     for status in online heartbeat-only vpn-only offline {last}; do
                         mv -T $now $status 2>/dev/null; now=$status; {pause}
                     done
                 done; ls"
            ))?
            .says(last)?;
        device.soon(PATIENCE, TARGETS, &format!("fleet-connectivity@{last}.target"))?;
        let leds = match last {
            "offline" => "0 1",
            "online" => "1 0",
            _ => "0 0",
        };
        device.soon(PATIENCE, LEDS, leds)?;
        device.run("systemctl --failed --no-legend")?.says("")?;
    }
    device.run("systemctl start fleet-watch")?.succeeds()?;
    device.soon(PATIENCE, TARGETS, "fleet-connectivity@online.target")?;
    device.soon(PATIENCE, LEDS, "1 0")?;
    // Watched over, also after all that.
    device
        .run("systemctl is-active fleet-connectivity@online.path fleet-connectivity@heartbeat-only.path fleet-connectivity@vpn-only.path fleet-connectivity@offline.path | sort -u")?
        .says("active")?;
    Ok(())
}
