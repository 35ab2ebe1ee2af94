//! Writes the boot partition's copy.
//!
//! In three steps, so that after a power cut it is known which of the two copies is the newer one: the text beside its
//! place, then the store, then the rename. A text that still lies beside its place says that the rename is missing; a
//! boot partition that cannot be written is known before the store is, and is recorded there.
//!
//! Nothing is synced here: `/boot` is mounted `sync` (etc/fstab), so that each step is handed to the medium when it
//! returns, in this order, and the store's sync between the second and the third flushes the medium's cache. A product
//! that mounts it otherwise can lose an export without a trace, and with it the change: the old file is taken for an edit
//! at the next start (docs/durability.md).

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use fleet_base::{file, mount_point};

use super::Copies;
use super::boot_file::Found;
use crate::document::Document;
use crate::finding::refused;
use crate::store::Hash;

/// An export that was begun.
pub(super) enum Export {
    /// The file has this text already.
    Done,
    /// The text is beside its place.
    Begun,
    /// Somebody is writing the file; it is written when it is settled what became of that.
    Later,
    /// It cannot be written.
    Failed(file::Error),
}

/// Where the text is until it is renamed.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

/// Whether an export was begun and not ended.
pub(super) fn is_interrupted(path: &Path) -> bool {
    beside(path).symlink_metadata().is_ok()
}

/// Takes an export back that was begun.
pub(super) fn abandon(path: &Path) {
    let left_over = beside(path);
    match fs::remove_file(&left_over) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            log::warn!("cannot remove {}: {error}", left_over.display());
        }
        _ => {}
    }
}

impl Copies {
    /// Writes the text beside its place, and takes note of what the file is to hold.
    pub(super) fn begin_export(&mut self, text: String, document: Document) -> Export {
        let path = &self.boot.document;
        let export = if self.empty_since.is_some() || self.suspect.is_some() {
            Export::Later
        } else if matches!(Found::at(path), Found::Bytes(bytes) if bytes == text.as_bytes()) {
            Export::Done
        } else {
            match write_beside(path, text.as_bytes()) {
                Ok(()) => Export::Begun,
                Err(error) => Export::Failed(file::Error::Write(path.clone(), error)),
            }
        };
        let is_due = matches!(export, Export::Later | Export::Failed(_));
        self.intend(text, document, self.seen, is_due);
        export
    }

    /// Takes note of what the file is to hold, and what it holds until then.
    pub(super) fn intend(&mut self, text: String, document: Document, before: Option<Hash>, is_due: bool) {
        let hash = Hash::of(text.as_bytes());
        let now = self.on_boot.take();
        self.recent.push(now.filter(|now| *now != document));
        self.findings = self.inspect(&document, &self.identity);
        let boot = &mut self.stored.boot;
        boot.before = before.filter(|before| *before != hash);
        boot.hash = Some(hash);
        boot.is_due = is_due;
        boot.refused = refused(&self.findings);
        boot.text = Some(text);
        self.on_boot = Some(document);
        self.is_unexported = true;
    }

    /// Puts the text in its place. That it fails is a problem that is reported; the stored copy counts.
    pub(super) fn end_export(&mut self, export: Export) {
        let path = &self.boot.document;
        let done = match export {
            Export::Done => Ok(()),
            Export::Later => return,
            Export::Begun => {
                fs::rename(beside(path), path).map_err(|error| file::Error::Write(path.clone(), error))
            }
            Export::Failed(error) => Err(error),
        };
        match done {
            Ok(()) => {
                self.problems.export = None;
                self.exported();
            }
            Err(error) => {
                let missing = if is_of_the_root(path, &error) {
                    ": the boot partition is not mounted there (`systemctl status boot.mount`)"
                } else {
                    ""
                };
                self.problems.export =
                    Some(format!("{error}{missing}; the stored configuration is in force"));
            }
        }
    }

    /// The file holds what it is to hold.
    pub(super) fn exported(&mut self) {
        self.seen = self.stored.boot.hash;
        self.is_unexported = false;
        if self.stored.boot.is_due {
            self.stored.boot.is_due = false;
            self.store();
        }
    }

    /// All three steps, for what is in force whether it can be stored or not.
    pub(super) fn export(&mut self, text: String, document: Document) {
        let export = self.begin_export(text, document);
        self.store();
        self.end_export(export);
    }

    /// Makes the file what it is to hold, as far as that is known: as the person wrote it, if nothing came after it.
    pub(super) fn export_again(&mut self) {
        let known = self.stored.boot.text.clone();
        let text = known.unwrap_or_else(|| self.accepted().to_text());
        let document = Document::parse(text.as_bytes()).unwrap_or_else(|_| self.accepted().clone());
        self.export(text, document);
    }
}

/// Whether the file could not be written because its place is a folder of the root, which is read-only.
fn is_of_the_root(path: &Path, error: &file::Error) -> bool {
    matches!(error, file::Error::Write(_, error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem)
        && path
            .parent()
            .is_some_and(|folder| matches!(mount_point::is_one(folder), Ok(false)))
}

fn write_beside(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = beside(path);
    // A left-over is removed first, so that no planted link is followed.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)?;
    let written = file.write_all(bytes);
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}
