//! The boot partition's `config.json`, as it may be found: everything on FAT can come from anywhere.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;

use crate::document::MAX_BYTES;
use crate::store::Hash;

/// What is there.
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// A file.
    Bytes(Vec<u8>),
    /// A file that is too large to be read, and what tells it from another one.
    TooLarge(Hash),
    /// Something else: a folder, a link, a device.
    NotAFile,
    /// It cannot be read: an error of the medium, not of its content.
    Unreadable(io::Error),
}

impl Found {
    /// Looks. No link is followed, nothing waits for a writer, and no more is read than a document may have.
    pub(super) fn at(path: &Path) -> Self {
        let kind = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata.file_type(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::Nothing,
            Err(error) => return Self::Unreadable(error),
        };
        if !kind.is_file() {
            return Self::NotAFile;
        }
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits())
            .open(path);
        match file.and_then(|file| read(&file)) {
            Ok(found) => found,
            // It went between the two looks.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::Nothing,
            Err(error) => Self::Unreadable(error),
        }
    }
}

fn read(file: &File) -> io::Result<Found> {
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Ok(Found::NotAFile);
    }
    // Room for what it claims and one byte more, to see the end: otherwise it is read in many small steps.
    let claimed = usize::try_from(metadata.len().min(MAX_BYTES)).unwrap_or_default();
    let mut bytes = Vec::with_capacity(claimed + 1);
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        let size = metadata.len().to_le_bytes();
        return Ok(Found::TooLarge(Hash::of_parts(&[&size, &bytes])));
    }
    Ok(Found::Bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_no_link_and_waits_for_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("secret"), "{}").unwrap();
        std::os::unix::fs::symlink(path("secret"), path("link")).unwrap();
        nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::write(path("large"), vec![b' '; 10 << 20]).unwrap();
        assert!(matches!(Found::at(&path("none")), Found::Nothing));
        assert!(matches!(Found::at(&path("secret")), Found::Bytes(bytes) if bytes == b"{}"));
        for name in ["link", "fifo"] {
            assert!(matches!(Found::at(&path(name)), Found::NotAFile), "{name}");
        }
        assert!(matches!(Found::at(folder.path()), Found::NotAFile));
        assert!(matches!(Found::at(&path("large")), Found::TooLarge(_)));
    }
}
