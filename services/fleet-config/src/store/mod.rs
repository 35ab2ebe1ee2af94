//! The store on the state partition: what the device runs with, whatever happens to the boot partition.
//!
//! | file | what |
//! |---|---|
//! | `generation-0`, `generation-1` | the last two states of the store, each whole in itself ([`Stored`]) |
//! | `uuid` | the identity, once more: it survives the loss of everything else |
//! | `system-connections/` | the last good keyfiles; `….removed`, while all of them are being removed |
//!
//! A change is written over the older generation, in place, and synced once. So a power cut tears at most the one that
//! is being written, and the other one is what held before. Both files have their final size from the first use on, as
//! long as the configuration is an ordinary one: writing into them changes no metadata of the file system.

use std::fmt;
use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fleet_base::file::{self, Durability};
use fleet_identity::id::Id;
use nix::fcntl::OFlag;

use self::generation::Header;
pub(crate) use self::hash::Hash;
pub use self::history::{Entry, History};
pub use self::stored::Stored;
use crate::document::Document;
use crate::keyfile::Folder;
use crate::value::Uuid;

mod generation;
mod hash;
mod history;
mod legacy;
mod stored;

/// Why the store gives or takes nothing.
#[derive(Debug)]
pub enum Error {
    /// A file cannot be read or written.
    File(file::Error),
    /// There was something, and nothing of it is whole.
    Damaged(PathBuf),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::Damaged(folder) => {
                write!(
                    f,
                    "both generations of the configuration in {} are damaged",
                    folder.display()
                )
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(error) => Some(error),
            Self::Damaged(_) => None,
        }
    }
}

impl From<file::Error> for Error {
    fn from(error: file::Error) -> Self {
        Self::File(error)
    }
}

/// The folder of the store.
#[derive(Clone, Debug)]
pub struct Store(PathBuf);

/// The file of a generation.
struct Slot {
    /// How much of it is not blank at its end, in bytes.
    used: usize,
    content: Content,
}

/// What is in the file of a generation.
enum Content {
    /// There is no file, or nothing was ever written into it.
    Empty,
    /// A generation that is whole: its header and its body.
    Whole(Header, Vec<u8>),
    /// Something else, or it cannot be read.
    Damaged,
}

impl Slot {
    /// Reads it and takes its sum, once.
    fn read(path: &Path) -> Self {
        let bytes = match file::read(path, stored::MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(error) => {
                let content = match error.is_not_found() {
                    true => Content::Empty,
                    false => Content::Damaged,
                };
                return Self { used: 0, content };
            }
        };
        let used = generation::used(&bytes);
        let content = match generation::decode(&bytes) {
            _ if used == 0 => Content::Empty,
            Some((header, body)) => Content::Whole(header, body.to_vec()),
            None => Content::Damaged,
        };
        Self { used, content }
    }

    /// What it holds, if this release can read it.
    fn stored(&self) -> Option<Stored> {
        match &self.content {
            Content::Whole(header, body) if header.is_readable => Stored::from_json(body),
            _ => None,
        }
    }

    const fn header(&self) -> Option<&Header> {
        match &self.content {
            Content::Whole(header, _) => Some(header),
            _ => None,
        }
    }

    /// Whether it holds exactly this.
    fn holds(&self, body: &[u8]) -> bool {
        matches!(&self.content, Content::Whole(_, now) if now == body)
    }
}

impl Store {
    const GENERATIONS: [&'static str; 2] = ["generation-0", "generation-1"];
    /// The size that both have from the beginning.
    const SIZE: usize = 16 * 1024;
    const UUID: &'static str = "uuid";
    const KEYFILES: &'static str = "system-connections";
    /// Keyfiles that were removed, until they are gone.
    const REMOVED: &'static str = "system-connections.removed";
    /// For us alone: the configuration holds secrets. The group is there for a person who is given it.
    const MODE: u32 = 0o640;

    /// The store in this folder.
    #[must_use]
    pub const fn at(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// The newest state that is whole and that this release can read; that of a release before generations, where
    /// there is none; `None` if nothing was ever stored. Needs no running service.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn load(&self) -> Result<Option<Stored>, Error> {
        let slots = self.slots();
        if let Some((_, stored)) = newest(&slots) {
            return Ok(Some(stored));
        }
        if let Some(stored) = legacy::read(&self.0, self.uuid().as_ref()) {
            return Ok(Some(stored));
        }
        if slots.iter().all(|slot| matches!(slot.content, Content::Empty)) && !legacy::is_there(&self.0) {
            return Ok(None);
        }
        Err(Error::Damaged(self.0.clone()))
    }

    /// The highest revision that may ever have been told to somebody: a generation that is damaged, or that only a
    /// newer release can read, had one too.
    pub(crate) fn highest_revision(&self) -> u64 {
        let slots = self.slots();
        let whole = slots.iter().filter_map(Slot::header);
        let highest = whole.map(|header| header.revision).max().unwrap_or_default();
        let is_damaged = slots.iter().any(|slot| matches!(slot.content, Content::Damaged));
        highest + u64::from(is_damaged)
    }

    /// Stores a state; it is durable when this returns. Nothing is written if it is what the newest generation holds.
    pub(crate) fn save(&self, stored: &Stored) -> Result<(), Error> {
        let slots = self.slots();
        let newest = newest(&slots).map(|(slot, _)| slot);
        let body = stored.to_json();
        if newest.is_some_and(|slot| slots[slot].holds(body.as_bytes())) {
            return Ok(());
        }
        self.write(&slots, newest, stored.revision, body.as_bytes())
    }

    /// Makes durable what is read: a process that died between its write and its sync left a generation that this one
    /// reads from memory. Costs nothing where nothing is left to write.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        for name in Self::GENERATIONS {
            let path = self.0.join(name);
            match File::open(&path).and_then(|file| file.sync_data()) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(file::Error::Write(path, error).into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes over the older generation.
    fn write(
        &self,
        slots: &[Slot; 2],
        newest: Option<usize>,
        revision: u64,
        body: &[u8],
    ) -> Result<(), Error> {
        self.prepare()?;
        let target = newest.map_or(0, |newest| 1 - newest);
        let path = self.0.join(Self::GENERATIONS[target]);
        let sequence = slots
            .iter()
            .filter_map(Slot::header)
            .map(|header| header.sequence);
        let sequence = sequence.max().unwrap_or_default() + 1;
        let bytes = generation::encode(sequence, revision, body, slots[target].used);
        let written = OpenOptions::new()
            .write(true)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(&path)
            .and_then(|file| {
                let written = file.write_all_at(&bytes, 0).and_then(|()| file.sync_data());
                if written.is_err() {
                    // What did not reach the medium may still be read from memory, and must not pass for the newest:
                    // the next write would go over the one that is on the medium.
                    let _ = file.write_all_at(&generation::blank(64), 0);
                }
                written
            });
        written.map_err(|error| file::Error::Write(path, error))?;
        if newest.is_some() && legacy::is_there(&self.0) {
            legacy::remove(&self.0);
        }
        Ok(())
    }

    /// Makes the files that are missing, with their size and their blocks.
    fn prepare(&self) -> Result<(), Error> {
        let mut is_new = false;
        for name in Self::GENERATIONS {
            let path = self.0.join(name);
            if path.symlink_metadata().is_ok() {
                continue;
            }
            let made = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(Self::MODE)
                .open(&path)
                .and_then(|file| {
                    // The unit's umask took bits away.
                    file.set_permissions(Permissions::from_mode(Self::MODE))?;
                    // Not fallocate(2): the blocks it reserves are marked as written by the first write, which is
                    // metadata again.
                    file.write_all_at(&generation::blank(Self::SIZE), 0)?;
                    file.sync_all()
                });
            made.map_err(|error| file::Error::Write(path, error))?;
            is_new = true;
        }
        if is_new {
            self.sync_names()?;
        }
        Ok(())
    }

    /// Makes the names in the folder durable.
    fn sync_names(&self) -> Result<(), Error> {
        let synced = File::open(&self.0).and_then(|folder| folder.sync_all());
        Ok(synced.map_err(|error| file::Error::Write(self.0.clone(), error))?)
    }

    fn slots(&self) -> [Slot; 2] {
        Self::GENERATIONS.map(|name| Slot::read(&self.0.join(name)))
    }

    /// What both generations hold, as far as they are whole.
    pub(crate) fn generations(&self) -> Vec<Stored> {
        self.slots().iter().filter_map(Slot::stored).collect()
    }

    /// The last accepted configuration; `None` if none was accepted yet.
    ///
    /// # Errors
    /// [`Store::load`].
    pub fn document(&self) -> Result<Option<Document>, Error> {
        Ok(self.load()?.and_then(|stored| stored.document))
    }

    /// The identity in its own file, if it is whole.
    pub(crate) fn uuid(&self) -> Option<Uuid> {
        let bytes = file::read(&self.0.join(Self::UUID), 64).ok()?;
        Id::parse(std::str::from_utf8(&bytes).ok()?.trim_end())
            .ok()
            .map(Uuid::from)
    }

    /// Stores the identity in its own file. Nothing is written if it is there.
    pub(crate) fn save_uuid(&self, uuid: &Uuid) -> Result<(), Error> {
        let text = format!("{uuid}\n");
        file::write(
            &self.0.join(Self::UUID),
            text.as_bytes(),
            Self::MODE,
            Durability::Synced,
        )?;
        Ok(())
    }

    /// Stores a state as both generations, for what no older one may take back.
    pub(crate) fn save_twice(&self, stored: &Stored) -> Result<(), Error> {
        let body = stored.to_json();
        for _ in Self::GENERATIONS {
            let slots = self.slots();
            let newest = newest(&slots).map(|(slot, _)| slot);
            self.write(&slots, newest, stored.revision, body.as_bytes())?;
        }
        Ok(())
    }

    /// The last good keyfiles.
    pub(crate) fn keyfiles(&self) -> Folder {
        Folder::read(&self.0.join(Self::KEYFILES)).unwrap_or_default()
    }

    /// Makes the stored keyfiles these. Equal ones are not written.
    ///
    /// Where none is left, all go at once: half of a folder that a person removed would be written again at the next
    /// start.
    pub(crate) fn save_keyfiles(&self, keyfiles: &Folder) -> Result<(), Error> {
        let folder = self.0.join(Self::KEYFILES);
        if !keyfiles.good.is_empty() {
            return write_keyfiles(&folder, keyfiles);
        }
        if file::names(&folder).map_or(true, |names| names.is_empty()) {
            return Ok(());
        }
        self.tidy()?;
        let moved = std::fs::rename(&folder, self.0.join(Self::REMOVED));
        moved.map_err(|error| file::Error::Write(folder, error))?;
        self.sync_names()?;
        self.tidy()
    }

    /// Removes what an interrupted removal left.
    pub(crate) fn tidy(&self) -> Result<(), Error> {
        let removed = self.0.join(Self::REMOVED);
        match std::fs::remove_dir_all(&removed) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(file::Error::Write(removed, error).into())
            }
            _ => Ok(()),
        }
    }
}

/// The newest that can be read, and which it is.
fn newest(slots: &[Slot; 2]) -> Option<(usize, Stored)> {
    let sequence = |slot: usize| slots[slot].header().map(|header| header.sequence);
    let first = usize::from(sequence(1) > sequence(0));
    [first, 1 - first]
        .into_iter()
        .find_map(|slot| Some((slot, slots[slot].stored()?)))
}

/// Makes a folder hold these keyfiles and nothing else. Equal ones are not written.
pub(crate) fn write_keyfiles(folder: &Path, keyfiles: &Folder) -> Result<(), Error> {
    let failed = |error| Error::File(file::Error::Write(folder.to_owned(), error));
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    for keyfile in keyfiles.good.values() {
        file::write(
            &folder.join(&keyfile.file),
            keyfile.bytes.expose(),
            0o600,
            Durability::Synced,
        )?;
    }
    for name in file::names(folder).map_err(failed)? {
        if !keyfiles.good.values().any(|keyfile| name == *keyfile.file) {
            file::remove(&folder.join(name), Durability::Synced)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
