//! A disk with the layer's partitions and as little on them as a boot loader needs, and a machine that boots it until its
//! loader has said what it does.

// Each test uses a part of it.
#![allow(dead_code)]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// Where the two copies of the environment are, and how much of each a test looks at (docs/boot.md).
pub const COPIES: [u64; 2] = [4 << 20, 8 << 20];
pub const COPY_SIZE: usize = 0x1000;
/// Where the first partition begins.
pub const FIRST: u64 = 12 << 20;
const MIB: u64 = 1 << 20;
/// Emulated machines on a loaded host are slow.
const PATIENCE: Duration = Duration::from_secs(240);

/// Walks a table in two threads.
pub fn in_halves<Row: Sync>(table: &[Row], walk: fn(&[Row]) -> Result<()>) -> Result<()> {
    let (first, second) = table.split_at(table.len() / 2);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| walk(second));
        walk(first)?;
        other
            .join()
            .map_err(|_| anyhow::anyhow!("a thread of the test panicked"))?
    })
}

/// The folder of the recipe's templates.
pub fn templates() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../meta-fleet/recipes-bsp/fleet-boot/files")
}

/// A template of the recipe, filled in; every placeholder has to be named.
pub fn template(name: &str, values: &[(&str, &str)]) -> Result<String> {
    let mut text =
        fs::read_to_string(templates().join(name)).with_context(|| format!("cannot read {name}"))?;
    for (key, value) in values {
        text = text.replace(&format!("@{key}@"), value);
    }
    ensure!(
        !text
            .split('@')
            .skip(1)
            .step_by(2)
            .any(|word| word.chars().all(|c| c.is_ascii_uppercase())),
        "{name} has a placeholder that is not filled in"
    );
    Ok(text)
}

/// Runs a tool that has to succeed.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| {
        format!(
            "cannot run {}: `cargo xtask setup`",
            command.get_program().display()
        )
    })?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A folder of a test's own, removed with it.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("fleet-loader-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The GUID of slot A or B on the disks of [`make`].
pub fn guid(slot: char) -> &'static str {
    if slot == 'A' {
        "f1ee7000-d15c-4000-8000-000000000002"
    } else {
        "f1ee7000-d15c-4000-8000-000000000003"
    }
}

/// A GPT disk with `boot` copied onto its FAT partition, and in each of its two slots what the folder of the same place in
/// `slots` has; made with the features that the image has (fleet-image.bb).
pub fn make(folder: &Folder, disk: &Path, boot: &[PathBuf], slots: [&Path; 2], slot_mib: u64) -> Result<()> {
    let (fat, slot) = (4 * MIB, slot_mib * MIB);
    let file = File::create(disk)?;
    file.set_len(FIRST + fat + 2 * slot + MIB)?;
    let sectors = |start: u64, size: u64| format!("{}:{}", start / 512, (start + size) / 512 - 1);
    run(Command::new("sgdisk")
        .args(["--clear", "--set-alignment=2048"])
        .arg(format!("--new=1:{}", sectors(FIRST, fat)))
        .arg("--typecode=1:c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
        .arg(format!("--new=2:{}", sectors(FIRST + fat, slot)))
        .arg(format!("--partition-guid=2:{}", guid('A')))
        .arg(format!("--new=3:{}", sectors(FIRST + fat + slot, slot)))
        .arg(format!("--partition-guid=3:{}", guid('B')))
        .arg(disk))?;
    run(Command::new("/usr/sbin/mkfs.vfat")
        .arg(format!("--offset={}", FIRST / 512))
        .arg(disk)
        .arg((fat / 1024).to_string()))?;
    run(Command::new("mcopy")
        .arg("-s")
        .arg("-i")
        .arg(format!("{}@@{FIRST}", disk.display()))
        .args(boot)
        .arg("::/"))?;
    for (number, content) in (0..).zip(slots) {
        let made = folder.join("slot.ext4");
        let _ = fs::remove_file(&made);
        run(Command::new("mke2fs")
            .args(["-q", "-F", "-t", "ext4", "-i", "4096", "-b", "4096"])
            .args(["-O", "^has_journal,^metadata_csum_seed,^orphan_file", "-d"])
            .arg(content)
            .arg(&made)
            .arg(format!("{slot_mib}M")))?;
        run(Command::new("tune2fs").args(["-O", "read-only"]).arg(&made))?;
        file.write_all_at(&fs::read(&made)?, FIRST + fat + number * slot)?;
    }
    Ok(())
}

/// Both copies of the environment as they are on the disk.
pub fn environment(disk: &Path) -> Result<[Vec<u8>; 2]> {
    let file = File::open(disk)?;
    let mut copies = [vec![0; COPY_SIZE], vec![0; COPY_SIZE]];
    for (copy, at) in copies.iter_mut().zip(COPIES) {
        file.read_exact_at(copy, at)?;
    }
    Ok(copies)
}

/// Overwrites both copies.
pub fn set_environment(disk: &Path, copies: [&[u8]; 2]) -> Result<()> {
    let file = File::options().write(true).open(disk)?;
    for (copy, at) in copies.iter().zip(COPIES) {
        file.write_all_at(copy, at)?;
    }
    Ok(())
}

/// A running machine, ended with the value. What its serial line says comes in pieces.
pub struct Machine {
    qemu: Child,
    pieces: Receiver<Vec<u8>>,
    seen: String,
}

impl Machine {
    /// Starts QEMU, whose standard input and output are the serial line.
    pub fn start(command: &mut Command) -> Result<Self> {
        let mut qemu = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run QEMU: `cargo xtask setup`")?;
        let mut output = qemu.stdout.take().context("no serial line")?;
        let (sender, pieces) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                if sender.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            qemu,
            pieces,
            seen: String::new(),
        })
    }

    /// Waits until `found` finds something in all that was said, and gives that. Presses a key where a loader waits for
    /// one, and tells it to boot.
    pub fn until<T>(&mut self, mut found: impl FnMut(&str) -> Option<T>) -> Result<T> {
        let end = Instant::now() + PATIENCE;
        let mut answered = self.seen.matches(KEY).count();
        loop {
            if let Some(value) = found(&self.seen) {
                return Ok(value);
            }
            let left = end.saturating_duration_since(Instant::now());
            let Ok(piece) = self.pieces.recv_timeout(left) else {
                bail!("the loader did not get there; it said:\n{}", self.seen);
            };
            self.seen.push_str(&String::from_utf8_lossy(&piece));
            let asked = self.seen.matches(KEY).count();
            if asked > answered {
                answered = asked;
                self.qemu
                    .stdin
                    .as_mut()
                    .context("no serial line")?
                    .write_all(b" boot\n")?;
            }
        }
    }
}

/// What U-Boot says before it waits two seconds.
const KEY: &str = "stop autoboot:  2";

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}
