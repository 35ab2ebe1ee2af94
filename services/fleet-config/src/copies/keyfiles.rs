//! The keyfiles of the two copies.
//!
//! Profiles are what brings the device online, so they go only when a person removed them: a folder that is not
//! there may as well be a boot partition that was made again, or a directory that a power cut took.

use std::io;
use std::path::{Path, PathBuf};

use super::Copies;
use super::problem::{note, stored};
use crate::keyfile::Folder;
use crate::store::{self, write_keyfiles};

impl Copies {
    /// The keyfiles that hold: those of the boot partition, with the last good one for each that is damaged, and
    /// all stored ones where the folder is gone and no person removed it; then it is written again.
    pub(crate) fn keyfiles(&mut self) -> Folder {
        let kept = self.store.keyfiles();
        let (folder, problem) = match Folder::read(&self.boot.keyfiles) {
            Ok(mut folder) => {
                self.folder_was_there = true;
                folder.keep_from(&kept);
                (self.keep_keyfiles(folder), None)
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let problem =
                    format!("system-connections cannot be read: {error}; the last good ones stay in force");
                (kept, Some(problem))
            }
            // Without the document there is no telling what happened to the partition.
            Err(_) if !self.boot_file_is_there => (kept, None),
            Err(_) if self.folder_was_there && !self.is_restored => {
                (self.keep_keyfiles(Folder::default()), None)
            }
            Err(_) if kept.good.is_empty() => (kept, None),
            Err(_) => match restore(&kept, &self.boot.keyfiles) {
                Ok(()) => {
                    log::warn!("system-connections: there is no such folder; written again from the store");
                    self.folder_was_there = true;
                    (kept, None)
                }
                Err(error) => (kept, Some(format!("{error}; the stored keyfiles are in force"))),
            },
        };
        note(&mut self.problems.keyfiles, problem);
        folder
    }

    fn keep_keyfiles(&mut self, folder: Folder) -> Folder {
        stored(
            &mut self.problems.stored_keyfiles,
            "the keyfiles are in force and not stored",
            self.store.save_keyfiles(&folder),
        );
        folder
    }
}

/// Writes the folder again, whole or not at all: half of it would look as if the other half had been removed.
fn restore(keyfiles: &Folder, path: &Path) -> Result<(), store::Error> {
    let failed = |error| store::Error::File(fleet_base::file::Error::Write(path.to_owned(), error));
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let restored = write_keyfiles(&temporary, keyfiles).and_then(|()| {
        // FAT folds names: two that differ in case are one file there.
        if Folder::read(&temporary).map_err(failed)?.good != keyfiles.good {
            return Err(failed(io::Error::other("it does not take all names as they are")));
        }
        std::fs::rename(&temporary, path).map_err(failed)
    });
    if restored.is_err() {
        // Best effort: what is left is taken up by the next try.
        let _ = write_keyfiles(&temporary, &Folder::default());
        let _ = std::fs::remove_dir(&temporary);
    }
    restored
}
