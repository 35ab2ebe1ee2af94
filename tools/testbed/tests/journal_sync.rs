//! The key `os.journal.syncLevel`: a sync at every error, and no more than that.

use std::time::Duration;

use anyhow::{Result, ensure};
use testbed::{Device, Tier};

/// A `journalctl` that writes down each sync that the helper asks journald for, and does what it is told. journald itself
/// says it to the kernel's log only, which a container has not.
const COUNTED: &str = "\
cp /usr/bin/journalctl /run/journalctl && mkdir -p /run/fleet/helper && cat > /run/counted <<'END'
#!/bin/sh
[ \"$1\" = --sync ] && echo sync >> /run/fleet/helper/syncs
exec /run/journalctl \"$@\"
END
chmod 0755 /run/counted && : > /run/fleet/helper/syncs && mount --bind /run/counted /usr/bin/journalctl";
const SYNC: &str = "systemctl show -P ActiveState fleet-journal-sync";

fn syncs(device: &mut Device) -> Result<u64> {
    Ok(device.run("wc -l < /run/fleet/helper/syncs")?.text().parse()?)
}

/// State and value of the key in the report.
fn state(device: &mut Device) -> Result<String> {
    let text = device.run("cat /run/fleet/config/report.json")?.text();
    let report: serde_json::Value = serde_json::from_str(&text)?;
    let rows = report["keys"].as_array().cloned().unwrap_or_default();
    let mut rows = rows.iter().filter(|row| row["key"] == "os.journal.syncLevel");
    let row = rows.next().cloned().unwrap_or_default();
    let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
    Ok(format!("{} {} {}", text("state"), text("value"), text("detail"))
        .trim()
        .to_owned())
}

#[test]
fn an_error_is_synced_while_the_key_asks_for_it() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn)
        .config_text(r#"{"persistentLogging": true}"#)
        .start()?;
    device.run(COUNTED)?.succeeds()?;
    device.run(SYNC)?.says("inactive")?;
    ensure!(state(&mut device)? == r#"applied "crit" not set; this is the default"#);
    let error = "echo bad | systemd-cat -t trouble -p err; sleep 3";
    let before = syncs(&mut device)?;
    device.run(error)?.succeeds()?;
    ensure!(syncs(&mut device)? == before, "synced without the key");

    device
        .run("fleet config set os.journal.syncLevel err")?
        .succeeds()?;
    device.run(SYNC)?.says("active")?;
    ensure!(
        state(&mut device)? == r#"applied "err""#,
        "{}",
        state(&mut device)?
    );
    // The newest error is from before: synced once at the start.
    std::thread::sleep(Duration::from_secs(2));
    let run = "systemctl show -P InvocationID fleet-journal-sync";
    let first = device.run(run)?.text();
    let before = syncs(&mut device)?;
    device.run(error)?.succeeds()?;
    let after = syncs(&mut device)?;
    ensure!(after == before + 1, "{before} and then {after} syncs");
    device
        .run("for i in $(seq 200); do echo fine; done | systemd-cat -t calm -p warning; sleep 2")?
        .succeeds()?;
    ensure!(syncs(&mut device)? == after, "synced at a warning");

    // Many errors: one sync a second, and the last one is not left out.
    let storm = "for i in $(seq 50); do echo bad; sleep 0.1; done | systemd-cat -t storm -p err; sleep 2.5";
    device.run(storm)?.succeeds()?;
    let of_the_storm = syncs(&mut device)? - after;
    ensure!(
        (2..=9).contains(&of_the_storm),
        "{of_the_storm} syncs for five seconds of errors"
    );

    // In RAM there is nothing to sync, and back on the disk it goes on.
    device.run("fleet journal volatile")?.succeeds()?;
    let before = syncs(&mut device)?;
    device.run(error)?.succeeds()?;
    ensure!(syncs(&mut device)? == before, "synced a journal in RAM");
    device.run("fleet journal persist")?.succeeds()?;
    device.run(error)?.succeeds()?;
    ensure!(syncs(&mut device)? > before);

    // The same value touches nothing; killed, it comes again; whoever it is, it may do this one thing.
    device
        .run("fleet config set os.journal.syncLevel err")?
        .succeeds()?;
    device.run(run)?.says(&first)?;
    device
        .run("systemctl kill -s KILL fleet-journal-sync")?
        .succeeds()?;
    device.soon(Duration::from_secs(20), SYNC, "active")?;
    let helper = "setpriv --reuid=fleet-journal-sync --regid=fleet-journal-sync --init-groups \
                  busctl call org.fleetos.Helper1 /org/fleetos/Helper1 org.fleetos.Helper1";
    device.run(&format!("{helper} SyncJournal"))?.succeeds()?;
    for verb in ["FlushJournal", "RelinquishJournal", "SetJournalSync b false"] {
        device
            .run(&format!("{helper} {verb}"))?
            .fails()?
            .complains("only root and the service")?;
    }
    device
        .run("systemd-analyze security --no-pager --threshold=15 fleet-journal-sync")?
        .succeeds()?;

    device.reboot()?;
    device.run(SYNC)?.says("active")?;
    ensure!(state(&mut device)? == r#"applied "err""#);
    device
        .run("fleet config unset os.journal.syncLevel")?
        .succeeds()?;
    device.run(SYNC)?.says("inactive")?;
    device.run("pgrep journalctl | wc -l")?.says("0")?;
    ensure!(state(&mut device)? == r#"applied "crit" not set; this is the default"#);
    device.run("systemctl --failed --no-legend")?.says("")?;
    Ok(())
}

#[test]
fn what_cannot_sync_is_refused_with_the_reason() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).config_text("{}").start()?;
    // Without journalctl it cannot start.
    device
        .run("mount --bind /dev/null /usr/bin/journalctl")?
        .succeeds()?;
    device.run("fleet config set os.journal.syncLevel err")?.fails()?;
    let refused = state(&mut device)?;
    ensure!(
        refused.starts_with("refused") && refused.contains("fleet-journal-sync.service"),
        "{refused}"
    );
    // It is tried again, and so is what systemd starts.
    device.run("umount /usr/bin/journalctl")?.succeeds()?;
    device.soon(Duration::from_secs(20), SYNC, "active")?;
    device.soon(
        Duration::from_secs(60),
        "grep -o '\"key\":\"os.journal.syncLevel\",\"state\":\"[a-z]*\"' /run/fleet/config/report.json | cut -d'\"' -f8",
        "applied",
    )?;
    ensure!(state(&mut device)? == r#"applied "err""#);
    Ok(())
}
