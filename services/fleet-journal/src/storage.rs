//! Where the journal is and how much room it has: read from the files that decide it, every time it is asked.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fleet_base::file::{self, Durability};
use fleet_base::paths;
use nix::sys::statvfs::{Statvfs, statvfs};

use crate::alarm::Alarm;
use crate::intent::Files;
use crate::limits::Limits;
use crate::mode::Mode;
use crate::mount;

/// Far more than a sentence has.
const MAX_TROUBLE: u64 = 4096;

/// The files that decide. A test gives others than [`Storage::default`].
#[derive(Clone, Debug)]
pub(crate) struct Storage {
    /// What is wanted.
    pub(crate) intent: Files,
    /// journald makes it when it goes to `/var/log/journal` and removes it when it goes back
    /// (systemd-journald.service(8)).
    pub(crate) flushed: PathBuf,
    /// Where journald stores persistently.
    pub(crate) folder: PathBuf,
    /// Where journald stores in RAM.
    pub(crate) in_ram: PathBuf,
    /// The data partition's mount point.
    pub(crate) data: PathBuf,
    /// The folder on it that `folder` is bound to.
    pub(crate) on_data: PathBuf,
    /// The mount table.
    pub(crate) mount_info: PathBuf,
    /// What the kernel says of file systems.
    pub(crate) sys: PathBuf,
    /// Exists if the state partition, and the flag with it, is lost at power-off.
    pub(crate) state_volatile: PathBuf,
    /// The limits of the configuration, as rendered for journald.
    pub(crate) limits: PathBuf,
    /// Why the journal is not where it is wanted, as it was said last: it is said once, whichever run of the service finds it.
    pub(crate) trouble: PathBuf,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            intent: Files {
                flag: paths::JOURNAL_FLAG.into(),
                call: paths::JOURNAL_CALL.into(),
                until: Path::new(paths::RUN).join("journal/call"),
                unkept: Path::new(paths::RUN).join("journal/unkept"),
            },
            trouble: Path::new(paths::RUN).join("journal/trouble"),
            flushed: paths::JOURNAL_FLUSHED.into(),
            folder: paths::JOURNAL.into(),
            in_ram: "/run/log/journal".into(),
            data: paths::DATA.into(),
            on_data: Path::new(paths::DATA).join("journal"),
            mount_info: mount::MOUNT_INFO.into(),
            sys: "/sys".into(),
            state_volatile: paths::STATE_VOLATILE_FLAG.into(),
            limits: Path::new(paths::RUN_CONFIG).join("journald.conf"),
        }
    }
}

/// The journal at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Facts {
    /// journald was told to leave RAM, and has not been told to go back.
    pub(crate) told: bool,
    /// It writes to RAM all the same: when a flush runs out of room it stays told, tries again at every line, and neither
    /// `journalctl --flush` nor `--relinquish-var` gets it out of that (seen with systemd 257).
    pub(crate) in_ram: bool,
    /// Bytes of its files in RAM.
    pub(crate) ram_used: u64,
    /// The data partition; or why it cannot be used, as a sentence.
    pub(crate) data: Result<Room, String>,
}

/// The room on the data partition, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// Free, also for root only: journald counts so too.
    pub(crate) free: u64,
    /// Taken by the journal's files, of any machine-id.
    pub(crate) used: u64,
}

impl Facts {
    /// What journald does: persistent only if what it writes reaches the data partition.
    pub(crate) const fn mode(&self) -> Mode {
        match (self.left_ram(), &self.data) {
            (true, Ok(_)) => Mode::Persistent,
            _ => Mode::Volatile,
        }
    }

    /// Whether journald left RAM. Where to is another question.
    pub(crate) const fn left_ram(&self) -> bool {
        self.told && !self.in_ram
    }
}

impl Storage {
    /// The journal now.
    pub(crate) fn facts(&self) -> Facts {
        Facts {
            told: self.flushed.exists(),
            in_ram: folders(&self.in_ram).any(|folder| folder.join("system.journal").exists()),
            ram_used: allocated(&self.in_ram),
            data: self.room(),
        }
    }

    fn room(&self) -> Result<Room, String> {
        mount::is_on_data(
            &self.folder,
            &self.on_data,
            &self.data,
            &self.mount_info,
            &self.sys,
        )
        .map_err(|error| error.to_string())?;
        let data = statvfs(&self.data)
            .map_err(|error| format!("cannot ask for the room on {}: {error}", self.data.display()))?;
        Ok(Room {
            free: free(&data),
            used: allocated(&self.folder),
        })
    }

    /// Tells of what happens to the data partition from now on.
    pub(crate) fn alarm(&self) -> Alarm {
        let errors = mount::errors(&self.data, &self.mount_info, &self.sys);
        Alarm::set(&self.mount_info, errors.as_deref())
    }

    /// What was said last of why the journal is not where it is wanted; empty if it was.
    pub(crate) fn trouble(&self) -> String {
        let bytes = file::read(&self.trouble, MAX_TROUBLE).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// For the runs of the service to come, in this boot.
    pub(crate) fn keep_trouble(&self, trouble: &str) {
        let kept = match trouble {
            "" => file::remove(&self.trouble, Durability::Volatile),
            trouble => file::write(&self.trouble, trouble.as_bytes(), 0o644, Durability::Volatile),
        };
        if let Err(error) = kept {
            log::debug!("it will be said again: {error}");
        }
    }

    /// The limits of the configuration.
    pub(crate) fn limits(&self) -> Limits {
        Limits::read(&self.limits)
    }
}

/// The free bytes of a file system.
#[allow(
    clippy::useless_conversion,
    reason = "the counts have 32 bits on 32-bit machines"
)]
fn free(data: &Statvfs) -> u64 {
    u64::from(data.blocks_free()).saturating_mul(u64::from(data.fragment_size()))
}

/// The folders in a folder; links are not followed.
fn folders(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
}

/// The blocks of all files in a folder, and one level of folders in it (a folder a machine-id), in bytes: allocated
/// blocks, as `journalctl --disk-usage` counts them. What cannot be read counts as nothing.
fn allocated(folder: &Path) -> u64 {
    /// Of `st_blocks`, whatever the file system's block size (stat(2)).
    const BLOCK: u64 = 512;
    let all = std::iter::once(folder.to_owned()).chain(folders(folder));
    all.flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten())
        // A link is counted, not followed.
        .filter_map(|entry| entry.metadata().ok())
        .filter(|metadata| !metadata.is_dir())
        .fold(0_u64, |bytes, metadata| {
            bytes.saturating_add(metadata.blocks().saturating_mul(BLOCK))
        })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A device's files in a temporary folder, with the data partition mounted and the journal in RAM.
    pub(crate) fn device() -> (tempfile::TempDir, Storage) {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        let storage = Storage {
            intent: Files {
                flag: at("state/persistent"),
                call: at("state/call"),
                until: at("until"),
                unkept: at("unkept"),
            },
            trouble: at("trouble"),
            flushed: at("flushed"),
            folder: at("var-log-journal"),
            in_ram: at("run-log-journal"),
            data: at("data"),
            on_data: at("data/journal"),
            mount_info: at("mountinfo"),
            sys: at("sys"),
            state_volatile: at("state-volatile"),
            limits: at("journald.conf"),
        };
        std::fs::create_dir(at("state")).unwrap();
        std::fs::create_dir_all(&storage.on_data).unwrap();
        std::fs::create_dir_all(storage.in_ram.join("aaaa")).unwrap();
        std::os::unix::fs::symlink(&storage.on_data, &storage.folder).unwrap();
        mount(&storage, "rw");
        (root, storage)
    }

    /// Mounts the data partition with these options.
    pub(crate) fn mount(storage: &Storage, options: &str) {
        let line = format!(
            "1 2 3:4 / {} rw - ext4 /dev/x {options}\n",
            storage.data.display()
        );
        std::fs::write(&storage.mount_info, line).unwrap();
    }

    /// Takes the data partition away.
    pub(crate) fn unmount(storage: &Storage) {
        std::fs::write(&storage.mount_info, "").unwrap();
    }

    #[test]
    fn the_truth_is_in_the_files() {
        let (_root, storage) = device();
        assert_eq!(storage.facts().mode(), Mode::Volatile);
        std::fs::write(&storage.flushed, "").unwrap();
        assert_eq!(storage.facts().mode(), Mode::Persistent);
        // journald says that it was told, and stayed in RAM.
        let in_ram = storage.in_ram.join("aaaa/system.journal");
        std::fs::write(&in_ram, "x").unwrap();
        assert_eq!(storage.facts().mode(), Mode::Volatile);
        std::fs::remove_file(&in_ram).unwrap();
        mount(&storage, "ro");
        let facts = storage.facts();
        assert!(facts.left_ram() && facts.mode() == Mode::Volatile);
        assert!(facts.data.unwrap_err().contains("read-only"));
        unmount(&storage);
        assert!(storage.facts().data.unwrap_err().contains("not mounted"));
    }

    #[test]
    fn counts_files_of_every_machine_id() {
        let (_root, storage) = device();
        assert_eq!(storage.facts().data.unwrap().used, 0);
        for machine in ["aaaa", "bbbb"] {
            let folder = storage.on_data.join(machine);
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("system.journal"), vec![1; 100_000]).unwrap();
        }
        let Room { free, used } = storage.facts().data.unwrap();
        assert!(used >= 200_000 && free > 0, "{used} {free}");
    }
}
