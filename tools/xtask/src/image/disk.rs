//! `disk.img`: the GPT disk that QEMU boots, put together without loop devices and mounts: every tool writes into
//! the file at its partition's place. Sparse; the same bytes from the same root.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::filesystem::Ext4;
use super::generation::Generation;
use super::inputs::Inputs;
use super::layout::{self, Layout, Partition};
use super::{SOURCE_DATE_EPOCH, Workshop, remove, root};

/// Its file in the generation.
pub(super) const OUTPUT: &str = "disk.img";
const SECTOR: u64 = 512;

/// Adds what it is made from beside the root: the boot loader's configuration, the configuration and the layout.
pub(super) fn add_to(inputs: Inputs, workshop: &Workshop) -> anyhow::Result<Inputs> {
    inputs
        .text("disk 2")
        .text(&layout_json()?)
        .path(&loader(workshop, "grub.cfg.in"))?
        .path(&loader(workshop, "grub.env"))?
        .path(&workshop.reference("config.json"))
}

/// Makes it, and layout.json beside it.
pub(super) fn make(workshop: &Workshop, generation: &Generation) -> anyhow::Result<()> {
    workshop
        .steps
        .say("disk.img: five partitions, the root in both slots");
    workshop.steps.clear("disk");
    let layout = Layout::new();
    let root = generation.path().join(root::OUTPUT);
    let made = generation.path().join("disk.new.img");
    remove(&made)?;
    let file = File::create(&made).with_context(|| format!("cannot make {}", made.display()))?;
    file.set_len(layout.size)
        .with_context(|| format!("cannot size {}", made.display()))?;

    partition(workshop, &layout, &made)?;
    let ext4 = Ext4::of_image(root.clone());
    for partition in &layout.partitions {
        match partition.name {
            "fleet-boot" => fill_boot(workshop, partition, &root, &made)?,
            "fleet-root-a" | "fleet-root-b" => ext4.slot(&workshop.steps, partition, &made)?,
            _ => ext4.empty(&workshop.steps, partition, &made)?,
        }
    }
    let json = generation.path().join("layout.json");
    fs::write(&json, layout_json()?).with_context(|| format!("cannot write {}", json.display()))?;
    generation.keep(&made, OUTPUT)
}

/// GRUB's configuration and environment, which are the Yocto image's.
fn loader(workshop: &Workshop, name: &str) -> PathBuf {
    workshop
        .checkout
        .join("meta-fleet/recipes-bsp/fleet-boot/files")
        .join(name)
}

/// The environment that a disk begins with: GRUB wants 1024 bytes, the rest of them `#`.
fn environment(workshop: &Workshop) -> anyhow::Result<Vec<u8>> {
    const SIZE: usize = 1024;
    let mut block = fs::read(loader(workshop, "grub.env")).context("cannot read grub.env")?;
    ensure!(block.len() <= SIZE, "grub.env is longer than {SIZE} bytes");
    block.resize(SIZE, b'#');
    Ok(block)
}

fn layout_json() -> anyhow::Result<String> {
    let mut text = serde_json::to_string_pretty(&Layout::new()).context("cannot write the layout as JSON")?;
    text.push('\n');
    Ok(text)
}

fn partition(workshop: &Workshop, layout: &Layout, disk: &Path) -> anyhow::Result<()> {
    let mut command = Command::new("sgdisk");
    command.args([
        "--clear",
        "--set-alignment=2048",
        "--disk-guid",
        layout::DISK_GUID,
    ]);
    for partition in &layout.partitions {
        let Partition {
            name,
            number,
            start,
            size,
            guid,
            kind,
        } = partition;
        let (first, last) = (start / SECTOR, (start + size) / SECTOR - 1);
        command.arg(format!("--new={number}:{first}:{last}"));
        command.arg(format!("--typecode={number}:{kind}"));
        command.arg(format!("--partition-guid={number}:{guid}"));
        command.arg(format!("--change-name={number}:{name}"));
    }
    command.arg(disk);
    workshop.steps.run("disk", &command)
}

/// GRUB with its configuration, config.json, and the directory for NetworkManager's keyfiles.
fn fill_boot(workshop: &Workshop, partition: &Partition, root: &Path, disk: &Path) -> anyhow::Result<()> {
    let stage = workshop.output("boot.new");
    remove(&stage)?;
    fs::create_dir_all(stage.join("EFI/BOOT"))?;
    fs::create_dir_all(stage.join("system-connections"))?;
    fs::copy(
        root.join("usr/lib/fleet-reference/BOOTX64.EFI"),
        stage.join("EFI/BOOT/BOOTX64.EFI"),
    )?;
    fs::copy(workshop.reference("config.json"), stage.join("config.json"))?;
    let grub = fs::read_to_string(loader(workshop, "grub.cfg.in")).context("cannot read grub.cfg.in")?;
    let grub = grub
        .replace("@KERNEL@", "vmlinuz")
        .replace("@INITRD@", "initrd.img")
        .replace("@ARGUMENTS@", layout::COMMAND_LINE);
    fs::write(stage.join("EFI/BOOT/grub.cfg"), grub)?;
    for name in ["fleet-1.env", "fleet-2.env"] {
        fs::write(stage.join("EFI/BOOT").join(name), environment(workshop)?)?;
    }
    let mut clamp = Command::new("find");
    clamp
        .arg(&stage)
        .args(["-exec", "touch"])
        .arg(format!("--date=@{SOURCE_DATE_EPOCH}"))
        .args(["{}", "+"]);
    workshop.steps.run("disk", &clamp)?;

    let mut format = Command::new("/usr/sbin/mkfs.vfat");
    format.args(["--invariant", "-F", "32", "-s", "1", "-n", partition.name]);
    format
        .arg(format!("--offset={}", partition.start / SECTOR))
        .arg(disk);
    format
        .arg((partition.size / 1024).to_string())
        .env("SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH);
    workshop.steps.run("disk", &format)?;

    let mut copy = Command::new("mcopy");
    copy.arg("-i")
        .arg(format!("{}@@{}", disk.display(), partition.start))
        .args(["-s", "-m", "-o"]);
    for name in ["EFI", "config.json", "system-connections"] {
        copy.arg(stage.join(name));
    }
    // Its own date for directories; UTC, because FAT keeps local time.
    copy.arg("::/")
        .env("SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH)
        .env("TZ", "UTC")
        .env("MTOOLS_SKIP_CHECK", "1");
    workshop.steps.run("disk", &copy)?;
    remove(&stage)
}
