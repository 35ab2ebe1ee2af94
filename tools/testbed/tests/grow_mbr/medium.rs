//! A disk as wic lays it out by meta-fleet's fleet-mbr.wks.in, with the parts of the reference image.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use testbed::Reference;

pub const MIB: u64 = 1 << 20;
const SECTOR: u64 = 512;
/// The medium of a run: larger than the image.
pub const SIZE: u64 = 2048 * MIB;
/// Of the image.
const IMAGE: u64 = 1300 * MIB;
/// Name of the partition in the reference image, where it is here, and its MBR type. State and data begin on 4 MiB
/// (`--align 4096`), with room before them for the sectors that make them logical.
const PARTITIONS: [(&str, u64, &str); 5] = [
    ("fleet-boot", 12 * MIB, "c, bootable"),
    ("fleet-root-a", 76 * MIB, "83"),
    ("fleet-root-b", 588 * MIB, "83"),
    ("fleet-state", 1104 * MIB, "83"),
    ("fleet-data", 1172 * MIB, "83"),
];
/// wic begins the extended partition two sectors before the first one in it.
const EXTENDED: u64 = 1104 * MIB - 2 * SECTOR;

/// A folder that goes with the value.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("fleet-grow-mbr-{}", std::process::id()));
        fs::create_dir(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Self(folder))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Makes the image. The entries of the reference image's GPT stay where they are, before the first partition, without a
/// header: the kernel sees an MBR disk, and the reference image's initial RAM disk, which looks there for the root,
/// finds it all the same. A board's kernel needs neither.
pub fn make(reference: &Reference, to: &Path) -> Result<()> {
    let disk = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(to)
        .with_context(|| format!("cannot create {}", to.display()))?;
    disk.set_len(IMAGE)?;
    copy(reference, 0, MIB, to, 0)?;
    disk.write_all_at(&[0; 1024], 0)?;
    let mut script = String::from("label: dos\nunit: sectors\n");
    for (name, place, kind) in PARTITIONS {
        let (start, size) = reference.partition(name)?;
        copy(reference, start, size, to, place)?;
        if name == "fleet-state" {
            let size = IMAGE - EXTENDED;
            script += &format!("start={}, size={}, type=f\n", EXTENDED / SECTOR, size / SECTOR);
        }
        script += &format!("start={}, size={}, type={kind}\n", place / SECTOR, size / SECTOR);
    }
    sfdisk(&["--quiet", "--wipe", "never"], to, &script).map(drop)
}

/// Copies a part of the reference disk, holes as holes.
fn copy(reference: &Reference, start: u64, size: u64, to: &Path, place: u64) -> Result<()> {
    let status = Command::new("dd")
        .arg(format!("if={}", reference.disk().display()))
        .arg(format!("of={}", to.display()))
        .args([
            format!("skip={}", start / MIB),
            format!("seek={}", place / MIB),
            format!("count={}", size / MIB),
        ])
        .args(["bs=1M", "conv=notrunc,sparse", "status=none"])
        .status()
        .context("cannot start dd")?;
    ensure!(status.success(), "dd failed: {status}");
    Ok(())
}

/// A partition table, as libfdisk reads it: start, size and type of each partition, in bytes.
#[derive(Debug)]
pub struct Table(Vec<(u64, u64, String)>);

impl Table {
    pub fn read(disk: &Path) -> Result<Self> {
        let text = sfdisk(&["--json"], disk, "")?;
        let value: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
        let table = &value["partitiontable"];
        ensure!(table["label"] == "dos", "{text}");
        let partitions = table["partitions"].as_array().context("no partitions")?;
        let part = |partition: &Value, name: &str| partition[name].as_u64().unwrap_or_default() * SECTOR;
        let read = |one: &Value| {
            let kind = one["type"].as_str().unwrap_or_default().to_owned();
            (part(one, "start"), part(one, "size"), kind)
        };
        Ok(Self(partitions.iter().map(read).collect()))
    }

    /// Start and size of the data partition.
    pub fn data(&self) -> (u64, u64) {
        self.0.get(5).map_or((0, 0), |data| (data.0, data.1))
    }

    /// Where the extended partition ends.
    pub fn extended_end(&self) -> u64 {
        let extended = self.0.iter().find(|one| one.2 == "f");
        extended.map_or(0, |one| one.0 + one.1)
    }

    /// Six partitions, of which all but the data partition are where they always are, and the logical ones are within the
    /// extended one.
    pub fn is_whole(&self) -> bool {
        let expected = [PARTITIONS[0].1, PARTITIONS[1].1, PARTITIONS[2].1, EXTENDED];
        let expected = expected.into_iter().chain([PARTITIONS[3].1, PARTITIONS[4].1]);
        self.0.iter().map(|one| one.0).eq(expected)
            && self.0[4..]
                .iter()
                .all(|one| one.0 > EXTENDED && one.0 + one.1 <= self.extended_end())
    }

    /// What is before and between the partitions, where the table is: from where to where.
    pub fn gaps(&self) -> Vec<(u64, u64)> {
        let mut gaps = Vec::new();
        let mut end = 0;
        for (start, size, _) in self.0.iter().filter(|one| one.2 != "f") {
            if *start > end {
                gaps.push((end, *start));
            }
            end = start + size;
        }
        gaps
    }
}

fn sfdisk(arguments: &[&str], disk: &Path, input: &str) -> Result<String> {
    let mut child = Command::new("/usr/sbin/sfdisk")
        .args(arguments)
        .arg(disk)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start sfdisk: run `cargo xtask setup`")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "sfdisk failed ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8(output.stdout)?)
}
