//! A file that holds no document is put aside, whole, with the reason beside it, and a good one takes its place.
//!
//! Only when it stayed the same for a while: somebody may be writing it. Nothing of its content is repeated anywhere: it
//! holds secrets.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use fleet_base::file::{self, Durability};
use tokio::time::Instant;

use super::Copies;
use super::problem::note;
use crate::boot_folder::QUIET;
use crate::document::MAX_BYTES;
use crate::store::Hash;

/// A broken file that was seen.
pub(super) struct Suspect {
    /// Since when it is as it is.
    pub(super) since: Instant,
    /// What tells it from another one.
    content: Option<Hash>,
    why: String,
}

impl Copies {
    /// A broken file was read: `content` tells it from another one; a folder or a link has none.
    pub(super) fn broken(&mut self, why: String, content: Option<Hash>, before: Option<Suspect>) {
        let suspect = before
            .filter(|before| before.content == content && before.why == why)
            .unwrap_or_else(|| Suspect {
                since: Instant::now(),
                content,
                why,
            });
        if suspect.since.elapsed() < QUIET {
            let problem = format!("config.json: {}; {}", suspect.why, self.instead());
            note(&mut self.problems.boot, Some(problem));
            self.suspect = Some(suspect);
        } else {
            self.reject(&suspect);
        }
    }

    /// What the device does while there is no good file.
    pub(super) const fn instead(&self) -> &'static str {
        if self.ever_accepted() {
            "the last accepted configuration stays in force"
        } else {
            "the product defaults apply until it is repaired"
        }
    }

    /// Puts the file aside. In this order, so that a power cut at any step leaves either the broken file, which is
    /// rejected again, or the reason for its absence.
    fn reject(&mut self, suspect: &Suspect) {
        let why = suspect.why.as_str();
        self.stored.boot.rejected = Some(why.to_owned());
        self.store();
        let reason = self.reason(why);
        let path = self.boot.document.clone();
        let explained = file::write(
            &with(&path, ".rejected.txt"),
            reason.as_bytes(),
            0o600,
            Durability::Volatile,
        );
        if let Err(error) = explained {
            log::warn!("{error}");
        }
        let aside = with(&path, ".rejected");
        if let Err(error) = put_aside(&path, &aside) {
            let problem = format!(
                "config.json: {why}; it cannot be put aside: {error}; {}",
                self.instead()
            );
            note(&mut self.problems.boot, Some(problem));
            return;
        }
        // Somebody may have saved another one between the last look and the rename: that one is looked at by itself.
        let moved = file::read(&aside, MAX_BYTES).ok().map(|bytes| Hash::of(&bytes));
        if moved
            .zip(suspect.content)
            .is_some_and(|(moved, broken)| moved != broken)
            && fs::rename(&aside, &path).is_ok()
        {
            self.stored.boot.rejected = None;
            self.store();
            return;
        }
        self.seen = None;
        let rejected = self.rejected();
        note(&mut self.problems.boot, rejected);
        if self.ever_accepted() || self.stored.boot.hash.is_some() {
            self.export_again();
        } else {
            self.export("{}\n".to_owned(), crate::document::Document::default());
        }
    }

    /// What `Problem` says of the file that was put aside last, until the next one is accepted.
    pub(super) fn rejected(&self) -> Option<String> {
        let why = self.stored.boot.rejected.as_ref()?;
        let instead = self.instead();
        Some(format!(
            "config.json: {why}; it was put aside as config.json.rejected; {instead}"
        ))
    }

    /// The text beside the file that was put aside.
    fn reason(&self, why: &str) -> String {
        let instead = if self.ever_accepted() {
            "The device goes on with the last configuration that it accepted, which is in config.json now."
        } else {
            "The device has no configuration yet and runs with the defaults of the product."
        };
        format!(
            "This config.json was not accepted. It is in config.json.rejected now, as it was.\n\n\
             {why}\n\n\
             {instead}\n\
             Correct the copy and save it as config.json; `fleet config check FILE` says whether it is good.\n"
        )
    }
}

/// A name with something after it.
fn with(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// A rename: the file may be large. What was put aside before makes room.
fn put_aside(path: &Path, aside: &Path) -> io::Result<()> {
    match fs::rename(path, aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            // A folder cannot take the place of a file, nor a file that of a folder.
            let is_folder = fs::symlink_metadata(aside).map(|found| found.is_dir());
            if is_folder.map_err(|_| error)? {
                fs::remove_dir_all(aside)?;
            } else {
                fs::remove_file(aside)?;
            }
            fs::rename(path, aside)
        }
        done => done,
    }
}
