//! The boot partition: a FAT with `config.json` and the folder `system-connections`.

use std::collections::BTreeMap;
use std::io::{self, Read, SeekFrom, Write};

use fatfs::{Date, DateTime, Dir, FileSystem, FsOptions, ReadWriteSeek, Time, TimeProvider};
use fleet_base::secret::Secret;
use fleet_config::document;
use fleet_config::offline::Keyfiles;

use crate::medium::Window;
use crate::overlay::{Overlay, Sector};

const CONFIG: &str = "config.json";
const KEYFILES: &str = "system-connections";
/// A folder of more entries is damaged: it may be a circle.
const MOST_ENTRIES: usize = 10_000;

/// What of it concerns us.
pub struct Content {
    /// `config.json`, if there is one.
    pub config: Option<Secret<Vec<u8>>>,
    /// The files in `system-connections`, by name.
    pub keyfiles: BTreeMap<String, Secret<Vec<u8>>>,
}

/// The first day of FAT: the same input makes the same image, whenever it is made.
#[derive(Debug)]
struct Fixed;

impl TimeProvider for Fixed {
    fn get_current_date(&self) -> Date {
        Date {
            year: 1980,
            month: 1,
            day: 1,
        }
    }

    fn get_current_date_time(&self) -> DateTime {
        DateTime {
            date: self.get_current_date(),
            time: Time {
                hour: 0,
                min: 0,
                sec: 0,
                millis: 0,
            },
        }
    }
}

fn open<T: ReadWriteSeek>(mut disk: T) -> io::Result<FileSystem<T>> {
    disk.seek(SeekFrom::Start(0))?;
    FileSystem::new(disk, FsOptions::new().time_provider(&Fixed))
}

/// The label of a FAT: of its root folder, where tools change it, else of its first sector.
///
/// # Errors
/// It is no FAT, or cannot be read.
pub fn label(window: Window) -> io::Result<String> {
    let system = open(window)?;
    let label = system.read_volume_label_from_root_dir()?;
    let label = label.unwrap_or_else(|| system.volume_label());
    Ok(label.trim_end().to_owned())
}

/// Reads it.
///
/// # Errors
/// It is no FAT, or cannot be read.
pub fn read(disk: impl ReadWriteSeek) -> io::Result<Content> {
    let system = open(disk)?;
    let root = system.root_dir();
    let config = match root.open_file(CONFIG) {
        Ok(file) => Some(Secret::new(some(file, document::MAX_BYTES)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let mut keyfiles = BTreeMap::new();
    match root.open_dir(KEYFILES) {
        Ok(folder) => {
            for name in files(&folder)? {
                let bytes = some(folder.open_file(&name)?, Keyfiles::MAX_BYTES)?;
                keyfiles.insert(name, Secret::new(bytes));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(Content { config, keyfiles })
}

/// Puts a configuration on it; without one its own stays. Of the keyfiles that are there, those of the same profiles are replaced.
///
/// # Errors
/// It is damaged, or too full.
pub fn put(
    disk: &mut Overlay,
    config: Option<&[u8]>,
    keyfiles: &BTreeMap<String, Secret<Vec<u8>>>,
) -> io::Result<()> {
    if !keyfiles.is_empty() {
        let system = open(&mut *disk)?;
        system.root_dir().create_dir(KEYFILES)?;
        system.unmount()?;
        disk.written().for_each(without_long_dots);
    }
    let system = open(disk)?;
    if let Some(config) = config {
        replace(&system.root_dir(), CONFIG, config)?;
    }
    if !keyfiles.is_empty() {
        let folder = system.root_dir().open_dir(KEYFILES)?;
        for (name, bytes) in keyfiles {
            let is_other = |file: &String| {
                // FAT folds case, and so two files that differ in it are one.
                Keyfiles::profile(file).eq_ignore_ascii_case(Keyfiles::profile(name)) && file != name
            };
            for other in files(&folder)?.iter().filter(|file| is_other(file)) {
                folder.remove(other)?;
            }
            replace(&folder, name, bytes.expose())?;
        }
    }
    // Writes the count of free clusters and the mark that all is well.
    system.unmount()
}

/// fatfs 0.3.6 gives the entries `.` and `..` of a new folder long names, each in an entry before it, which fsck.vfat
/// takes for damage. If this is the first sector of such a folder, they go.
fn without_long_dots(sector: &mut Sector) {
    const ENTRY: usize = 32;
    const LONG_NAME: u8 = 0x0f;
    let is_long = |entry: usize| sector[entry * ENTRY + 11] == LONG_NAME;
    let is_named = |entry: usize, name: &[u8; 11]| sector[entry * ENTRY..].starts_with(name);
    let is_new = is_long(0) && is_named(1, b".          ") && is_long(2) && is_named(3, b"..         ");
    if is_new {
        sector.copy_within(ENTRY..2 * ENTRY, 0);
        sector.copy_within(3 * ENTRY..4 * ENTRY, ENTRY);
        sector[2 * ENTRY..].fill(0);
    }
}

/// Bytes that are free on it.
///
/// # Errors
/// It is no FAT, or cannot be read.
pub fn free(disk: impl ReadWriteSeek) -> io::Result<u64> {
    let system = open(disk)?;
    let stats = system.stats()?;
    Ok(u64::from(stats.free_clusters()) * u64::from(stats.cluster_size()))
}

fn replace<T: ReadWriteSeek>(folder: &Dir<'_, T>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = folder.create_file(name)?;
    file.truncate()?;
    file.write_all(bytes)?;
    file.flush()
}

/// At most one byte more than the limit, so that too much is found to be too much.
fn some(file: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn files<T: ReadWriteSeek>(folder: &Dir<'_, T>) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for (count, entry) in folder.iter().enumerate() {
        if count == MOST_ENTRIES {
            return Err(io::Error::other("a folder on it does not end"));
        }
        let entry = entry?;
        if entry.is_file() {
            names.push(entry.file_name());
        }
    }
    Ok(names)
}
