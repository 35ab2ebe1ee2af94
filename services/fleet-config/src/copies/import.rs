//! Reads the boot partition's document, and accepts what somebody changed in it.

use std::time::Duration;

use tokio::time::Instant;

use super::boot_file::Found;
use super::problem::note;
use super::recent::{self, Older};
use super::{Copies, identity_in};
use crate::document::{Document, MAX_BYTES, SyntaxError};
use crate::finding::{accept, refused};
use crate::merge::{changes, merge, names};
use crate::store::Hash;
use crate::value::Uuid;
use crate::wall_clock;

impl Copies {
    /// Reads it; an empty one is written again when it was empty for `patience`.
    pub(super) fn import_after(&mut self, patience: Duration) {
        let empty_since = self.empty_since.take();
        let suspect = self.suspect.take();
        let seen = self.seen.take();
        self.forget_waiting();
        let found = Found::at(&self.boot.document);
        self.boot_file_is_there = !matches!(found, Found::Nothing);
        self.is_unreadable = matches!(found, Found::Unreadable(_));
        match found {
            Found::Bytes(bytes) => match Document::parse(&bytes) {
                Ok(document) => {
                    let hash = Hash::of(&bytes);
                    self.seen = Some(hash);
                    if let Err(error) = self.read(hash, bytes, document) {
                        let why = format!("indented, as it is stored, {error}");
                        self.broken(why, Some(hash), suspect);
                    }
                }
                Err(error @ SyntaxError::Empty) => {
                    self.boot_file_is_there = false;
                    let since = empty_since.unwrap_or_else(Instant::now);
                    if self.ever_accepted() && since.elapsed() < patience {
                        self.empty_since = Some(since);
                    } else {
                        self.nothing_there(&error.to_string());
                    }
                }
                Err(error) => self.broken(error.to_string(), Some(Hash::of(&bytes)), suspect),
            },
            Found::TooLarge(content) => {
                let why = SyntaxError::TooLarge(MAX_BYTES).to_string();
                self.broken(why, Some(content), suspect);
            }
            Found::NotAFile => self.broken("it is not a regular file".to_owned(), None, suspect),
            Found::Nothing => self.nothing_there("there is no such file"),
            Found::Unreadable(error) => {
                // As far as anybody knows it holds what it held.
                self.seen = seen;
                let problem = format!("config.json: it cannot be read: {error}; {}", self.instead());
                note(&mut self.problems.boot, Some(problem));
            }
        }
    }

    /// A document was read.
    ///
    /// # Errors
    /// It, or what is accepted of it, could not be read again when it is stored.
    fn read(&mut self, hash: Hash, bytes: Vec<u8>, document: Document) -> Result<(), SyntaxError> {
        if self.is_unjudged(&document) {
            return Ok(());
        }
        let boot = &self.stored.boot;
        if boot.hash == Some(hash) {
            self.note_good();
            self.unchanged(&document);
            self.exported();
            return Ok(());
        }
        if self.is_unexported && boot.before == Some(hash) {
            // A change was stored, and the power went before it was exported, or the export failed.
            self.note_good();
            self.export_again();
            return Ok(());
        }
        self.edited(hash, bytes, document)
    }

    /// The file is as it was. What is accepted of it is the same, but for keys whose rule is another one in this
    /// release.
    fn unchanged(&mut self, document: &Document) {
        self.findings = self.inspect(document, &self.identity);
        let accepted = accept(document, &self.findings, self.accepted());
        let now_good = changes(self.accepted(), &accepted);
        let was_refused = |path: &crate::document::KeyPath| {
            let refused = self.stored.boot.refused.iter();
            refused
                .filter_map(|refused| crate::document::KeyPath::parse(refused).ok())
                .any(|refused| refused.overlaps(path))
        };
        self.stored.boot.refused = match now_good.iter().all(|change| was_refused(&change.path)) {
            true => {
                if !now_good.is_empty() {
                    let keys = names(&now_good).join(", ");
                    self.in_force(accepted, "config.json", "edit");
                    log::info!("config.json: {keys} was refused and is good for this release");
                }
                refused(&self.findings)
            }
            // What is stored is not what is known of the file; the stored one counts.
            false => {
                let text = self.accepted().to_text();
                let accepted = self.accepted().clone();
                return self.export(text, accepted);
            }
        };
        self.store();
    }

    /// Somebody edited it.
    fn edited(&mut self, hash: Hash, bytes: Vec<u8>, document: Document) -> Result<(), SyntaxError> {
        let first = identity_in(&document).filter(|_| self.is_new());
        let identity = first.unwrap_or(self.identity);
        let (wanted, is_older) = self.merged(&document);
        let findings = self.inspect(&wanted, &identity);
        let accepted = accept(&wanted, &findings, self.accepted());
        // What is stored has to be readable again: the limits of the reader hold for what is written.
        Document::parse(wanted.to_text().as_bytes())?;
        if accepted != wanted {
            Document::parse(accepted.to_text().as_bytes())?;
        }
        self.stored.boot.rejected = None;
        self.stored.boot.kept = None;
        self.problems.kept = None;
        self.note_good();
        if self.is_new() {
            self.settle_identity(first);
        }
        self.findings = findings;
        self.is_restored = false;
        if !self.ever_accepted() || accepted != *self.accepted() {
            let how = if self.ever_accepted() { "edit" } else { "first" };
            self.in_force(accepted, "config.json", how);
            log::info!(
                "config.json is accepted as revision {}{}",
                self.revision(),
                self.refused()
            );
        }
        if wanted == document {
            self.know(hash, bytes, document);
            self.store();
        } else {
            self.recent.push_stale(document.clone());
            // What is as it was before an export that failed has nothing of a person's in it.
            if !is_older {
                let kept = listed(&names(&changes(&document, &wanted)));
                self.stored.boot.kept = Some((self.revision(), kept));
                self.problems.kept = self.kept();
                if let Some(problem) = &self.problems.kept {
                    log::warn!("{problem}");
                }
            }
            self.export(wanted.to_text(), wanted);
        }
        Ok(())
    }

    /// What `Problem` says of an edit that was taken for one of an older copy, until something else is accepted. Whoever
    /// meant it has to hear of it: half of the edit is not in force.
    pub(super) fn kept(&self) -> Option<String> {
        let (revision, keys) = self.stored.boot.kept.as_ref()?;
        (*revision == self.revision()).then(|| {
            format!(
                "config.json was saved from an older copy of it, so that these keys stay as they were changed since: \
                 {keys}; to put one back, use `fleet config set` or `fleet config unset`"
            )
        })
    }

    /// What the file is to hold after an edit: the edit, and what changed since the editor read the file; whether it is
    /// no edit at all, because the file is as it was then.
    fn merged(&self, document: &Document) -> (Document, bool) {
        let Some(last) = &self.on_boot else {
            return (document.clone(), false);
        };
        // After a start nothing is remembered; the history is as good, where it matters.
        let now = (self.revision(), self.accepted());
        let since = wall_clock::us_before(recent::AGE);
        let history = self.history().entries().iter();
        let before: Vec<Document> = history
            .take_while(|entry| self.is_unexported || (since > 0 && entry.time >= since))
            .filter(|entry| self.is_unexported || entry.how != "edit")
            .filter_map(|entry| self.history().at(entry.from, now))
            .collect();
        let before = before.iter().map(|document| Older {
            document,
            is_stale: false,
        });
        let older = self.recent.documents().chain(before);
        match recent::base(document, last, older, self.is_unexported) {
            Some(base) => (
                merge(base, last, document),
                self.is_unexported && base == document,
            ),
            None => (document.clone(), false),
        }
    }

    /// The file holds this, as it is.
    fn know(&mut self, hash: Hash, bytes: Vec<u8>, document: Document) {
        // An export of ours that is edited now may still be in somebody's hands.
        let before = self.on_boot.replace(document);
        let is_ours = self.stored.boot.before.is_some();
        self.recent.push(before.filter(|_| is_ours));
        let boot = &mut self.stored.boot;
        boot.hash = Some(hash);
        boot.before = None;
        boot.is_due = false;
        boot.text = String::from_utf8(bytes).ok();
        boot.refused = refused(&self.findings);
        self.is_unexported = false;
    }

    /// The file can be read.
    fn note_good(&mut self) {
        let rejected = self.rejected();
        if self.problems.boot.is_some() && rejected.is_none() {
            log::info!("config.json is good again");
        }
        self.problems.boot = rejected;
    }

    /// There is nothing that could be repaired.
    fn nothing_there(&mut self, why: &str) {
        self.folder_was_there = false;
        if self.stored.boot.hash.is_none() && !self.ever_accepted() {
            let problem = format!("config.json: {why}; {}", self.instead());
            note(&mut self.problems.boot, Some(problem));
            return;
        }
        let known = self.problems.export.is_some();
        self.export_again();
        self.problems.boot = self.rejected();
        self.boot_file_is_there = self.problems.export.is_none();
        self.is_restored = self.boot_file_is_there;
        match &self.problems.export {
            None => log::warn!("config.json: {why}; written again from the stored configuration"),
            Some(error) if !known => log::error!("config.json: {why}; {error}"),
            Some(_) => {}
        }
    }

    /// The identity that the file gives now, for a device that has none.
    pub(super) fn identity_on_boot(&self) -> Option<Uuid> {
        match Found::at(&self.boot.document) {
            Found::Bytes(bytes) => identity_in(&Document::parse(&bytes).ok()?),
            _ => None,
        }
    }
}

/// The most keys that are named to people, and the most characters of each: a name out of a file may be long.
const MOST_NAMED: usize = 16;
const LONGEST_NAME: usize = 80;

/// Names as a list for people.
fn listed(names: &[String]) -> String {
    let shown = names
        .iter()
        .take(MOST_NAMED)
        .map(|name| match name.char_indices().nth(LONGEST_NAME) {
            Some((end, _)) => format!("{}…", &name[..end]),
            None => name.clone(),
        });
    let mut list = shown.collect::<Vec<_>>().join(", ");
    if names.len() > MOST_NAMED {
        list += &format!(" and {} more", names.len() - MOST_NAMED);
    }
    list
}
