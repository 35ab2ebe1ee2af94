//! The journal's files on the data partition: those of other machine-ids taken in, the oldest removed.
//!
//! journald's own vacuum knows its own folder, the archived files in it, and its own limit. A device that lost its
//! machine-id (a new state partition, a copied card) has another folder, which nothing would ever read or remove. So its
//! files are put among those of the current machine-id, archived ones of journald's own naming (systemd's
//! sd-journal, `journal_directory_vacuum`): `journalctl` shows them, each entry with the `_MACHINE_ID` that wrote it,
//! and they go when they are the oldest.

use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// journald's name of the file that it writes to, if there is no `@` in it: the others are archived.
const ARCHIVED: char = '@';
/// Of `st_blocks`, whatever the file system's block size (stat(2)).
const BLOCK: u64 = 512;

/// Which folder could not be read.
#[derive(Debug)]
pub(crate) struct Error(PathBuf, io::Error);

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read {}: {}", self.0.display(), self.1)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.1)
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tidied {
    /// Files of other machine-ids that were taken in.
    pub(crate) adopted: usize,
    /// Files that were removed.
    pub(crate) removed: usize,
    /// What these took, in bytes.
    pub(crate) freed: u64,
}

/// A file of the journal.
struct File {
    path: PathBuf,
    /// Whether journald may have it open.
    in_use: bool,
    metadata: Metadata,
}

impl File {
    fn bytes(&self) -> u64 {
        self.metadata.blocks().saturating_mul(BLOCK)
    }

    /// When it was written to last.
    fn time(&self) -> SystemTime {
        self.metadata.modified().unwrap_or(UNIX_EPOCH)
    }
}

/// Takes in what other machine-ids left in `folder`, then removes the oldest files until all of them take at most `keep`
/// bytes. Never one that journald writes to: while it is `flushed`, those that are not archived.
///
/// A file that cannot be moved or removed stays; journald may be doing the same at the same time.
///
/// # Errors
/// A folder could not be read.
pub(crate) fn tidy(folder: &Path, machine_id: &str, flushed: bool, keep: u64) -> Result<Tidied, Error> {
    let own = folder.join(machine_id);
    let mut tidied = Tidied {
        adopted: adopt(folder, &own)?,
        ..Tidied::default()
    };
    let mut files = Vec::new();
    for folder in std::iter::once(folder.to_owned()).chain(machine_folders(folder)?) {
        for file in journal_files(&folder)? {
            let archived = file.0.contains(ARCHIVED);
            files.push(File {
                in_use: flushed && !archived && folder == own,
                path: folder.join(file.0),
                metadata: file.1,
            });
        }
    }
    files.sort_by_key(File::time);
    let mut used = files.iter().map(File::bytes).fold(0, u64::saturating_add);
    for file in files.iter().filter(|file| !file.in_use) {
        if used <= keep {
            break;
        }
        match std::fs::remove_file(&file.path) {
            Ok(()) => {
                tidied.removed += 1;
                tidied.freed = tidied.freed.saturating_add(file.bytes());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                log::warn!("cannot remove {}: {error}", file.path.display());
                continue;
            }
        }
        used = used.saturating_sub(file.bytes());
    }
    Ok(tidied)
}

/// Moves the files of other machine-ids into the folder of this one.
fn adopt(folder: &Path, own: &Path) -> Result<usize, Error> {
    let mut adopted = 0;
    for other in machine_folders(folder)?.into_iter().filter(|other| other != own) {
        // Has the group and mode of the folder above (set-group-ID), as tmpfiles made that.
        if let Err(error) = std::fs::create_dir(own)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            log::warn!("cannot make {}: {error}", own.display());
            return Ok(adopted);
        }
        for (name, metadata) in journal_files(&other)? {
            let target = own.join(archived_name(&name, &metadata));
            if target.exists() {
                continue;
            }
            match std::fs::rename(other.join(&name), &target) {
                Ok(()) => adopted += 1,
                Err(error) => log::warn!("cannot move {name} out of {}: {error}", other.display()),
            }
        }
        // Stays if something else is in it.
        let _ = std::fs::remove_dir(&other);
    }
    Ok(adopted)
}

/// The name of a file that nobody writes to any more. One that was in use gets that of a file that was not closed,
/// `system@REALTIME-RANDOM.journal~`, with the time of its last write and its inode.
fn archived_name(name: &str, metadata: &Metadata) -> String {
    if name.contains(ARCHIVED) {
        return name.to_owned();
    }
    let stem = name.split('.').next().unwrap_or("system");
    let since = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let microseconds = since.unwrap_or_default().as_micros();
    format!(
        "{stem}{ARCHIVED}{microseconds:016x}-{:016x}.journal~",
        metadata.ino()
    )
}

/// The folders of machine-ids: 32 hexadecimal digits (machine-id(5)). Links are not followed.
fn machine_folders(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let is_machine_id =
        |name: &str| name.len() == 32 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let names = entries(folder)?.into_iter();
    Ok(names
        .filter(|(name, metadata)| metadata.is_dir() && is_machine_id(name))
        .map(|(name, _)| folder.join(name))
        .collect())
}

/// The files of the journal in a folder.
fn journal_files(folder: &Path) -> Result<Vec<(String, Metadata)>, Error> {
    let mut files = entries(folder)?;
    files.retain(|(name, metadata)| {
        metadata.is_file() && (name.ends_with(".journal") || name.ends_with(".journal~"))
    });
    Ok(files)
}

/// What is in a folder; nothing if the folder went away. Names that are not UTF-8 are not journald's.
fn entries(folder: &Path) -> Result<Vec<(String, Metadata)>, Error> {
    let listed = match std::fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error(folder.to_owned(), error)),
    };
    let known =
        |entry: std::fs::DirEntry| Some((entry.file_name().into_string().ok()?, entry.metadata().ok()?));
    Ok(listed.flatten().filter_map(known).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const OWN: &str = "0123456789abcdef0123456789abcdef";
    const OTHER: &str = "fedcba9876543210fedcba9876543210";

    /// Makes a file of 16 KiB, `age` hours old.
    fn file(root: &Path, machine: &str, name: &str, age: u64) {
        std::fs::create_dir_all(root.join(machine)).unwrap();
        let path = root.join(machine).join(name);
        std::fs::write(&path, vec![1; 16 << 10]).unwrap();
        let time = SystemTime::now() - Duration::from_secs(age * 3600);
        std::fs::File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(time)
            .unwrap();
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = entries(folder)
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_oldest_go_first_and_what_is_written_to_stays() {
        let root = tempfile::tempdir().unwrap();
        file(root.path(), OWN, "system.journal", 9);
        file(root.path(), OWN, "system@a-2.journal", 2);
        file(root.path(), OWN, "system@a-1.journal", 3);
        file(root.path(), OWN, "user-1000@b.journal~", 1);
        let own = root.path().join(OWN);
        let all = 4 * (16 << 10);
        assert_eq!(tidy(root.path(), OWN, true, all).unwrap(), Tidied::default());
        let one = tidy(root.path(), OWN, true, all - 1).unwrap();
        assert_eq!((one.removed, one.freed), (1, 16 << 10));
        assert_eq!(
            names(&own),
            ["system.journal", "system@a-2.journal", "user-1000@b.journal~"]
        );
        assert_eq!(tidy(root.path(), OWN, true, 0).unwrap().removed, 2);
        assert_eq!(names(&own), ["system.journal"], "journald has it open");
        assert_eq!(tidy(root.path(), OWN, false, 0).unwrap().removed, 1);
        assert_eq!(names(&own), [""; 0]);
    }

    #[test]
    fn takes_in_what_another_machine_id_left() {
        let root = tempfile::tempdir().unwrap();
        file(root.path(), OTHER, "system.journal", 5);
        file(root.path(), OTHER, "system@a-1.journal", 6);
        file(root.path(), OTHER, "user-1000.journal", 4);
        let tidied = tidy(root.path(), OWN, true, u64::MAX).unwrap();
        assert_eq!((tidied.adopted, tidied.removed), (3, 0));
        assert!(!root.path().join(OTHER).exists());
        let taken = names(&root.path().join(OWN));
        assert_eq!(taken.len(), 3, "{taken:?}");
        assert!(taken.iter().all(|name| name.contains('@')), "{taken:?}");
        // systemd's vacuum takes the time of an unclosed file from its name: 16 hexadecimal digits before the dash.
        let unclosed: Vec<_> = taken.iter().filter(|name| name.ends_with('~')).collect();
        assert_eq!(unclosed.len(), 2, "{taken:?}");
        assert!(
            unclosed
                .iter()
                .all(|name| name.split(['@', '-']).nth_back(1).unwrap().len() == 16),
            "{taken:?}"
        );
        // They are the oldest, and go when there is no room.
        file(root.path(), OWN, "system.journal", 0);
        assert_eq!(tidy(root.path(), OWN, true, 16 << 10).unwrap().removed, 3);
    }

    #[test]
    fn leaves_alone_what_is_not_journalds() {
        let root = tempfile::tempdir().unwrap();
        file(root.path(), OTHER, "notes.txt", 5);
        file(root.path(), "lost+found", "system.journal", 5);
        std::os::unix::fs::symlink("/etc/passwd", root.path().join(OTHER).join("system@x.journal")).unwrap();
        std::os::unix::fs::symlink("/etc", root.path().join("a".repeat(32))).unwrap();
        assert_eq!(tidy(root.path(), OWN, false, 0).unwrap(), Tidied::default());
        assert_eq!(names(&root.path().join(OTHER)), ["notes.txt", "system@x.journal"]);
        assert_eq!(names(&root.path().join("lost+found")), ["system.journal"]);
        assert_eq!(
            tidy(&root.path().join("none"), OWN, false, 0).unwrap(),
            Tidied::default()
        );
    }
}
