//! Finding a partition by its file-system label, on the disk that the root is on.
//!
//! Only there: a USB stick with the right label must not become the state of the device. There is no udev yet, so the
//! kernel's own view (`/sys`) names the partitions, and blkid(8) reads their labels.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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

/// The device node of the partition labelled `label` on the disk of the root.
pub(crate) fn find(label: &str) -> Result<PathBuf, Error> {
    let root = fs::metadata("/").map_err(Error::NoDisk)?.dev();
    let (major, minor) = (nix::sys::stat::major(root), nix::sys::stat::minor(root));
    for name in siblings(Path::new("/sys"), major, minor).map_err(Error::NoDisk)? {
        let node = Path::new("/dev").join(name);
        if label_of(&node).map_err(Error::Blkid)?.as_deref() == Some(label) {
            return Ok(node);
        }
    }
    Err(Error::NotFound(label.to_owned()))
}

/// The names of the partitions of the disk that has this one, itself included, in the kernel's order of numbers.
fn siblings(sys: &Path, major: u64, minor: u64) -> io::Result<Vec<String>> {
    let partition = fs::canonicalize(sys.join(format!("dev/block/{major}:{minor}")))?;
    let number = |folder: &Path| {
        fs::read_to_string(folder.join("partition"))
            .ok()?
            .trim()
            .parse::<u32>()
            .ok()
    };
    if number(&partition).is_none() {
        return Err(io::Error::other("it is not a partition"));
    }
    let disk = partition.parent().ok_or(io::ErrorKind::NotFound)?;
    let mut partitions = Vec::new();
    for entry in fs::read_dir(disk)? {
        let entry = entry?;
        if let (Some(number), Ok(name)) = (number(&entry.path()), entry.file_name().into_string()) {
            partitions.push((number, name));
        }
    }
    partitions.sort_unstable();
    Ok(partitions.into_iter().map(|(_, name)| name).collect())
}

/// The label of the file system on a device; none if it has none, or two that contradict each other.
fn label_of(node: &Path) -> io::Result<Option<String>> {
    let output = Command::new("blkid")
        .args(["-p", "-o", "value", "-s", "LABEL"])
        .arg(node)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()?;
    let label = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    Ok((output.status.success() && !label.is_empty()).then_some(label))
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
        assert_eq!(siblings(sys.path(), 254, 2).unwrap(), ["vda1", "vda2", "vda10"]);
    }

    #[test]
    fn a_root_that_is_no_partition_has_no_siblings() {
        let sys = sys(&[("vda1", "1")]);
        assert!(siblings(sys.path(), 254, 0).is_err(), "the whole disk");
        assert!(
            siblings(sys.path(), 0, 25).is_err(),
            "a file system without a device"
        );
    }
}
