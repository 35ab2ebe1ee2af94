//! The limit of the journal: what it takes, looked at many times a second while services log as fast as journald takes it.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testbed::{Device, Tier};

const MIB: u64 = 1 << 20;
/// How often it is looked, at most: it takes a fraction of this.
const PAUSE: Duration = Duration::from_micros(500);
/// Where the product puts the limits.
const RENDERED: &str = "/run/systemd/journald.conf.d/60-fleet.conf";

/// Looks at a folder in a thread of its own, from now on.
struct Watched {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Peak>,
}

/// What was seen.
struct Peak {
    bytes: u64,
    looks: u64,
    files: usize,
}

impl Watched {
    fn begin(folder: PathBuf) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&ends);
        let thread = std::thread::spawn(move || {
            let mut peak = Peak {
                bytes: 0,
                looks: 0,
                files: 0,
            };
            while !until.load(Ordering::Relaxed) {
                let seen = look(&folder);
                // A look takes a moment, in which a file may go and another one grow: only what two looks agree on was there.
                if seen == look(&folder) {
                    peak.bytes = peak.bytes.max(seen.values().sum());
                    peak.files = peak.files.max(seen.len());
                    peak.looks += 1;
                }
                std::thread::sleep(PAUSE);
            }
            peak
        });
        Self { ends, thread }
    }

    fn end(self) -> Result<Peak> {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().ok().context("the looking thread has panicked")
    }
}

/// What each file and folder takes, by its number: one that is renamed meanwhile counts once.
fn look(folder: &Path) -> BTreeMap<u64, u64> {
    let mut taken = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            }
            taken.insert(metadata.ino(), metadata.blocks() * 512);
        }
    }
    taken
}

/// Logs so many MiB as fast as journald takes them, half of it as a user of its own. Lines of 4 KB that do not compress.
fn log(device: &mut Device, mib: u64) -> Result<()> {
    let writer = |unit: &str, user: &str| {
        format!(
            "systemd-run --quiet --wait --collect --unit={unit} --uid={user} -p LogRateLimitIntervalSec=0 \
             sh -c 'head -c {} /dev/urandom | base64 -w 4000'",
            mib * MIB * 3 / 8
        )
    };
    // The number of a person's user, whose lines journald would keep apart.
    let script = format!(
        "{} & {}; wait; journalctl --sync",
        writer("mine", "0"),
        writer("theirs", "1000")
    );
    device.run(&script)?.succeeds().map(drop)
}

/// A device with this limit and without a limit of the rate, its journal in RAM.
fn device(max_use: u64) -> Result<Device> {
    let mut device = Device::boot(Tier::Nspawn)
        .config_text(format!(
            r#"{{"os": {{"journal": {{"maxUse": {max_use}, "keepFree": "1M", "rateLimit": {{"interval": 0, "burst": 0}}}}}}}}"#
        ))
        .start()?;
    // journald reads the limits when it starts.
    device.reboot()?;
    Ok(device)
}

/// Makes the journal persistent, logs `mib`, and returns what the journal took at most.
fn peak(device: &mut Device, mib: u64) -> Result<Peak> {
    let folder = device.own_run().directory().join("data/journal");
    ensure!(folder.is_dir(), "{} is not there", folder.display());
    // RAM has more than the smallest limit takes: the flush has to remove of its own.
    log(device, 16)?;
    let watched = Watched::begin(folder);
    device.run("fleet journal persist")?.succeeds()?;
    let logged = log(device, mib);
    let peak = watched.end()?;
    logged?;
    Ok(peak)
}

#[test]
fn the_limit_holds_at_any_moment() -> Result<()> {
    for (max_use, mib) in [(8 * MIB, 64), (50_000_000, 160), (128 * MIB, 300)] {
        let mut device = device(max_use)?;
        let peak = peak(&mut device, mib)?;
        println!(
            "limit {max_use}: at most {} bytes ({:.3} of it) in {} files, {} looks",
            peak.bytes,
            ratio(peak.bytes, max_use),
            peak.files,
            peak.looks
        );
        ensure!(peak.looks > 1000, "only {} looks", peak.looks);
        ensure!(
            peak.bytes <= max_use,
            "{} bytes were taken with a limit of {max_use}",
            peak.bytes
        );
        // It is used, too, and not just respected.
        ensure!(
            peak.bytes * 10 > max_use * 7,
            "only {} bytes of {max_use} were used",
            peak.bytes
        );
        device
            .run("journalctl --verify --quiet 2>&1 | grep FAIL | wc -l")?
            .says("0")?;
        device
            .run("ls /var/log/journal/*/ | grep ^user- | wc -l")?
            .says("0")?;
        device
            .run("systemctl show -P NRestarts systemd-journald")?
            .says("0")?;
    }
    Ok(())
}

#[test]
fn the_limit_holds_when_files_are_not_closed() -> Result<()> {
    let max_use = 8 * MIB;
    let mut device = device(max_use)?;
    // Each kill leaves a file behind that is put aside as it is, beside the next one.
    device
        .run("systemd-run --quiet --unit=killer sh -c 'for i in 1 2 3; do sleep 4; systemctl kill -s KILL systemd-journald; done'")?
        .succeeds()?;
    let peak = peak(&mut device, 192)?;
    device
        .run("while systemctl is-active -q killer; do sleep 0.2; done")?
        .succeeds()?;
    println!(
        "limit {max_use}, journald killed: at most {} bytes ({:.3} of it), {} looks",
        peak.bytes,
        ratio(peak.bytes, max_use),
        peak.looks
    );
    device
        .run("systemctl show -P NRestarts systemd-journald")?
        .says("3")?;
    ensure!(
        peak.bytes <= max_use,
        "{} bytes were taken with a limit of {max_use}",
        peak.bytes
    );
    Ok(())
}

#[test]
fn what_journald_is_told_alone_does_not_hold() -> Result<()> {
    let max_use = 8 * MIB;
    let mut device = device(max_use)?;
    // As it was rendered once: the limit as it is, and journald's own file size and files a user.
    let plain = format!(
        "[Journal]\\nSystemMaxUse={max_use}\\nSystemKeepFree=1M\\nSplitMode=uid\\nRateLimitBurst=0\\n"
    );
    device
        .run(&format!(
            "rm {RENDERED} && printf '{plain}' > /run/systemd/journald.conf.d/70-plain.conf && systemctl restart systemd-journald"
        ))?
        .succeeds()?;
    let peak = peak(&mut device, 64)?;
    println!(
        "plain journald, limit {max_use}: {} bytes ({:.3} of it)",
        peak.bytes,
        ratio(peak.bytes, max_use)
    );
    ensure!(
        peak.bytes > max_use,
        "{} bytes: journald keeps to its limit by itself now, and ours need not be lower",
        peak.bytes
    );
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "to be shown")]
fn ratio(bytes: u64, limit: u64) -> f64 {
    bytes as f64 / limit as f64
}

#[test]
fn what_is_asked_for_is_there_for_the_journals_service() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn)
        .config_text(r#"{"os": {"journal": {"maxUse": "24M", "retention": 86400}}}"#)
        .start()?;
    let read = "setpriv --reuid=fleet-journal --regid=fleet-journal --init-groups cat /run/fleet/config/journald.conf";
    let section = format!("{read} | sed -n '/X-Fleet/,$p'");
    let wanted = "[X-Fleet]\nMaxUse=25165824\nKeepFree=67108864\nRetention=86400";
    device.run(&section)?.says(wanted)?;
    device
        .run("stat -c %a /run/fleet/config/journald.conf")?
        .says("644")?;
    // systemd's parser leaves the section alone, and says nothing of it.
    device.reboot()?;
    device.run(&section)?.says(wanted)?;
    device
        .run("journalctl -b --no-pager | grep 'X-Fleet\\|journald.conf.d' | wc -l")?
        .says("0")?;
    device
        .run(&format!("readlink {RENDERED}"))?
        .says("/run/fleet/config/journald.conf")?;
    // Retention goes by file: no file is written longer than an eighth of it.
    device
        .run(&format!("{read} | grep MaxFileSec"))?
        .says("MaxFileSec=10800")?;

    // Absurd ones are refused with the rule, each by itself.
    for (key, value, rule) in [
        ("maxUse", "\"7M\"", "8M to 64G were expected"),
        ("maxUse", "\"1T\"", "8M to 64G were expected"),
        ("keepFree", "0", "1M to 64G were expected"),
        ("retention", "60", "0 (no limit) or 3600"),
        ("syncInterval", "0", "1 to 3600 seconds were expected"),
        ("syncInterval", "-1", "1 to 3600 seconds were expected"),
        ("syncLevel", "\"debug\"", "\"crit\" or \"err\" was expected"),
    ] {
        device
            .run(&format!("fleet config set os.journal.{key} -- '{value}'"))?
            .fails()?
            .complains(rule)?;
    }
    device.run(&section)?.says(wanted)?;
    Ok(())
}

#[test]
fn the_product_sets_the_limits_that_the_device_does_not() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn)
        .config_text(r#"{"os": {"journal": {"maxUse": "24M"}}}"#)
        .start()?;
    let number = |name: &str| format!("sed -n 's/^{name}=//p' /run/fleet/config/journald.conf");
    device.run(&number("MaxUse"))?.says("25165824")?;
    device.run("fleet config unset os.journal.maxUse")?.succeeds()?;
    device.run(&number("MaxUse"))?.says("134217728")?;
    device.run(&number("KeepFree"))?.says("67108864")?;
    device.run(&number("SyncIntervalSec"))?.says("300")?;
    device
        .run("systemd-analyze cat-config systemd/journald.conf | grep -c ^SystemMaxUse=")?
        .says("1")?;
    Ok(())
}
