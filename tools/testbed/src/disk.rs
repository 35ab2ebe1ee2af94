//! A run's own disk: a copy-on-write overlay over the reference image, with the run's files on its boot partition.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::reference::Reference;

/// The medium is larger than the image, as on a device: the data partition has something to grow into.
const MEDIUM: u64 = 2 << 30;

/// The copy of the disk before the first start.
const FIRST: &str = "first.qcow2";

/// The image's `layout.json`.
#[derive(Debug, Deserialize)]
pub(crate) struct Layout {
    size: u64,
    /// The kernel's command line to start the first slot.
    pub(crate) command_line: String,
    partitions: Vec<Partition>,
}

#[derive(Debug, Deserialize)]
struct Partition {
    name: String,
    start: u64,
    size: u64,
}

impl Layout {
    /// Reads it.
    pub(crate) fn read(reference: &Reference) -> Result<Self> {
        let path = reference.layout();
        let text = fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}: run `cargo xtask image` first", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("cannot understand {}", path.display()))
    }

    /// Where a partition is on the disk, in bytes: where it begins, and its size.
    pub(crate) fn partition(&self, name: &str) -> Result<(u64, u64)> {
        let mut all = self.partitions.iter();
        let found = all.find(|partition| partition.name == name);
        let found = found.with_context(|| format!("layout.json has no partition {name}"))?;
        Ok((found.start, found.size))
    }
}

/// Makes the disk in `directory`, with the content of the folder `boot` on its boot partition.
pub(crate) fn make(directory: &Path, reference: &Reference, layout: &Layout, boot: &Path) -> Result<PathBuf> {
    let image = reference.disk();
    ensure!(
        image.is_file(),
        "there is no {}: run `cargo xtask image` first",
        image.display()
    );
    let disk = over(directory, &image, layout)?;

    // mtools cannot write into a qcow2, so the partition makes the detour over a file.
    let (start, size) = layout.partition("fleet-boot")?;
    let fat = directory.join("boot.fat");
    let mut from = File::open(&image).with_context(|| format!("cannot open {}", image.display()))?;
    from.seek(SeekFrom::Start(start))?;
    let mut to = File::create(&fat).with_context(|| format!("cannot create {}", fat.display()))?;
    std::io::copy(&mut from.take(size), &mut to).context("cannot copy the boot partition")?;
    let mut content = Vec::new();
    for entry in fs::read_dir(boot)? {
        content.push(entry?.path());
    }
    let mut mcopy = Command::new("mcopy");
    // -s with folders, -o over what is there; without the check for a geometry that an image file has not.
    mcopy
        .arg("-i")
        .arg(&fat)
        .args(["-s", "-o"])
        .args(content)
        .arg("::/")
        .env("MTOOLS_SKIP_CHECK", "1");
    tool(mcopy)?;
    let mut write = Command::new("qemu-io");
    write.args(["-f", "qcow2", "-c"]);
    write.arg(format!("write -q -s boot.fat {start} {size}"));
    write.arg("disk.qcow2").current_dir(directory);
    tool(write)?;
    fs::remove_file(&fat)?;
    Ok(disk)
}

/// Makes the disk in `directory` as an overlay over a raw image, as it is.
pub(crate) fn over(directory: &Path, image: &Path, layout: &Layout) -> Result<PathBuf> {
    let disk = directory.join("disk.qcow2");
    let mut create = Command::new("qemu-img");
    create
        .args(["create", "-q", "-f", "qcow2", "-F", "raw", "-b"])
        .arg(image)
        .arg(&disk)
        .arg(layout.size.max(MEDIUM).to_string());
    tool(create)?;
    Ok(disk)
}

/// Keeps a copy of the disk as it is before the first start.
pub(crate) fn keep_first(disk: &Path) -> Result<()> {
    let kept = disk.with_file_name(FIRST);
    let copied = fs::copy(disk, &kept).map(|_| ());
    copied.with_context(|| format!("cannot write {}", kept.display()))
}

/// Writes the disk as it was before the first start to `image`, raw and sparse.
pub(crate) fn first(directory: &Path, image: &Path) -> Result<()> {
    let mut convert = Command::new("qemu-img");
    convert
        .args(["convert", "-f", "qcow2", "-O", "raw"])
        .arg(directory.join(FIRST))
        .arg(image);
    tool(convert)
}

fn tool(mut command: Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot start {name}: run `cargo xtask setup`"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{name} failed ({}): {}",
        output.status,
        text.trim()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_is_read() {
        let text = r#"{"size": 9, "command_line": "ro", "partitions":
            [{"name": "fleet-boot", "number": 1, "start": 1048576, "size": 67108864, "guid": "x", "type": "y"}]}"#;
        let layout: Layout = serde_json::from_str(text).unwrap();
        assert_eq!(layout.partition("fleet-boot").unwrap(), (1 << 20, 64 << 20));
        assert!(layout.partition("fleet-state").is_err());
    }
}
