//! The partitions of the disk that the root is on, and of no other: a USB stick with the right label must not become
//! the state of the device, or its configuration.
//!
//! There is no udev yet, so the kernel's own view (`/sys`) names the partitions, and blkid(8) reads their labels.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::limited;

/// Reading a label takes milliseconds; a card that needs longer than that is broken.
const BLKID_LIMIT: Duration = Duration::from_secs(20);

/// Why there is none.
#[derive(Debug)]
pub(crate) enum Error {
    /// The root is not on a partition of a disk (a network or RAM file system).
    NoDisk(io::Error),
    /// blkid could not be run.
    Blkid(io::Error),
    /// No partition of the disk has this label.
    NotFound(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDisk(error) => write!(f, "cannot tell which disk the root is on: {error}"),
            Self::Blkid(error) => write!(f, "cannot run blkid: {error}"),
            Self::NotFound(label) => write!(f, "no partition of the root's disk is labelled {label}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoDisk(error) | Self::Blkid(error) => Some(error),
            Self::NotFound(_) => None,
        }
    }
}

/// The disk that the root is on: its folder below `/sys/devices`.
#[derive(Debug)]
pub(crate) struct Disk(PathBuf);

impl Disk {
    /// Finds it.
    pub(crate) fn of_root() -> Result<Self, Error> {
        let root = fs::metadata("/").map_err(Error::NoDisk)?.dev();
        let (major, minor) = (nix::sys::stat::major(root), nix::sys::stat::minor(root));
        Self::with_partition(Path::new("/sys"), major, minor).map_err(Error::NoDisk)
    }

    /// The disk that has this partition.
    fn with_partition(sys: &Path, major: u64, minor: u64) -> io::Result<Self> {
        let partition = fs::canonicalize(sys.join(format!("dev/block/{major}:{minor}")))?;
        if number(&partition).is_none() {
            return Err(io::Error::other("it is not a partition"));
        }
        Ok(Self(
            partition.parent().ok_or(io::ErrorKind::NotFound)?.to_owned(),
        ))
    }

    /// Its path as udev's `DEVPATH` has it, from `/devices` on.
    pub(crate) fn device_path(&self) -> Option<&str> {
        self.0.to_str()?.strip_prefix("/sys")
    }

    /// The device node of the partition whose file system is labelled `label`.
    ///
    /// A file system whose first block is damaged has no label any more, and e2fsck can repair it all the same; so a
    /// partition of that name is as good, where there are names (GPT).
    pub(crate) fn find(&self, label: &str) -> Result<PathBuf, Error> {
        let names = self.partitions().map_err(Error::NoDisk)?;
        for name in &names {
            let node = Path::new("/dev").join(name);
            if label_of(&node).map_err(Error::Blkid)?.as_deref() == Some(label) {
                return Ok(node);
            }
        }
        let named = names
            .iter()
            .find(|name| self.partition_name(name).as_deref() == Some(label));
        named
            .map(|name| Path::new("/dev").join(name))
            .ok_or_else(|| Error::NotFound(label.to_owned()))
    }

    /// The names of its partitions, in the order of their numbers.
    fn partitions(&self) -> io::Result<Vec<String>> {
        let mut partitions = Vec::new();
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            if let (Some(number), Ok(name)) = (number(&entry.path()), entry.file_name().into_string()) {
                partitions.push((number, name));
            }
        }
        partitions.sort_unstable();
        Ok(partitions.into_iter().map(|(_, name)| name).collect())
    }

    /// The name that the partition table gives to a partition.
    fn partition_name(&self, partition: &str) -> Option<String> {
        let uevent = fs::read_to_string(self.0.join(partition).join("uevent")).ok()?;
        let name = uevent.lines().find_map(|line| line.strip_prefix("PARTNAME="))?;
        Some(name.to_owned())
    }
}

/// The number of a partition, by its folder in `/sys`; none if it is not a partition's.
fn number(folder: &Path) -> Option<u32> {
    fs::read_to_string(folder.join("partition"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// The label of the file system on a device; none if it has none, is damaged, or has two that contradict each other.
fn label_of(node: &Path) -> io::Result<Option<String>> {
    let mut command = Command::new("blkid");
    command.args(["-p", "-o", "value", "-s", "LABEL"]).arg(node);
    let (status, line) = limited::line(&mut command, BLKID_LIMIT)?;
    let label = line.trim_end();
    Ok((status.success() && !label.is_empty()).then(|| label.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A piece of /sys: a disk with partitions, and what else is in a disk's folder.
    fn sys(partitions: &[(&str, &str)]) -> tempfile::TempDir {
        let sys = tempfile::tempdir().unwrap();
        let disk = sys.path().join("devices/virtio/block/vda");
        fs::create_dir_all(disk.join("queue")).unwrap();
        fs::create_dir_all(sys.path().join("dev/block")).unwrap();
        fs::write(disk.join("size"), "1").unwrap();
        for (name, number) in partitions {
            fs::create_dir(disk.join(name)).unwrap();
            fs::write(disk.join(name).join("partition"), format!("{number}\n")).unwrap();
            let link = sys.path().join(format!("dev/block/254:{number}"));
            std::os::unix::fs::symlink(disk.join(name), link).unwrap();
        }
        std::os::unix::fs::symlink(&disk, sys.path().join("dev/block/254:0")).unwrap();
        sys
    }

    #[test]
    fn lists_the_partitions_of_the_same_disk_in_order() {
        let sys = sys(&[("vda10", "10"), ("vda2", "2"), ("vda1", "1")]);
        let disk = Disk::with_partition(sys.path(), 254, 2).unwrap();
        assert_eq!(disk.partitions().unwrap(), ["vda1", "vda2", "vda10"]);
    }

    #[test]
    fn knows_the_names_of_the_partition_table() {
        let sys = sys(&[("vda1", "1"), ("vda2", "2")]);
        let disk = Disk::with_partition(sys.path(), 254, 2).unwrap();
        fs::write(
            disk.0.join("vda1/uevent"),
            "MAJOR=254\nPARTN=1\nPARTNAME=fleet-state\n",
        )
        .unwrap();
        assert_eq!(disk.partition_name("vda1").as_deref(), Some("fleet-state"));
        assert_eq!(disk.partition_name("vda2"), None);
    }

    #[test]
    fn a_root_that_is_no_partition_has_no_disk() {
        let sys = sys(&[("vda1", "1")]);
        assert!(
            Disk::with_partition(sys.path(), 254, 0).is_err(),
            "the whole disk"
        );
        assert!(
            Disk::with_partition(sys.path(), 0, 25).is_err(),
            "a file system without a device"
        );
    }
}
