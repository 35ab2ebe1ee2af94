//! Whether a folder is really on the data partition, and that one can be written.
//!
//! A partition that could not be mounted leaves its mount point behind, an ordinary folder of the root file system;
//! a journal written there would wear out the wrong medium, or nothing would be written at all.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fleet_base::file;

/// The mounts as this process sees them (proc_pid_mountinfo(5)).
pub(crate) const MOUNT_INFO: &str = "/proc/self/mountinfo";
/// What a file system says of itself that takes no writes. ext4 says the second and third after an error from Linux 6.15
/// on, and said the first before 6.12.
const TAKES_NO_WRITES: [&str; 3] = ["ro", "emergency_ro", "shutdown"];
/// More than a number has.
const MAX_NUMBER: u64 = 64;
/// Far more than any mount table here has.
const MOUNT_INFO_LIMIT: u64 = 1024 * 1024;

/// Why a folder is not on the data partition.
#[derive(Debug)]
pub(crate) enum Error {
    /// The mount table could not be read.
    MountInfo(file::Error),
    /// The data partition is not mounted here.
    NotMounted(PathBuf),
    /// The data partition's file system takes no writes.
    ReadOnly(PathBuf),
    /// The data partition's file system has found an error of itself, and takes no writes or soon will not.
    Damaged(PathBuf),
    /// One of the two folders cannot be looked at.
    Folder(PathBuf, io::Error),
    /// The first folder is not the second one.
    Elsewhere(PathBuf, PathBuf),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MountInfo(error) => error.fmt(f),
            Self::NotMounted(data) => write!(f, "the data partition is not mounted on {}", data.display()),
            Self::ReadOnly(data) => write!(f, "the data partition on {} is read-only", data.display()),
            Self::Damaged(data) => write!(
                f,
                "the file system of the data partition on {} has an error, which the next boot repairs; `dmesg` says which",
                data.display()
            ),
            Self::Folder(path, error) => write!(f, "cannot look at {}: {error}", path.display()),
            Self::Elsewhere(folder, on_data) => {
                write!(f, "{} is not bound to {}", folder.display(), on_data.display())
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::MountInfo(error) => Some(error),
            Self::Folder(_, error) => Some(error),
            Self::NotMounted(_) | Self::ReadOnly(_) | Self::Damaged(_) | Self::Elsewhere(..) => None,
        }
    }
}

/// Checks that `folder` is the folder `on_data` of the partition mounted on `data`, and that its file system is
/// writable.
///
/// Compares device and inode, not device numbers with the parent's: a bind mount within one file system, as in a
/// container, has the same number on both sides.
///
/// # Errors
/// See [`Error`].
pub(crate) fn is_on_data(
    folder: &Path,
    on_data: &Path,
    data: &Path,
    mount_info: &Path,
    sys: &Path,
) -> Result<(), Error> {
    let mounts = file::read(mount_info, MOUNT_INFO_LIMIT).map_err(Error::MountInfo)?;
    let mounts = String::from_utf8_lossy(&mounts);
    let mount = on(&mounts, data).ok_or_else(|| Error::NotMounted(data.to_owned()))?;
    let identity = |path: &Path| match std::fs::metadata(path) {
        Ok(metadata) => Ok((metadata.dev(), metadata.ino())),
        Err(error) => Err(Error::Folder(path.to_owned(), error)),
    };
    if identity(folder)? != identity(on_data)? {
        return Err(Error::Elsewhere(folder.to_owned(), on_data.to_owned()));
    }
    if mount
        .options
        .split(',')
        .any(|option| TAKES_NO_WRITES.contains(&option))
    {
        return Err(Error::ReadOnly(data.to_owned()));
    }
    // Each kernel knows it, those between 6.12 and 6.15 say it nowhere else.
    match file::read(&errors_of(sys, mount.device), MAX_NUMBER) {
        Ok(count) if count.trim_ascii() != b"0" => Err(Error::Damaged(data.to_owned())),
        _ => Ok(()),
    }
}

/// How many errors the file system on `data` has found of itself, until fsck(8) repairs it: a file of the kernel's, for ext4
/// only (Documentation/ABI/testing/sysfs-fs-ext4). Who polls it hears of the next one.
pub(crate) fn errors(data: &Path, mount_info: &Path, sys: &Path) -> Option<PathBuf> {
    let mounts = file::read(mount_info, MOUNT_INFO_LIMIT).ok()?;
    let mounts = String::from_utf8_lossy(&mounts);
    Some(errors_of(sys, on(&mounts, data)?.device))
}

fn errors_of(sys: &Path, device: &str) -> PathBuf {
    let link = std::fs::read_link(sys.join("dev/block").join(device)).unwrap_or_default();
    let name = link.file_name().unwrap_or_default();
    sys.join("fs/ext4").join(name).join("errors_count")
}

/// What the mount table says of a mount.
struct Mount<'a> {
    /// The device's number, MAJOR:MINOR.
    device: &'a str,
    /// The file system's own options, not the mount's: this process's view is read-only anyway.
    options: &'a str,
}

/// What is mounted on `path`; the last mount is on top. Spaces are escaped in the table, and none of our paths has one.
fn on<'a>(mount_info: &'a str, path: &Path) -> Option<Mount<'a>> {
    let mount = mount_info.lines().rfind(|line| {
        line.split(' ')
            .nth(4)
            .is_some_and(|point| Path::new(point) == path)
    })?;
    Some(Mount {
        device: mount.split(' ').nth(2)?,
        options: mount.rsplit(' ').next()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_a_mount_point_from_its_neighbours() {
        let table = "22 1 259:2 / / ro,relatime - ext4 /dev/vda2 ro\n\
                     30 22 259:7 / /data rw - ext4 /dev/vda7 ro\n\
                     31 22 259:5 / /data rw,nosuid shared:9 - ext4 /dev/vda5 rw\n\
                     32 22 259:5 /journal /var/log/journal rw - ext4 /dev/vda5 rw\n";
        for (path, mounted) in [
            ("/data", true),
            ("/data/", true),
            ("/var/log/journal", true),
            ("/dat", false),
            ("/data/journal", false),
            ("/journal", false),
        ] {
            let found = on(table, Path::new(path)).map(|mount| (mount.device, mount.options));
            assert_eq!(found, mounted.then_some(("259:5", "rw")), "{path}");
        }
    }

    #[test]
    fn tells_the_folder_on_data_from_another() {
        let root = tempfile::tempdir().unwrap();
        let (data, elsewhere) = (root.path().join("data"), root.path().join("elsewhere"));
        let on_data = data.join("journal");
        std::fs::create_dir_all(&on_data).unwrap();
        std::fs::create_dir(&elsewhere).unwrap();
        let table = root.path().join("mountinfo");
        std::fs::write(
            &table,
            format!("31 22 259:5 / {} rw - ext4 /dev/vda5 rw\n", data.display()),
        )
        .unwrap();
        let sys = root.path().join("sys");
        let check = |folder: &Path| is_on_data(folder, &on_data, &data, &table, &sys);

        let bound = root.path().join("bound");
        std::os::unix::fs::symlink(&on_data, &bound).unwrap();
        assert!(check(&bound).is_ok());
        for options in [
            "ro",
            "ro,errors=remount-ro",
            "rw,emergency_ro",
            "rw,shutdown,nodelalloc",
        ] {
            let line = format!("31 22 259:5 / {} rw - ext4 /dev/vda5 {options}\n", data.display());
            std::fs::write(&table, line).unwrap();
            assert!(matches!(check(&bound), Err(Error::ReadOnly(_))), "{options}");
        }
        std::fs::write(
            &table,
            format!(
                "31 22 259:5 / {} rw - ext4 /dev/vda5 rw,errors=remount-ro\n",
                data.display()
            ),
        )
        .unwrap();
        assert!(check(&bound).is_ok());

        std::fs::create_dir_all(sys.join("dev/block")).unwrap();
        std::fs::create_dir_all(sys.join("fs/ext4/vda5")).unwrap();
        std::os::unix::fs::symlink("../../devices/vda/vda5", sys.join("dev/block/259:5")).unwrap();
        let count = errors(&data, &table, &sys).unwrap();
        assert_eq!(count, sys.join("fs/ext4/vda5/errors_count"));
        std::fs::write(&count, "0\n").unwrap();
        assert!(check(&bound).is_ok());
        std::fs::write(&count, "1\n").unwrap();
        assert!(matches!(check(&bound), Err(Error::Damaged(_))));
        std::fs::remove_dir_all(&sys).unwrap();
        assert!(matches!(check(&elsewhere), Err(Error::Elsewhere(..))));
        assert!(matches!(check(&root.path().join("none")), Err(Error::Folder(..))));
        std::fs::write(&table, "").unwrap();
        assert!(matches!(check(&bound), Err(Error::NotMounted(_))));
    }
}
