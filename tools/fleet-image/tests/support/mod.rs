//! Small images, made by the tools that others use, and the program itself.
#![allow(dead_code, reason = "each test needs a part of it")]

pub mod bmap;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};

pub const MIB: u64 = 1 << 20;
/// Where the boot partition is in every image.
pub const BOOT: u64 = MIB;
pub const KEYFILE: &str = "[connection]\nid=office\ntype=ethernet\n";

/// The program, with these arguments.
pub fn fleet_image(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fleet-image"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub fn run(arguments: &[&str]) -> Result<Outcome> {
    Outcome::of(&mut fleet_image(arguments))
}

/// How a program ended, and what it said.
pub struct Outcome {
    pub output: Output,
}

impl Outcome {
    pub fn of(command: &mut Command) -> Result<Self> {
        let output = command
            .output()
            .with_context(|| format!("cannot start {:?}", command.get_program()))?;
        Ok(Self { output })
    }

    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    pub fn said(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    pub fn succeeds(self) -> Result<Self> {
        self.exits(0)
    }

    pub fn exits(self, code: i32) -> Result<Self> {
        let found = self.output.status;
        ensure!(
            found.code() == Some(code),
            "{found}, not {code}; it said: {}{}",
            self.said(),
            self.out()
        );
        Ok(self)
    }

    pub fn says(self, hint: &str) -> Result<Self> {
        ensure!(
            self.said().contains(hint),
            "no {hint:?} in what it said: {}",
            self.said()
        );
        Ok(self)
    }
}

/// Runs another program, which has to succeed.
pub fn tool(program: &str, arguments: &[&str]) -> Result<String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .env("MTOOLS_SKIP_CHECK", "1");
    Ok(Outcome::of(&mut command)?.succeeds()?.out())
}

/// A loop device over a file.
pub struct Loop(pub String);

impl Loop {
    pub fn over(file: &str) -> Result<Self> {
        let device = tool("losetup", &["--find", "--show", file]);
        Ok(Self(device.context("loop devices need root")?.trim().to_owned()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = tool("losetup", &["--detach", &self.0]);
    }
}

/// A folder with an image that goes with the value.
pub struct Card {
    folder: tempfile::TempDir,
    pub image: PathBuf,
    /// Size of the boot partition.
    boot: u64,
}

impl Card {
    /// GPT, with a boot partition of this many MiB and another partition.
    pub fn gpt(boot: u64) -> Result<Self> {
        let card = Self::empty(boot)?;
        let sectors = |bytes: u64| (bytes / 512).to_string();
        let (first, last) = (sectors(BOOT), sectors(BOOT + card.boot - 512));
        let next = sectors(BOOT + card.boot);
        tool(
            "sgdisk",
            &[
                "--clear",
                &format!("--new=1:{first}:{last}"),
                "--change-name=1:fleet-boot",
                &format!("--new=2:{next}:+2M"),
                "--change-name=2:fleet-state",
                card.path(),
            ],
        )?;
        card.format("fleet-boot")
    }

    /// MBR, with two logical partitions behind the boot partition.
    pub fn mbr(boot: u64) -> Result<Self> {
        let card = Self::empty(boot)?;
        let file = File::options().write(true).open(&card.image)?;
        let table = |place: u64, entries: &[(u8, u64, u64)]| -> Result<()> {
            let mut sector = [0; 512];
            for (number, (kind, first, count)) in entries.iter().enumerate() {
                let entry = &mut sector[446 + number * 16..][..16];
                entry[4] = *kind;
                entry[8..12].copy_from_slice(&u32::try_from(first / 512)?.to_le_bytes());
                entry[12..].copy_from_slice(&u32::try_from(count / 512)?.to_le_bytes());
            }
            sector[440..444].copy_from_slice(&[0x78, 0x56, 0x34, 0x12]);
            sector[510..].copy_from_slice(&[0x55, 0xaa]);
            file.write_all_at(&sector, place)?;
            Ok(())
        };
        let extended = BOOT + card.boot;
        table(0, &[(0x0c, BOOT, card.boot), (0x0f, extended, 3 * MIB)])?;
        table(
            extended,
            &[(0x83, MIB / 2, MIB), (0x05, 3 * MIB / 2, 3 * MIB / 2)],
        )?;
        table(extended + 3 * MIB / 2, &[(0x83, MIB / 2, MIB)])?;
        card.format("fleet-boot")
    }

    fn empty(boot: u64) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let image = folder.path().join("card.img");
        let boot = boot * MIB;
        File::create(&image)?.set_len(BOOT + boot + 4 * MIB)?;
        Ok(Self { folder, image, boot })
    }

    /// Formats the boot partition, with a file on it.
    pub fn format(self, label: &str) -> Result<Self> {
        let offset = format!("--offset={}", BOOT / 512);
        let blocks = (self.boot / 1024).to_string();
        tool(
            "mkfs.vfat",
            &["--invariant", "-n", label, &offset, self.path(), &blocks],
        )?;
        fs::write(self.beside("kernel"), vec![0x5a; 70_000])?;
        tool(
            "mcopy",
            &["-i", &self.place(), self.name("kernel").as_str(), "::/kernel"],
        )?;
        Ok(self)
    }

    pub fn path(&self) -> &str {
        self.image.to_str().unwrap_or_default()
    }

    /// A path in the folder.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as text.
    pub fn name(&self, name: &str) -> String {
        self.beside(name).to_string_lossy().into_owned()
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file in the folder.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> Result<String> {
        let path = self.beside(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, content)?;
        Ok(self.name(name))
    }

    /// The boot partition, as mtools name it.
    pub fn place(&self) -> String {
        format!("{}@@{BOOT}", self.path())
    }

    /// A file of the boot partition, read by mtools.
    pub fn read(&self, name: &str) -> Result<String> {
        tool("mtype", &["-i", &self.place(), &format!("::/{name}")])
    }

    /// Has fsck.vfat look at the boot partition.
    pub fn is_sound(&self) -> Result<()> {
        let whole = fs::read(&self.image)?;
        let (start, end) = (usize::try_from(BOOT)?, usize::try_from(BOOT + self.boot)?);
        let path = self.file("boot.fat", &whole[start..end])?;
        tool("fsck.vfat", &["-n", &path])?;
        Ok(())
    }

    pub fn bytes(&self) -> Result<Vec<u8>> {
        Ok(fs::read(&self.image)?)
    }
}
