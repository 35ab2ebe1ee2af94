//! A disk image as a power cut leaves it: written to from a recording, a partition at a time taken out and read without
//! mounting anything, so without a loop device.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::write_log::{Entry, WriteLog};

/// What is looked at for zeros when a partition is copied: a block of most file systems.
const BLOCK: usize = 4096;
const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// A range of a disk in a file of its own: a partition, or all of it.
#[derive(Debug)]
pub struct Image {
    file: File,
    path: PathBuf,
    /// Where the range begins on the disk, in bytes.
    start: u64,
    /// How long it is, in bytes.
    size: u64,
}

impl Image {
    /// Copies a range of a raw disk, in bytes, to the file `path`, with holes where there are zeros.
    pub fn of(disk: &Path, start: u64, size: u64, path: &Path) -> Result<Self> {
        let failed = || format!("cannot copy {} to {}", disk.display(), path.display());
        let from = File::open(disk).with_context(failed)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .with_context(failed)?;
        file.set_len(size).with_context(failed)?;
        let mut block = vec![0; BLOCK];
        let mut at = 0;
        while at < size {
            let part = &mut block[..usize::try_from((size - at).min(BLOCK as u64))?];
            from.read_exact_at(part, start + at).with_context(failed)?;
            if *part != ZEROS[..part.len()] {
                file.write_all_at(part, at).with_context(failed)?;
            }
            at += part.len() as u64;
        }
        Ok(Self {
            file,
            path: path.to_owned(),
            start,
            size,
        })
    }

    /// Takes over a raw image of a whole disk.
    pub fn whole(path: &Path) -> Result<Self> {
        Self::part(path, 0)
    }

    /// Takes over a raw image of a range that begins at `start` on the disk, in bytes.
    pub fn part(path: &Path, start: u64) -> Result<Self> {
        let opened = OpenOptions::new().read(true).write(true).open(path);
        let file = opened.with_context(|| format!("cannot open {}", path.display()))?;
        let size = file.metadata()?.len();
        Ok(Self {
            file,
            path: path.to_owned(),
            start,
            size,
        })
    }

    /// Whether an entry changes something here.
    #[must_use]
    pub const fn is_touched(&self, entry: &Entry) -> bool {
        !entry.is_discard && entry.touches(self.start, self.size)
    }

    /// Does what the entry did to this range. A discard does nothing: what was there may stay there.
    pub fn apply(&self, log: &WriteLog, entry: &Entry) -> Result<()> {
        if !self.is_touched(entry) {
            return Ok(());
        }
        let data = log.data(entry)?;
        let from = entry.offset.max(self.start);
        let to = (entry.offset + entry.length).min(self.start + self.size);
        let data = &data[usize::try_from(from - entry.offset)?..usize::try_from(to - entry.offset)?];
        let written = self.file.write_all_at(data, from - self.start);
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Copies it, with its holes.
    pub fn copy(&self, to: &Path) -> Result<()> {
        let mut copy = Command::new("cp");
        copy.arg("--sparse=auto").arg(&self.path).arg(to);
        run(copy, &[0]).map(drop)
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Repairs an ext4 file system as a device does before it mounts it (e2fsck(8)): the journal is replayed, everything is
/// checked. Returns what had to be repaired beyond that.
pub fn repair_ext4(partition: &Path) -> Result<Vec<String>> {
    let mut check = Command::new("e2fsck");
    check.args(["-f", "-y"]).arg(partition);
    // 1: errors were corrected.
    let (_, text) = run(check, &[0, 1])?;
    // Not in the journal: the kernel counts anew at each mount.
    let counted = ["Free blocks count wrong", "Free inodes count wrong"];
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines
        .windows(2)
        .filter(|pair| pair[1].ends_with("? yes") && !counted.iter().any(|start| pair[0].starts_with(start)))
        .map(|pair| pair[0].to_owned())
        .collect())
}

/// Writes a folder of an ext4 file system out to `to`, which must not exist yet; false if the file system has none.
pub fn dump_ext4(partition: &Path, folder: &str, to: &Path) -> Result<bool> {
    fs::create_dir(to).with_context(|| format!("cannot create {}", to.display()))?;
    let mut dump = Command::new("debugfs");
    dump.arg("-R")
        .arg(format!("rdump {folder} {}", to.display()))
        .arg(partition);
    // debugfs(8) says what is wrong and exits with 0 all the same.
    let (_, text) = run(dump, &[0])?;
    if text.contains("File not found") {
        return Ok(false);
    }
    let wrong = text
        .lines()
        .find(|line| !line.starts_with("debugfs ") && !line.contains("while changing ownership"));
    match wrong {
        Some(wrong) => bail!("debugfs cannot read {folder}: {wrong}"),
        None => Ok(true),
    }
}

/// What a file of a FAT file system holds after a cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FatFile {
    /// These bytes.
    Bytes(Vec<u8>),
    /// There is no such file.
    Absent,
    /// The file system or the file cannot be read.
    Damaged(String),
}

/// Reads a file of a FAT file system as it is, unrepaired, as a device does that mounts it without a check.
pub fn read_fat(partition: &Path, path: &str) -> FatFile {
    let output = Command::new("mtype")
        .arg("-i")
        .arg(partition)
        .arg(format!("::{path}"))
        .env("MTOOLS_SKIP_CHECK", "1")
        .output();
    match output {
        Ok(output) if output.status.success() => FatFile::Bytes(output.stdout),
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            if why.contains("not found") {
                FatFile::Absent
            } else {
                FatFile::Damaged(why)
            }
        }
        Err(error) => FatFile::Damaged(format!("cannot start mtype (package mtools): {error}")),
    }
}

/// What fsck.fat(8) finds wrong with a FAT file system beyond its dirty flag; nothing is written.
pub fn check_fat(partition: &Path) -> Result<Vec<String>> {
    let mut check = Command::new("fsck.vfat");
    check.arg("-n").arg(partition);
    let (_, text) = run(check, &[0, 1])?;
    let harmless = [
        "fsck.fat ",
        "Dirty bit",
        "Fs was not properly",
        "65:01/00",
        "There are differences between boot sector and its backup",
        "This is mostly harmless",
        "Differences:",
        "Leaving filesystem unchanged",
        "Free cluster summary wrong",
        "Auto-correcting.",
        "Automatically removing dirty bit",
        "Not automatically fixing",
    ];
    Ok(text
        .lines()
        .filter(|line| !harmless.iter().any(|start| line.trim_start().starts_with(start)))
        .filter(|line| !line.contains(" clusters") && !line.trim().is_empty())
        .map(str::to_owned)
        .collect())
}

/// Runs a tool of the host; returns its exit code and everything that it said.
fn run(mut command: Command, good: &[i32]) -> Result<(i32, String)> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot start {name}: run `cargo xtask setup`"))?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    let code = output.status.code().unwrap_or(-1);
    ensure!(
        good.contains(&code),
        "{name} failed ({}): {}",
        output.status,
        text.trim()
    );
    Ok((code, text))
}
