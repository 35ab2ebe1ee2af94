//! Power cuts at the level of blocks: one machine's writes to its disk, and what each beginning of them leaves.

#![cfg(feature = "long")]

#[path = "power/changes.rs"]
mod changes;
#[path = "power/moment.rs"]
mod moment;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use changes::{CHANGES, Recorded, record};
use moment::{Boot, Found, Replay};
use powercut::disk::Image;
use testbed::{Device, Tier};

/// So many moments of the recording are looked at, at least.
const ENOUGH: usize = 200;

#[test]
fn no_cut_between_two_blocks_loses_or_mixes_the_configuration() -> Result<()> {
    let begun = Instant::now();
    let folder = Scratch::new()?;
    let recorded = record(&folder.0)?;
    println!(
        "recorded {} changes, {} requests to the disk ({:?})",
        CHANGES.len(),
        recorded.log.entries.len(),
        begun.elapsed()
    );

    // Every moment, on the host.
    let mut replay = Replay::new(&recorded, &folder.0)?;
    let found = replay.run()?;
    println!("{} ({:?})", replay.count, begun.elapsed());
    ensure!(
        replay.count.moments >= ENOUGH,
        "only {} moments were looked at",
        replay.count.moments
    );

    // Three of them, booted: between two changes, between store and export, and with a FAT as bad as it gets.
    let chosen = choose(&found)?;
    // One after the other: side by side, two cores do not keep the services' time limits.
    for moment in chosen {
        let disk = disk(&recorded, moment, &folder.0)?;
        comes_online(moment, &disk)?;
        std::fs::remove_file(disk)?;
    }
    println!("three of them booted ({:?})", begun.elapsed());
    Ok(())
}

/// A folder that goes with the value.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let memory = Path::new("/dev/shm");
        let above = if memory.is_dir() {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        let folder = above.join(format!("fleet-power-{}", std::process::id()));
        std::fs::create_dir(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The moments that are booted.
fn choose(found: &[Found]) -> Result<Vec<&Found>> {
    let middle = &found[found.len() / 2..];
    let between = middle.iter().find(|moment| moment.is_settled);
    let exporting = middle
        .iter()
        .find(|moment| !moment.is_settled && !moment.agrees && moment.boot == Boot::Document);
    let worst = found.iter().max_by_key(|moment| moment.fat_damage.len());
    [between, exporting, worst]
        .into_iter()
        .map(|moment| moment.context("the recording has no such moment"))
        .collect()
}

/// The whole disk at a moment.
fn disk(recorded: &Recorded, moment: &Found, folder: &Path) -> Result<PathBuf> {
    let path = folder.join(format!("disk-{}.img", moment.at));
    Image::whole(&recorded.first)?.copy(&path)?;
    let disk = Image::whole(&path)?;
    for entry in &recorded.log.entries[..=moment.at] {
        disk.apply(&recorded.log, entry)?;
    }
    Ok(path)
}

/// A device with this disk has the configuration of the moment, and takes changes again.
fn comes_online(moment: &Found, disk: &Path) -> Result<()> {
    let mut device = Device::boot(Tier::Qemu).direct_kernel("").disk(disk).start()?;
    let at = || {
        format!(
            "after a cut at request {}, with {:?}",
            moment.at, moment.fat_damage
        )
    };
    let hostname = serde_json::from_str::<serde_json::Value>(&moment.document)?["hostname"].clone();
    device
        .run("fleet connectivity --json")?
        .mentions(r#""status": "online""#)
        .with_context(at)?;
    device
        .run("fleet config get hostname")?
        .says(&hostname.to_string())
        .with_context(at)?;
    for name in ["after", "and-again"] {
        let set = format!("fleet config set hostname {name} >/dev/null && fleet config get hostname");
        device.run(&set)?.says(&format!("\"{name}\"")).with_context(at)?;
        // Also on a FAT in which two names led to the same clusters: fleet-preinit repairs it.
        device
            .run(&format!("grep -c {name} /boot/config.json"))?
            .says("1")
            .with_context(at)?;
    }
    device
        .run("systemctl is-system-running; journalctl -b -k -o cat --no-pager | grep -i fat-fs || true")?
        .succeeds()
        .map(|output| println!("{}: {}", at(), output.text().replace('\n', "; ")))
        .with_context(at)
}
