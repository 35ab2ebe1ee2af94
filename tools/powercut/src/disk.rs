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

/// A raw image that is written to as the disk was.
#[derive(Debug)]
pub struct Image {
    file: File,
    path: PathBuf,
}

impl Image {
    /// Opens it.
    pub fn open(path: &Path) -> Result<Self> {
        let opened = OpenOptions::new().read(true).write(true).open(path);
        Ok(Self {
            file: opened.with_context(|| format!("cannot open {}", path.display()))?,
            path: path.to_owned(),
        })
    }

    /// Does what the entry did to the disk. A discard does nothing: what was there may stay there.
    pub fn apply(&self, log: &WriteLog, entry: &Entry) -> Result<()> {
        let data = log.data(entry)?;
        let written = self.file.write_all_at(&data, entry.offset);
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Copies a range, in bytes, to a file of its own, with holes where there are zeros.
    pub fn cut_out(&self, start: u64, size: u64, to: &Path) -> Result<()> {
        let copy = File::create(to).with_context(|| format!("cannot create {}", to.display()))?;
        copy.set_len(size)?;
        let mut buffer = vec![0; 1 << 20];
        let mut at = 0;
        while at < size {
            let part = usize::try_from((size - at).min(1 << 20))?;
            self.file
                .read_exact_at(&mut buffer[..part], start + at)
                .with_context(|| format!("cannot read {}", self.path.display()))?;
            for block in buffer[..part].chunks(BLOCK) {
                if block.iter().any(|byte| *byte != 0) {
                    copy.write_all_at(block, at)?;
                }
                at += u64::try_from(block.len())?;
            }
        }
        Ok(())
    }

    /// Copies the whole image, with its holes.
    pub fn snapshot(&self, to: &Path) -> Result<()> {
        let mut copy = Command::new("cp");
        copy.args(["--sparse=always", "--reflink=auto"])
            .arg(&self.path)
            .arg(to);
        run(copy, &[0]).map(drop)
    }
}

/// Repairs an ext4 file system as a device does before it mounts it (e2fsck(8)): the journal is replayed, everything is
/// checked. Returns whether something had to be repaired beyond that.
pub fn repair_ext4(partition: &Path) -> Result<bool> {
    let mut check = Command::new("e2fsck");
    check.args(["-f", "-y"]).arg(partition);
    // 1: errors were corrected. The replay of the journal alone is no error.
    let (code, text) = run(check, &[0, 1])?;
    Ok(code == 1 && text.contains("Fix"))
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
        "There are differences between boot sector and its backup",
        "This is mostly harmless",
        "Differences:",
        "Leaving filesystem unchanged",
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
