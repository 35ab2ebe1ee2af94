//! Files that are either the old or the new, whatever happens in between.
//!
//! A write goes to a temporary file in the same folder, is synced, renamed over the target, and the folder is
//! synced: after a power cut at any of these steps one of the two is there, whole (rename(2); on ext4 the folder's
//! sync is what makes the rename itself durable).

use std::ffi::OsString;
use std::fmt;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

/// What went wrong with which file.
#[derive(Debug)]
pub enum Error {
    /// It could not be read.
    Read(PathBuf, io::Error),
    /// It is larger than the limit (in bytes) of what it is read for.
    TooLarge(PathBuf, u64),
    /// It could not be written.
    Write(PathBuf, io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::TooLarge(path, limit) => {
                write!(
                    f,
                    "cannot read {}: it is larger than {limit} bytes",
                    path.display()
                )
            }
            Self::Write(path, error) => write!(f, "cannot write {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read(_, error) | Self::Write(_, error) => Some(error),
            Self::TooLarge(..) => None,
        }
    }
}

impl Error {
    /// Whether the file is simply not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Read(_, error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// How durable a write has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Survives a power cut from the moment the call returns: two syncs.
    Synced,
    /// For `/run`, which no power cut survives: no sync.
    Volatile,
}

/// The largest size that is believed before it was read. What we read is smaller.
const LARGEST_CLAIM: u64 = 64 * 1024;

/// Reads a whole file that has at most `limit` bytes.
///
/// The limit holds for the bytes read, not for the size that the file claims, so that a file that grows, or a
/// device, cannot exceed it.
///
/// # Errors
/// [`Error::Read`], [`Error::TooLarge`].
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    read_with(path, limit, OFlag::empty())
}

/// [`read`] for a file that anybody may have put there: a symbolic link in its place is an error.
///
/// # Errors
/// [`Error::Read`], [`Error::TooLarge`].
pub fn read_no_follow(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    read_with(path, limit, OFlag::O_NOFOLLOW)
}

fn read_with(path: &Path, limit: u64, flags: OFlag) -> Result<Vec<u8>, Error> {
    let failed = |error| Error::Read(path.to_owned(), error);
    // Non-blocking, so that a FIFO put in place of the file cannot hang the reader.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NONBLOCK | flags).bits())
        .open(path)
        .map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(failed(io::Error::other("it is not a regular file")));
    }
    // Room for what it claims and one byte more, to see the end: otherwise it is read in steps that double from 32
    // bytes on. Files of /proc claim to be empty.
    let claimed = metadata.len().min(limit).min(LARGEST_CLAIM);
    let mut bytes = Vec::with_capacity(usize::try_from(claimed).unwrap_or_default() + 1);
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(Error::TooLarge(path.to_owned(), limit));
    }
    Ok(bytes)
}

/// Replaces a file by `bytes` with permission bits `mode`, unless it already has these bytes.
///
/// Returns whether it was written. Comparing first saves flash wear and tells the caller that nothing needs to be
/// reloaded.
///
/// # Errors
/// [`Error::Write`]; the old file is then untouched.
pub fn write(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> Result<bool, Error> {
    let limit = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if read(path, limit).is_ok_and(|current| current == bytes) {
        return Ok(false);
    }
    replace(path, bytes, mode, durability)?;
    Ok(true)
}

/// [`write`] for what is known to be different: the old file is not read first.
///
/// # Errors
/// [`Error::Write`]; the old file is then untouched.
pub fn replace(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> Result<(), Error> {
    put(path, bytes, mode, durability).map_err(|error| Error::Write(path.to_owned(), error))
}

/// The names in a folder, in order.
///
/// # Errors
/// It cannot be read; not being there is [`io::ErrorKind::NotFound`].
pub fn names(folder: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        names.push(entry?.file_name());
    }
    names.sort_unstable();
    Ok(names)
}

/// Removes a file. Returns whether there was one.
///
/// # Errors
/// [`Error::Write`].
pub fn remove(path: &Path, durability: Durability) -> Result<bool, Error> {
    let failed = |error| Error::Write(path.to_owned(), error);
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(error)),
    }
    if durability == Durability::Synced {
        sync_folder(path).map_err(failed)?;
    }
    Ok(true)
}

/// Temporary file, sync, rename, sync of the folder.
fn put(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> io::Result<()> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    // A left-over of an interrupted write is removed first, so that `create_new` never follows a planted link.
    match std::fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&temporary)?;
    let written = (|| {
        file.write_all(bytes)?;
        // The umask took bits from `mode`; FAT has no permission bits and refuses some modes.
        if file.metadata()?.permissions().mode() & 0o777 != mode {
            let _ = file.set_permissions(Permissions::from_mode(mode));
        }
        if durability == Durability::Synced {
            file.sync_all()?;
        }
        std::fs::rename(&temporary, path)?;
        if durability == Durability::Synced {
            sync_folder(path)
        } else {
            Ok(())
        }
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

/// Makes a rename or removal in the folder of `path` durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_once_and_only_when_different() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        assert!(write(&path, b"one", 0o640, Durability::Synced).unwrap());
        assert!(!write(&path, b"one", 0o640, Durability::Synced).unwrap());
        assert!(write(&path, b"on", 0o640, Durability::Volatile).unwrap());
        assert_eq!(read(&path, 10).unwrap(), b"on");
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o640
        );
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            1,
            "no temporary file is left"
        );
    }

    #[test]
    fn does_not_follow_a_planted_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        std::fs::write(&victim, "untouched").unwrap();
        let path = folder.path().join("config");
        std::os::unix::fs::symlink(&victim, folder.path().join("config.new")).unwrap();
        assert!(write(&path, b"new", 0o600, Durability::Volatile).unwrap());
        assert_eq!(std::fs::read(&victim).unwrap(), b"untouched");
    }

    #[test]
    fn refuses_what_is_too_large_or_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        std::fs::write(&path, "12345").unwrap();
        assert!(matches!(read(&path, 4), Err(Error::TooLarge(_, 4))));
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(read(&link, 5).unwrap(), b"12345");
        assert!(read_no_follow(&link, 5).is_err());
        assert_eq!(read_no_follow(&path, 5).unwrap(), b"12345");
        assert!(read(folder.path(), 5).is_err(), "a folder in place of the file");
        assert!(
            read(Path::new("/dev/zero"), 5).is_err(),
            "a device in place of the file"
        );
        assert!(read(&folder.path().join("none"), 5).unwrap_err().is_not_found());
    }

    #[test]
    fn says_whether_something_was_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flag");
        assert!(!remove(&path, Durability::Synced).unwrap());
        std::fs::write(&path, "").unwrap();
        assert!(remove(&path, Durability::Synced).unwrap());
        assert!(!path.exists());
    }
}
