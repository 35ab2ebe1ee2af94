//! The configuration without the service: the same store and the same export, nothing applied.
//!
//! For tests that cut the power between two system calls, and for tools that prepare a card. Not beside a running
//! service, which would not know of it.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;

use fleet_base::secret::Secret;

use crate::copies::{Boot, Copies};
use crate::document::{Document, KeyPath};
use crate::keyfile::{self, Folder, Refusal};
use crate::store::Store;
use crate::value::Uuid;

/// Who makes the changes, in the history.
const WHO: &str = "root";

/// A store and a boot partition, opened as the service opens them at its start.
pub struct Offline(Copies);

impl Offline {
    /// Opens the store in the folder `state` and the boot partition in the folder `boot`: settles the identity, accepts
    /// what was edited, and makes the boot partition's copy whole.
    ///
    /// # Errors
    /// There is no identity and no random numbers to make one.
    pub fn open(state: &Path, boot: &Path) -> io::Result<Self> {
        let places = Boot {
            document: boot.join("config.json"),
            keyfiles: boot.join("system-connections"),
            board: boot.join("board"),
            certificates_are_judged: false,
        };
        Copies::open(Store::at(state.to_owned()), places).map(Self)
    }

    /// Sets a key to a JSON text. Returns the revision.
    ///
    /// # Errors
    /// The key or value is refused, or the change cannot be stored; nothing is changed then. So for all changes.
    pub fn set(&mut self, key: &str, json: &str) -> io::Result<u64> {
        self.0.set(&path(key)?, json, WHO).map_err(refused)
    }

    /// Removes a key. Returns the revision.
    ///
    /// # Errors
    /// As for [`Offline::set`].
    pub fn unset(&mut self, key: &str) -> io::Result<u64> {
        self.0.unset(&path(key)?, WHO).map_err(refused)
    }

    /// Applies a merge patch (RFC 7396). Returns the revision.
    ///
    /// # Errors
    /// As for [`Offline::set`].
    pub fn patch(&mut self, patch: &str) -> io::Result<u64> {
        self.0.patch(0, patch, WHO).map_err(refused)
    }

    /// Makes the configuration what it was at a revision. Returns the new one.
    ///
    /// # Errors
    /// As for [`Offline::set`]; the history does not reach back so far.
    pub fn revert(&mut self, revision: u64) -> io::Result<u64> {
        self.0.revert(revision, WHO).map_err(refused)
    }

    /// Accepts what was edited on the boot partition. A broken file is put aside when it was the same a quarter of a
    /// second before.
    pub fn import(&mut self) {
        self.0.import();
    }

    /// Accepts what was edited in the folder of keyfiles, and makes it whole where it is gone, as the service does after
    /// each change. Returns those in force: the names of their files, and what is in them.
    pub fn keyfiles(&mut self) -> BTreeMap<String, Vec<u8>> {
        let good = self.0.keyfiles().good.into_values();
        good.map(|keyfile| (keyfile.file, keyfile.bytes.expose().clone()))
            .collect()
    }

    /// The configuration in force; empty before the first was accepted.
    #[must_use]
    pub fn document(&self) -> &Document {
        self.0.accepted()
    }

    /// Counts accepted configurations.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.0.revision()
    }

    /// The identity.
    #[must_use]
    pub const fn identity(&self) -> &Uuid {
        self.0.identity()
    }
}

fn path(key: &str) -> io::Result<KeyPath> {
    KeyPath::parse(key).map_err(refused)
}

fn refused(error: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

/// Keyfiles as a device would judge them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyfiles {
    /// Those that it takes: the names of their files, and what is in them.
    pub good: BTreeMap<String, Secret<Vec<u8>>>,
    /// Those that it refuses: the names of their files, and why.
    pub refused: BTreeMap<String, String>,
}

impl Keyfiles {
    /// The largest keyfile, in bytes.
    pub const MAX_BYTES: u64 = keyfile::MAX_BYTES;

    /// Judges a folder. What editors leave behind is passed over.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn read(folder: &Path) -> io::Result<Self> {
        Folder::read(folder).map(Self::from)
    }

    /// Judges files that were read elsewhere, in this order.
    #[must_use]
    pub fn of(files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let mut folder = Folder::default();
        for (name, bytes) in files {
            if keyfile::is_left_over(&name) {
                continue;
            }
            let read = match u64::try_from(bytes.len()) {
                Ok(length) if length <= Self::MAX_BYTES => Ok(bytes),
                _ => Err(Refusal::Read(keyfile::too_large(Self::MAX_BYTES))),
            };
            folder.add(name, read);
        }
        Self::from(folder)
    }

    /// The name of the profile in a file: two files of one name are refused.
    #[must_use]
    pub fn profile(file: &str) -> &str {
        keyfile::stem(file)
    }
}

impl From<Folder> for Keyfiles {
    fn from(folder: Folder) -> Self {
        let good = folder.good.into_values();
        let refused = folder.refused.into_iter();
        Self {
            good: good.map(|keyfile| (keyfile.file, keyfile.bytes)).collect(),
            refused: refused.map(|(file, why)| (file, why.to_string())).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyfiles_are_judged_alike_in_a_folder_and_in_memory() {
        let files = [
            ("a", "[connection]\nid=a\n".to_owned()),
            ("a.nmconnection", "[connection]\nid=b\n".to_owned()),
            ("b~", "no keyfile".to_owned()),
            ("large", "#".repeat(65 * 1024)),
            ("none", "no keyfile".to_owned()),
        ];
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in &files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let read = Keyfiles::read(folder.path()).unwrap();
        assert_eq!(read.good.keys().collect::<Vec<_>>(), ["a"]);
        let refused: Vec<_> = read.refused.keys().collect();
        assert_eq!(refused, ["a.nmconnection", "large", "none"]);
        let of = Keyfiles::of(files.map(|(name, text)| (name.to_owned(), text.into_bytes())));
        assert_eq!(of, read);
    }
}
