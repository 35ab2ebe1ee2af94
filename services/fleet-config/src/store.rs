//! The store on the state partition: what the device runs with, whatever happens to the boot partition.
//!
//! | file | what |
//! |---|---|
//! | `config.json` | the last accepted configuration |
//! | `boot.json` | the bytes of the boot partition's file as they were last read or written, which tell an edit |
//! | `uuid` | the identity |
//! | `system-connections/` | the last good keyfiles |

use std::fmt;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use fleet_base::file::{self, Durability};
use fleet_identity::id::{Id, Origin};

use crate::document::{Document, MAX_BYTES, SyntaxError};
use crate::keyfile::Folder;
use crate::value::Uuid;

/// Why the store gives nothing.
#[derive(Debug)]
pub enum Error {
    /// A file cannot be read or written.
    File(file::Error),
    /// The stored configuration is damaged.
    Damaged(PathBuf, SyntaxError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::Damaged(path, error) => write!(f, "{} is damaged: {error}", path.display()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(error) => Some(error),
            Self::Damaged(_, error) => Some(error),
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

impl Store {
    const DOCUMENT: &'static str = "config.json";
    const BOOT_COPY: &'static str = "boot.json";
    const UUID: &'static str = "uuid";
    const KEYFILES: &'static str = "system-connections";
    /// For us alone: the configuration holds secrets. The group is there for a person who is given it.
    const MODE: u32 = 0o640;

    /// The store in this folder.
    #[must_use]
    pub const fn at(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// The last accepted configuration; `None` if none was accepted yet. Where it is damaged,
    /// [`Store::boot_document`] is next.
    ///
    /// # Errors
    /// [`Error`].
    pub fn document(&self) -> Result<Option<Document>, Error> {
        let path = self.0.join(Self::DOCUMENT);
        match file::read(&path, MAX_BYTES) {
            Ok(bytes) => Document::parse(&bytes)
                .map(Some)
                .map_err(|error| Error::Damaged(path, error)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Stores an accepted configuration; it is durable when this returns.
    pub(crate) fn save_document(&self, document: &Document) -> Result<(), Error> {
        self.save(Self::DOCUMENT, document.to_text().as_bytes())
    }

    /// The boot partition's file as it was last read or written, if it is whole.
    pub(crate) fn boot_document(&self) -> Option<(Vec<u8>, Document)> {
        let bytes = file::read(&self.0.join(Self::BOOT_COPY), MAX_BYTES).ok()?;
        let document = Document::parse(&bytes).ok()?;
        Some((bytes, document))
    }

    pub(crate) fn save_boot_copy(&self, bytes: &[u8]) -> Result<(), Error> {
        self.save(Self::BOOT_COPY, bytes)
    }

    /// The stored identity, if there is one that is whole.
    pub(crate) fn uuid(&self) -> Option<Uuid> {
        let bytes = file::read(&self.0.join(Self::UUID), 64).ok()?;
        Id::parse(std::str::from_utf8(&bytes).ok()?.trim_end())
            .ok()
            .map(Uuid::from)
    }

    pub(crate) fn save_uuid(&self, uuid: &Uuid) -> Result<(), Error> {
        self.save(Self::UUID, format!("{uuid}\n").as_bytes())
    }

    /// The identity; made and stored where there is none.
    pub(crate) fn uuid_or_new(&self) -> Result<Uuid, Error> {
        let (id, origin) = Id::load_or_create(&self.0.join(Self::UUID), Self::MODE)?;
        if origin != Origin::Kept {
            log::info!("the device has a new identity: {id}");
        }
        Ok(id.into())
    }

    /// The last good keyfiles.
    pub(crate) fn keyfiles(&self) -> Folder {
        Folder::read(&self.0.join(Self::KEYFILES)).unwrap_or_default()
    }

    /// Makes the stored keyfiles these. Equal ones are not written.
    pub(crate) fn save_keyfiles(&self, keyfiles: &Folder) -> Result<(), Error> {
        write_keyfiles(&self.0.join(Self::KEYFILES), keyfiles)
    }

    fn save(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        file::write(&self.0.join(name), bytes, Self::MODE, Durability::Synced)?;
        Ok(())
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.0
    }
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
