//! The flasher's medium and the device's, made from the parts of the reference image.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use testbed::Reference;

use crate::bmap;

const MIB: u64 = 1 << 20;
/// The device's medium: larger than the image.
const DEVICE: u64 = 2048 * MIB;
/// Of the flasher's root: the reference root and the image.
const ROOT: u64 = 1024 * MIB;

/// The two media and what else a run needs; gone with the value.
pub struct Media {
    folder: PathBuf,
    /// Where both have their boot partition, in bytes, and its size: as the reference image, so that what a boot loader
    /// looks for before it is nothing of ours.
    boot: (u64, u64),
}

impl Media {
    /// Makes them: a flasher with `own` on its boot partition, and a device that holds a whole system with `device` on
    /// its. Each is a name and a text; of `device` the configuration of the reference image is replaced.
    pub fn make(reference: &Reference, own: &[(&str, &str)], device: &[(&str, &str)]) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("fleet-flasher-{}-{number}", std::process::id()));
        fs::create_dir(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let media = Self {
            folder,
            boot: reference.partition("fleet-boot")?,
        };
        media.root(reference)?;
        media.flasher(reference, own)?;
        media.device(reference, device)?;
        Ok(media)
    }

    /// A file of the run.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The reference root with the flasher, its units and the image in it.
    fn root(&self, reference: &Reference) -> Result<()> {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../..")
            .canonicalize()?;
        let target = checkout.join("target");
        let mut build = Command::new("cargo");
        build
            .args([
                "build",
                "--quiet",
                "--release",
                "--locked",
                "--package",
                "fleet-flasher",
            ])
            .arg("--manifest-path")
            .arg(checkout.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(&target)
            .env_remove("CARGO_MANIFEST_DIR")
            .env_remove("CARGO_TARGET_DIR");
        tool(&mut build)?;
        let added = self.path("added");
        let mut install = Command::new("make");
        install.arg("--directory").arg(&checkout).arg("install-flasher");
        install.arg(format!("DESTDIR={}", added.display()));
        install.arg(format!("BINDIR={}", target.join("release").display()));
        tool(&mut install)?;
        let units = added.join("etc/systemd/system");
        fs::create_dir_all(&units)?;
        symlink(
            "/usr/lib/systemd/system/fleet-flasher.target",
            units.join("default.target"),
        )?;
        self.payload(reference, &added.join("usr/share/fleet-flasher"))?;

        fs::create_dir(self.path("merged"))?;
        // In a mount namespace, which takes the mount with it.
        let script = "mount -t overlay -o ro,lowerdir=added:\"$1\" overlay merged && \
                      exec mke2fs -q -F -t ext4 -b 4096 -m 0 -L fleet-root-a \
                      -O ^has_journal,^resize_inode,^metadata_csum_seed,^orphan_file -d merged root.img \"$2\"";
        let mut make = Command::new("unshare");
        make.args(["--mount", "sh", "-c", script, "sh"]);
        make.arg(reference.root()).arg((ROOT / 4096).to_string());
        tool(make.current_dir(&self.folder))?;
        fs::remove_dir_all(&added)?;
        Ok(())
    }

    /// The reference disk as meta-fleet delivers an image: compressed, with a block map. Slot B is left empty: to unpack it
    /// under emulation would take as long as everything else.
    fn payload(&self, reference: &Reference, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        let image = self.path("image.wic");
        tool(
            Command::new("cp")
                .arg("--sparse=always")
                .args([reference.disk(), image.clone()]),
        )?;
        let (start, size) = reference.partition("fleet-root-b")?;
        let mut punch = Command::new("fallocate");
        punch.args([
            "--punch-hole",
            "--offset",
            &start.to_string(),
            "--length",
            &size.to_string(),
        ]);
        tool(punch.arg(&image))?;
        fs::write(folder.join("image.wic.bmap"), bmap::of(&image)?)?;
        let mut pack = Command::new("zstd");
        pack.args(["-q", "-T0"])
            .arg(&image)
            .arg("-o")
            .arg(folder.join("image.wic.zst"));
        tool(&mut pack)?;
        fs::remove_file(image)?;
        Ok(())
    }

    /// Boot partition and root, under identities of their own.
    fn flasher(&self, reference: &Reference, own: &[(&str, &str)]) -> Result<()> {
        let disk = self.path("flasher.img");
        let (boot, size) = self.boot;
        let root = boot + size;
        File::create(&disk)?.set_len(root + ROOT + MIB)?;
        let sector = |place: u64| place / 512;
        let mut partition = Command::new("sgdisk");
        partition.args(["--clear", "--set-alignment=2048"]);
        partition.arg(format!("--new=1:{}:{}", sector(boot), sector(root) - 1));
        partition.args(["--typecode=1:EF00", "--change-name=1:fleet-boot"]);
        partition.arg(format!("--new=2:{}:{}", sector(root), sector(root + ROOT) - 1));
        partition.arg("--change-name=2:fleet-root-a").arg(&disk);
        tool(&mut partition)?;
        copy(&reference.disk(), boot, size, &disk, boot)?;
        copy(&self.path("root.img"), 0, ROOT, &disk, root)?;
        fs::remove_file(self.path("root.img"))?;
        let place = Place::flasher(self);
        place.remove("config.json")?;
        place.put(self, own)
    }

    fn device(&self, reference: &Reference, files: &[(&str, &str)]) -> Result<()> {
        let disk = self.path("device.img");
        File::create(&disk)?.set_len(DEVICE)?;
        let size = reference.disk().metadata()?.len();
        copy(&reference.disk(), 0, size, &disk, 0)?;
        Place::device(self).put(self, files)
    }
}

impl Drop for Media {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A boot partition, as mtools name it; read while the machine is off.
pub struct Place(String);

impl Place {
    pub fn flasher(media: &Media) -> Self {
        Self(format!(
            "{}@@{}",
            media.path("flasher.img").display(),
            media.boot.0
        ))
    }

    pub fn device(media: &Media) -> Self {
        Self(format!(
            "{}@@{}",
            media.path("device.img").display(),
            media.boot.0
        ))
    }

    /// A file; none if it is not there.
    pub fn read(&self, name: &str) -> Option<String> {
        let output = self.command("mtype").arg(format!("::/{name}")).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then_some(text)
    }

    /// The names of the files and folders in a folder; none if it is not there.
    pub fn list(&self, name: &str) -> Vec<String> {
        let output = self
            .command("mdir")
            .args(["-b"])
            .arg(format!("::/{name}"))
            .output();
        let text = output.map(|output| output.stdout).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines = text.lines().map(|line| line.trim_end_matches('/'));
        lines
            .filter_map(|line| Some(line.rsplit_once('/')?.1.to_owned()))
            .collect()
    }

    fn put(&self, media: &Media, files: &[(&str, &str)]) -> Result<()> {
        for (name, text) in files {
            let path = media.path("file");
            fs::write(&path, text)?;
            tool(
                self.command("mcopy")
                    .arg("-o")
                    .arg(&path)
                    .arg(format!("::/{name}")),
            )?;
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<()> {
        tool(self.command("mdel").arg(format!("::/{name}")))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-i").arg(&self.0).env("MTOOLS_SKIP_CHECK", "1");
        command
    }
}

/// Whether the device has a first sector, by which firmware knows a disk.
pub fn has_table(media: &Media) -> Result<bool> {
    let mut first = [0; 512];
    File::open(media.path("device.img"))?.read_exact(&mut first)?;
    Ok(first[510..] == [0x55, 0xaa])
}

/// Copies a part of a file, holes as holes.
fn copy(from: &Path, start: u64, size: u64, to: &Path, place: u64) -> Result<()> {
    let mut dd = Command::new("dd");
    dd.arg(format!("if={}", from.display()))
        .arg(format!("of={}", to.display()));
    dd.arg(format!("skip={}", start / MIB))
        .arg(format!("seek={}", place / MIB));
    dd.arg(format!("count={}", size / MIB));
    dd.args(["bs=1M", "conv=notrunc,sparse", "status=none"]);
    tool(&mut dd)
}

fn tool(command: &mut Command) -> Result<()> {
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot start {name}"))?;
    ensure!(
        output.status.success(),
        "{name} failed ({}): {}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
