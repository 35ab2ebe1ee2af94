//! Where the journal is written before it is compressed, and that there is room for it.
//!
//! In RAM (`/run`) if a quarter of the memory that is free holds it: that wears no flash, and leaves a board of 512 MB three
//! quarters of what it has. The image's limit for a volatile journal, 16 MiB, always fits. A longer one, which is on the
//! data partition itself, goes beside it.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use fleet_base::exit::Exit;
use fleet_base::{file, paths};

use super::target::cannot_write;
use crate::cli::failure::Failure;

/// Begins the names of our folders.
const PREFIX: &str = ".fleet-export-";
/// What a journal has beside its entries: it grows by 8 MiB (journald-file(5)), and a mark may be longer than a secret.
const SLACK: u64 = 16 << 20;
/// `st_blocks`, whatever the file system's block size (stat(2)).
const BLOCK: u64 = 512;
/// Where journald keeps its files.
const JOURNALS: [&str; 2] = ["/run/log/journal", "/var/log/journal"];

/// A folder of our own that is removed with all that is in it, for root alone.
pub(super) struct Room {
    path: PathBuf,
    /// The most bytes that may be written there.
    limit: Option<u64>,
}

impl Room {
    /// In the folder of what is written last, so that it is renamed and not copied.
    pub(super) fn beside(folder: &Path) -> Result<Self, Failure> {
        Self::make(folder, None).map_err(|error| {
            let mut failure = cannot_write(folder, &error);
            if error.kind() == io::ErrorKind::ReadOnlyFilesystem {
                failure = Failure::new(
                    Exit::CannotWrite,
                    format!(
                        "{failure}. Name a file in another folder (--output /data/NAME.journal.zst), or send it to another \
                         machine (--output -)."
                    ),
                );
            }
            failure
        })
    }

    /// For as much as all journals of this device have.
    pub(super) fn for_a_journal() -> Result<Self, Failure> {
        let needed = JOURNALS
            .iter()
            .map(|folder| usage(Path::new(folder), 2))
            .sum::<u64>()
            + SLACK;
        let spare = spare_memory(Path::new("/proc/meminfo"));
        let (run, data) = (Path::new(paths::RUN), Path::new(paths::DATA));
        if needed <= spare.min(free(run)) {
            return Self::make(run, Some(spare)).map_err(|error| cannot_write(run, &error));
        }
        if needed <= free(data)
            && let Ok(room) = Self::make(data, None)
        {
            return Ok(room);
        }
        Err(Failure::new(
            Exit::CannotWrite,
            format!(
                "there is no room for the journal before it is compressed: it may take {}, in a quarter of the free memory \
                 or on the data partition. --output FILE.journal writes it at once where you say.",
                fleet_base::size::bytes(needed)
            ),
        ))
    }

    fn make(folder: &Path, limit: Option<u64>) -> io::Result<Self> {
        // Of one that was killed: only one runs at a time.
        for name in file::names(folder)? {
            if name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
                std::fs::remove_dir_all(folder.join(name))?;
            }
        }
        let path = folder.join(format!("{PREFIX}{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path, limit })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether what is being written is still within the limit.
    pub(super) fn still_has_room(&self, file: &Path) -> Result<(), Failure> {
        let written = file.metadata().map_or(0, |metadata| metadata.blocks() * BLOCK);
        match self.limit {
            Some(limit) if written > limit => Err(Failure::new(
                Exit::CannotWrite,
                format!(
                    "the journal takes more than {} of memory: export less of it (--since, --boot)",
                    fleet_base::size::bytes(limit)
                ),
            )),
            _ => Ok(()),
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            eprintln!("fleet: cannot remove {}: {error}", self.path.display());
        }
    }
}

/// A quarter of what is free (proc_meminfo(5)), in bytes; 0 if that is not known.
fn spare_memory(meminfo: &Path) -> u64 {
    let text = file::read(meminfo, 64 * 1024).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib: u64 = kib.and_then(|kib| kib.parse().ok()).unwrap_or(0);
    kib.saturating_mul(1024) / 4
}

/// What the file system of a folder has left for root, in bytes; 0 if that is not known.
#[allow(
    clippy::useless_conversion,
    reason = "the numbers are narrower on a board of 32 bits"
)]
fn free(folder: &Path) -> u64 {
    nix::sys::statvfs::statvfs(folder).map_or(0, |system| {
        u64::from(system.blocks_available()).saturating_mul(u64::from(system.fragment_size()))
    })
}

/// The blocks of all files in a folder, in bytes.
fn usage(folder: &Path, depth: u32) -> u64 {
    let names = file::names(folder).unwrap_or_default().into_iter();
    let size = |name| {
        let path = folder.join(name);
        match path.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() && depth > 0 => usage(&path, depth - 1),
            Ok(metadata) if metadata.is_file() => metadata.blocks() * BLOCK,
            _ => 0,
        }
    };
    names.map(size).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_removed_and_removes_what_a_killed_one_left() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(".fleet-export-1")).unwrap();
        std::fs::write(folder.path().join(".fleet-export-1/x"), "x").unwrap();
        std::fs::write(folder.path().join("other"), "x").unwrap();
        let room = Room::beside(folder.path()).unwrap();
        std::fs::write(room.path().join("export.journal"), "x").unwrap();
        assert_eq!(room.path().metadata().unwrap().mode() & 0o777, 0o700);
        assert_eq!(file::names(folder.path()).unwrap().len(), 2);
        drop(room);
        assert_eq!(file::names(folder.path()).unwrap(), ["other"]);
        let failure = Room::beside(Path::new("/proc")).err().unwrap();
        assert_eq!(failure.exit(), Exit::CannotWrite);
    }

    #[test]
    fn a_quarter_of_the_free_memory_is_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let meminfo = folder.path().join("meminfo");
        std::fs::write(&meminfo, "MemTotal:  500000 kB\nMemAvailable:  400 kB\n").unwrap();
        assert_eq!(spare_memory(&meminfo), 102_400);
        assert_eq!(spare_memory(&folder.path().join("none")), 0);
        let room = Room::make(folder.path(), Some(8192)).unwrap();
        let path = room.path().join("x");
        std::fs::write(&path, [1; 4096]).unwrap();
        room.still_has_room(&path).unwrap();
        std::fs::write(&path, [1; 16384]).unwrap();
        assert_eq!(room.still_has_room(&path).unwrap_err().exit(), Exit::CannotWrite);
    }
}
