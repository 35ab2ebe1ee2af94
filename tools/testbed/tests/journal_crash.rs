//! What a power cut costs of a journal on the disk. One machine, three cuts.
//!
//! A killed QEMU loses what the guest has not flushed, as a disk with a volatile cache does (`testbed::qemu`).

#![cfg(feature = "long")]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testbed::{Device, Tier};

/// Seconds.
const INTERVAL: u64 = 10;
/// What an emulated machine on a busy host takes for a sync, in seconds.
const SLACK: u64 = 8;

/// A line with this text and priority.
fn log(text: &str, priority: &str) -> String {
    format!("echo '{text}' | systemd-cat -t crash -p {priority}")
}

/// Time for a sync that began with a line: seconds, on an emulated machine on a busy host. Less than the 30 s after which the
/// kernel writes by itself what nobody synced.
const SYNC: Duration = Duration::from_secs(15);

/// Waits until the line is stored, and for its sync.
fn give_time_to_sync(device: &mut Device, text: &str) -> Result<()> {
    let stored = format!("journalctl -b -q --no-pager -o cat | grep '{text}$' | wc -l");
    device.soon(Duration::from_secs(60), &stored, "1")?;
    std::thread::sleep(SYNC);
    Ok(())
}

/// Whether the boot before this one has the line.
fn is_kept(device: &mut Device, text: &str) -> Result<bool> {
    let count = device
        .run(&format!(
            "journalctl -b -1 -q --no-pager -o cat | grep '{text}$' | wc -l"
        ))?
        .text();
    match count.as_str() {
        "0" => Ok(false),
        "1" => Ok(true),
        other => anyhow::bail!("{text}: {other:?} times"),
    }
}

/// Whether each line is there or gone, as the table says.
fn expect(device: &mut Device, lines: &[(&str, bool)]) -> Result<()> {
    for (text, wanted) in lines {
        ensure!(
            is_kept(device, text)? == *wanted,
            "{text} is {}",
            if *wanted {
                "lost"
            } else {
                "there: the cut lost nothing"
            }
        );
    }
    Ok(())
}

/// The journal is whole, read without complaints, and written on.
fn goes_on(device: &mut Device) -> Result<()> {
    device
        .run("fleet journal status --json")?
        .mentions(r#""mode": "persistent""#)?;
    device
        .run("logger still-logging; journalctl --sync; journalctl -b -q --no-pager -o cat | grep -c ^still-logging$")?
        .says("1")?;
    // What is closed is whole; one that is written to meanwhile cannot be judged.
    device
        .run("journalctl --rotate && sleep 3 && journalctl --verify --quiet --file='/var/log/journal/*/system@*.journal'")?
        .succeeds()?;
    // What was cut is put aside by its name, and read all the same.
    device
        .run("journalctl -q --no-pager -o cat > /dev/null 2> /run/complaints; cat /run/complaints")?
        .says("")?;
    device.run("systemctl is-system-running")?.says("running")?;
    Ok(())
}

#[test]
fn a_cut_costs_the_sync_interval_and_nothing_that_is_synced_at_once() -> Result<()> {
    let config =
        format!(r#"{{"persistentLogging": true, "os": {{"journal": {{"syncInterval": {INTERVAL}}}}}}}"#);
    let mut device = Device::boot(Tier::Qemu)
        .direct_kernel("")
        .config_text(config)
        .start()?;
    let begun = std::time::Instant::now();

    // Critical at once, with all that was logged before it; an error not, without the key. This boot still has the
    // product's interval of five minutes.
    device.run("journalctl --sync")?.succeeds()?;
    device.run(&log("said-before", "info"))?.succeeds()?;
    device.run(&log("critical", "crit"))?.succeeds()?;
    give_time_to_sync(&mut device, "critical")?;
    device.run(&log("said-after", "info"))?.succeeds()?;
    device.run(&log("error-without-the-key", "err"))?.succeeds()?;
    std::thread::sleep(Duration::from_secs(1));
    device.cut()?;
    expect(
        &mut device,
        &[
            ("said-before", true),
            ("critical", true),
            ("said-after", false),
            ("error-without-the-key", false),
        ],
    )?;
    goes_on(&mut device)?;

    // Now the interval holds. Lines come all the time, each with the time since the start of the machine.
    device
        .run("systemd-analyze cat-config systemd/journald.conf | grep ^SyncIntervalSec=")?
        .says(&format!("SyncIntervalSec={INTERVAL}"))?;
    device
        .run("systemd-run --quiet --unit=ticks sh -c 'while read up rest </proc/uptime; do echo tick $up; sleep 0.5; done'")?
        .succeeds()?;
    // From the next boot on it is five minutes again.
    device
        .run("fleet config unset os.journal.syncInterval")?
        .succeeds()?;
    // Neither a multiple of the interval nor just after a sync.
    std::thread::sleep(Duration::from_secs(3 * INTERVAL + INTERVAL / 2));
    let at_the_cut = seconds(&device.run("cut -d' ' -f1 /proc/uptime")?.text())?;
    device.cut()?;
    let last = device
        .run("journalctl -b -1 -u ticks -q --no-pager -o cat | sed -n 's/^tick //p' | tail -1")?
        .text();
    let missing = at_the_cut - seconds(&last)?;
    let bound = Duration::from_secs(INTERVAL + SLACK).as_secs_f64();
    println!("missing after a cut with an interval of {INTERVAL} s: {missing:.1} s");
    ensure!(
        missing <= bound,
        "the last line is {missing:.1} s older than the cut: more than {bound} s"
    );
    goes_on(&mut device)?;

    // With the key an error too, live; one of the kernel's as well.
    let sync = "systemctl show -P ActiveState fleet-journal-sync";
    device.run(sync)?.says("inactive")?;
    device
        .run("fleet config set os.journal.syncLevel err")?
        .succeeds()?;
    device.run(sync)?.says("active")?;
    device.run(&log("error-with-the-key", "err"))?.succeeds()?;
    give_time_to_sync(&mut device, "error-with-the-key")?;
    device.run(&log("said-before-the-kernel", "info"))?.succeeds()?;
    device.run("echo '<3>kernel-error' > /dev/kmsg")?.succeeds()?;
    give_time_to_sync(&mut device, "kernel-error")?;
    device.run(&log("said-last", "info"))?.succeeds()?;
    std::thread::sleep(Duration::from_secs(1));
    device.cut()?;
    expect(
        &mut device,
        &[
            ("error-with-the-key", true),
            ("said-before-the-kernel", true),
            ("kernel-error", true),
            ("said-last", false),
        ],
    )?;
    goes_on(&mut device)?;
    device.soon(Duration::from_secs(120), sync, "active")?;
    device
        .run("fleet config unset os.journal.syncLevel")?
        .succeeds()?;
    device.run(sync)?.says("inactive")?;
    println!("three cuts in {:?}", begun.elapsed());
    Ok(())
}

fn seconds(text: &str) -> Result<f64> {
    text.trim()
        .parse()
        .with_context(|| format!("{text:?} is not a time"))
}
