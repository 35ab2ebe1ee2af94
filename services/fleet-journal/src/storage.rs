//! What the journal does now, what it will do at the next boot, and how much room it takes: read from the files
//! that decide it, every time it is asked.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fleet_base::file::{self, Durability};
use fleet_base::paths;

use crate::mount;

/// Where journald stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// In RAM: gone at the next boot.
    Volatile,
    /// On the data partition.
    Persistent,
}

impl Mode {
    /// Its name on the bus.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Volatile => "volatile",
            Self::Persistent => "persistent",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The files that decide. A test gives others than [`Storage::default`].
#[derive(Debug)]
pub(crate) struct Storage {
    /// Exists if the next boot stores persistently.
    pub(crate) flag: PathBuf,
    /// journald makes it when it goes to `/var/log/journal` and removes it when it goes back
    /// (systemd-journald.service(8)).
    pub(crate) flushed: PathBuf,
    /// Where journald stores persistently.
    pub(crate) folder: PathBuf,
    /// The data partition's mount point.
    pub(crate) data: PathBuf,
    /// The folder on it that `folder` is bound to.
    pub(crate) on_data: PathBuf,
    /// The mount table.
    pub(crate) mount_info: PathBuf,
    /// Exists if the state partition, and the flag with it, is lost at power-off.
    pub(crate) state_volatile: PathBuf,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            flag: paths::JOURNAL_FLAG.into(),
            flushed: "/run/systemd/journal/flushed".into(),
            folder: "/var/log/journal".into(),
            data: paths::DATA.into(),
            on_data: Path::new(paths::DATA).join("journal"),
            mount_info: mount::MOUNT_INFO.into(),
            state_volatile: paths::STATE_VOLATILE_FLAG.into(),
        }
    }
}

impl Storage {
    /// Whether `/var/log/journal` is on the data partition.
    ///
    /// # Errors
    /// Why it is not.
    pub(crate) fn check_data(&self) -> Result<(), mount::Error> {
        mount::is_on_data(&self.folder, &self.on_data, &self.data, &self.mount_info)
    }

    /// What journald does now. Persistent only if what it writes really reaches the data partition.
    pub(crate) fn mode(&self) -> Mode {
        if self.flushed.exists() && self.check_data().is_ok() {
            Mode::Persistent
        } else {
            Mode::Volatile
        }
    }

    /// What the next boot does.
    pub(crate) fn configured(&self) -> Mode {
        if self.flag.exists() {
            Mode::Persistent
        } else {
            Mode::Volatile
        }
    }

    /// Makes `mode` what the next boot does; durable when it returns. Returns whether that changed anything.
    ///
    /// # Errors
    /// The flag could not be written or removed.
    pub(crate) fn configure(&self, mode: Mode) -> Result<bool, file::Error> {
        match mode {
            Mode::Persistent if self.flag.exists() => Ok(false),
            Mode::Persistent => file::write(&self.flag, b"", 0o644, Durability::Synced),
            Mode::Volatile => file::remove(&self.flag, Durability::Synced),
        }
    }

    /// Bytes that the journal's files take on the data partition, of this machine-id and any other.
    ///
    /// Allocated blocks, as `journalctl --disk-usage` counts them. What cannot be read counts as nothing.
    pub(crate) fn usage(&self) -> u64 {
        if self.check_data().is_err() {
            return 0;
        }
        allocated(&self.folder)
    }

    /// What is wrong, as a sentence; empty if nothing is.
    pub(crate) fn problem(&self) -> String {
        match (self.configured(), self.mode(), self.check_data()) {
            (Mode::Persistent, Mode::Volatile, Err(error)) => {
                format!("persistent is configured but the journal is not on the data partition: {error}")
            }
            (Mode::Persistent, Mode::Volatile, Ok(())) => {
                "persistent is configured but the journal is in RAM: journald was not told to flush; ask for \
                 persistent again"
                    .to_owned()
            }
            (Mode::Volatile, Mode::Persistent, _) => {
                "volatile is configured but the journal is on the data partition until the next boot; ask for volatile \
                 again"
                    .to_owned()
            }
            (Mode::Volatile, Mode::Volatile, Err(error)) if self.flushed.exists() => {
                format!("volatile is configured but journald stores in {}: {error}", self.folder.display())
            }
            (Mode::Persistent, Mode::Persistent, _) if self.state_volatile.exists() => {
                "persistent is forgotten at power-off: the state partition is not usable".to_owned()
            }
            _ => String::new(),
        }
    }
}

/// The blocks of all files in a folder, and one level of folders in it (a folder a machine-id), in bytes.
fn allocated(folder: &Path) -> u64 {
    /// Of `st_blocks`, whatever the file system's block size (stat(2)).
    const BLOCK: u64 = 512;
    let files_of = |folder: &Path| -> Vec<std::fs::DirEntry> {
        std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .collect()
    };
    let mut bytes = 0_u64;
    for entry in files_of(folder) {
        let inner = match entry.file_type() {
            Ok(kind) if kind.is_dir() => files_of(&entry.path()),
            Ok(_) => vec![entry],
            Err(_) => Vec::new(),
        };
        for file in inner {
            // A link is counted, not followed.
            let blocks = file.metadata().map_or(0, |metadata| metadata.blocks());
            bytes = bytes.saturating_add(blocks.saturating_mul(BLOCK));
        }
    }
    bytes
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A device's files in a temporary folder, with the data partition mounted and the journal in RAM.
    pub(crate) fn device() -> (tempfile::TempDir, Storage) {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        let storage = Storage {
            flag: at("state/persistent"),
            flushed: at("flushed"),
            folder: at("var-log-journal"),
            data: at("data"),
            on_data: at("data/journal"),
            mount_info: at("mountinfo"),
            state_volatile: at("state-volatile"),
        };
        std::fs::create_dir(at("state")).unwrap();
        std::fs::create_dir_all(&storage.on_data).unwrap();
        std::os::unix::fs::symlink(&storage.on_data, &storage.folder).unwrap();
        std::fs::write(
            &storage.mount_info,
            format!("1 2 3:4 / {} rw", storage.data.display()),
        )
        .unwrap();
        (root, storage)
    }

    /// Takes the data partition away.
    pub(crate) fn unmount(storage: &Storage) {
        std::fs::write(&storage.mount_info, "").unwrap();
    }

    #[test]
    fn the_truth_is_in_the_files() {
        // flushed, flag, mounted, state volatile → mode, configured, a word of the problem
        for (flushed, flag, mounted, state_volatile, mode, configured, problem) in [
            (false, false, true, false, Mode::Volatile, Mode::Volatile, ""),
            (true, true, true, false, Mode::Persistent, Mode::Persistent, ""),
            (
                true,
                true,
                true,
                true,
                Mode::Persistent,
                Mode::Persistent,
                "forgotten at power-off",
            ),
            (
                false,
                true,
                true,
                false,
                Mode::Volatile,
                Mode::Persistent,
                "not told to flush",
            ),
            (
                false,
                true,
                false,
                false,
                Mode::Volatile,
                Mode::Persistent,
                "not mounted",
            ),
            (
                true,
                true,
                false,
                false,
                Mode::Volatile,
                Mode::Persistent,
                "not mounted",
            ),
            (
                true,
                false,
                true,
                false,
                Mode::Persistent,
                Mode::Volatile,
                "until the next boot",
            ),
            (
                true,
                false,
                false,
                false,
                Mode::Volatile,
                Mode::Volatile,
                "journald stores in",
            ),
            (false, false, false, false, Mode::Volatile, Mode::Volatile, ""),
        ] {
            let (_root, storage) = device();
            for (file, exists) in [
                (&storage.flushed, flushed),
                (&storage.flag, flag),
                (&storage.state_volatile, state_volatile),
            ] {
                if exists {
                    std::fs::write(file, "").unwrap();
                }
            }
            if !mounted {
                unmount(&storage);
            }
            let case = format!("flushed {flushed}, flag {flag}, mounted {mounted}");
            assert_eq!(
                (storage.mode(), storage.configured()),
                (mode, configured),
                "{case}"
            );
            let text = storage.problem();
            assert_eq!(text.is_empty(), problem.is_empty(), "{case}: {text}");
            assert!(text.contains(problem), "{case}: {text}");
        }
    }

    #[test]
    fn counts_files_of_every_machine_id() {
        let (_root, storage) = device();
        assert_eq!(storage.usage(), 0);
        for machine in ["aaaa", "bbbb"] {
            let folder = storage.on_data.join(machine);
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("system.journal"), vec![1; 100_000]).unwrap();
        }
        assert!(storage.usage() >= 200_000, "{}", storage.usage());
        unmount(&storage);
        assert_eq!(storage.usage(), 0, "nothing is on a partition that is not there");
    }

    #[test]
    fn configures_once() {
        let (_root, storage) = device();
        for (mode, changed) in [
            (Mode::Volatile, false),
            (Mode::Persistent, true),
            (Mode::Persistent, false),
            (Mode::Volatile, true),
            (Mode::Volatile, false),
        ] {
            assert_eq!(storage.configure(mode).unwrap(), changed);
            assert_eq!(storage.configured(), mode);
        }
    }
}
