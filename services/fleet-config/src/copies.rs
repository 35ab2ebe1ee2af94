//! The two copies of the configuration: the stored one, which counts, and the one on the boot partition, which
//! people edit.
//!
//! An edit is told by content: bytes other than those last read or written. An empty or absent file is never an
//! edit and is written again, an empty one only after a while, because somebody may be about to write into it; a
//! broken one changes nothing and is left for the person to repair.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use fleet_base::file::{self, Durability};
use fleet_identity::id::Id;
use tokio::time::{Instant, sleep_until};

pub(crate) use self::error::Error;
use self::problem::{Problems, note, stored};
use crate::authorized_keys;
use crate::document::{Document, MAX_BYTES, SyntaxError};
use crate::finding::{Finding, accept, inspect};
use crate::store::Store;
use crate::value::{SshKey, Uuid};

mod change;
mod error;
mod keyfiles;
mod problem;

/// An empty file is being written until it was empty for this long: redirections and copying truncate first.
const EMPTY: Duration = Duration::from_secs(30);

/// Where the boot partition's copy is.
#[derive(Clone, Debug)]
pub(crate) struct Boot {
    /// `config.json`.
    pub(crate) document: PathBuf,
    /// `system-connections/`.
    pub(crate) keyfiles: PathBuf,
}

/// Both copies.
pub(crate) struct Copies {
    store: Store,
    boot: Boot,
    identity: Uuid,
    /// What the device runs with; empty before the first one was accepted.
    accepted: Document,
    ever_accepted: bool,
    /// Nothing was ever stored, so that the first document gives the identity: nobody was told of another one yet.
    is_new: bool,
    /// What the boot partition held when it last held a document.
    on_boot: Option<(Vec<u8>, Document)>,
    /// It holds something now, be it broken.
    boot_file_is_there: bool,
    /// While it is empty: since when, and nothing is written over it.
    empty_since: Option<Instant>,
    /// It was gone, and is ours since, not yet edited.
    is_restored: bool,
    /// The folder of keyfiles was seen since this process began, and since the document was last gone.
    folder_was_there: bool,
    findings: Vec<Finding>,
    revision: u64,
    problems: Problems,
}

impl Copies {
    /// Reads both copies and settles the identity. What cannot be read is a problem that is reported.
    ///
    /// # Errors
    /// The device has no identity and no random numbers to make one.
    pub(crate) fn open(store: Store, boot: Boot) -> io::Result<Self> {
        let identity = match store.uuid() {
            Some(identity) => identity,
            None => Id::random()?.into(),
        };
        let on_boot = store.boot_document();
        let document = store.document();
        let mut copies = Self {
            identity,
            store,
            boot,
            accepted: Document::default(),
            ever_accepted: false,
            // The copy is stored after the document, so it never stands alone.
            is_new: matches!(document, Ok(None)) && on_boot.is_none(),
            on_boot,
            boot_file_is_there: false,
            empty_since: None,
            is_restored: false,
            folder_was_there: false,
            findings: Vec::new(),
            revision: 0,
            problems: Problems::default(),
        };
        match (document, &copies.on_boot) {
            (Ok(Some(document)), _) => {
                copies.accepted = document;
                copies.ever_accepted = true;
            }
            (Ok(None), None) => {}
            (lost, next) => {
                let why = match lost {
                    Err(error) => error.to_string(),
                    Ok(_) => "the stored configuration is lost".to_owned(),
                };
                let problem = match next {
                    Some((_, document)) => {
                        // Nothing that it was refused for is in it.
                        let findings = inspect(document, copies.store.uuid().as_ref());
                        copies.accepted = accept(document, &findings, &Document::default());
                        copies.ever_accepted = true;
                        "the stored copy of the boot partition's config.json takes its place"
                    }
                    None => "config.json of the boot partition takes its place",
                };
                note(&mut copies.problems.store, Some(format!("{why}; {problem}")));
            }
        }
        let first = file::read(&copies.boot.document, MAX_BYTES)
            .ok()
            .and_then(|bytes| Document::parse(&bytes).ok())
            .and_then(|document| identity_in(&document));
        copies.settle_identity(first);
        if copies.ever_accepted {
            copies.revision = 1;
            copies.findings = inspect(&copies.accepted, Some(&copies.identity));
        }
        copies.import_after(Duration::ZERO);
        copies.store_again();
        Ok(copies)
    }

    /// Takes the identity of a new device's first document, of the accepted configuration, the stored one, or a new
    /// one, in this order.
    fn settle_identity(&mut self, first: Option<Uuid>) {
        let kept = self.store.uuid();
        let settled = first
            .filter(|_| self.is_new)
            .or_else(|| identity_in(&self.accepted))
            .or(kept);
        let result = match settled {
            Some(identity) => {
                self.identity = identity;
                if kept == settled {
                    Ok(())
                } else {
                    self.store.save_uuid(&identity)
                }
            }
            None => self.store.uuid_or_new().map(|made| self.identity = made),
        };
        let lost = "the identity is lost at power-off, because it cannot be stored";
        stored(&mut self.problems.identity, lost, result);
    }

    /// Reads the boot partition's document and accepts what changed in it.
    pub(crate) fn import(&mut self) {
        self.import_after(EMPTY);
    }

    /// Waits until an empty document is to be read as one that stays empty. Cancel-safe.
    pub(crate) async fn stays_empty(&self) {
        match self.empty_since {
            Some(since) => sleep_until(since + EMPTY).await,
            None => std::future::pending().await,
        }
    }

    /// Reads it; an empty one is written again when it was empty for `patience`.
    fn import_after(&mut self, patience: Duration) {
        let empty_since = self.empty_since.take();
        let read = file::read(&self.boot.document, MAX_BYTES);
        self.boot_file_is_there = !read.as_ref().is_err_and(file::Error::is_not_found);
        match read {
            Ok(bytes) => match Document::parse(&bytes) {
                Ok(document) => self.read(bytes, document),
                Err(error @ SyntaxError::Empty) => {
                    self.boot_file_is_there = false;
                    let since = empty_since.unwrap_or_else(Instant::now);
                    if self.ever_accepted && since.elapsed() < patience {
                        self.empty_since = Some(since);
                    } else {
                        self.nothing_there(&error.to_string());
                    }
                }
                Err(error) => self.broken(&error.to_string()),
            },
            Err(file::Error::TooLarge(_, limit)) => self.broken(&SyntaxError::TooLarge(limit).to_string()),
            Err(error) if error.is_not_found() => self.nothing_there("there is no such file"),
            Err(file::Error::Read(_, error) | file::Error::Write(_, error)) => {
                self.broken(&format!("it cannot be read: {error}"));
            }
        }
    }

    /// A document was read.
    fn read(&mut self, bytes: Vec<u8>, document: Document) {
        let first = identity_in(&document).filter(|_| self.is_new);
        let findings = inspect(&document, Some(&first.unwrap_or(self.identity)));
        let accepted = accept(&document, &findings, &self.accepted);
        // What is stored has to be readable again: the limits of the reader hold for what is written.
        if let Err(error) = Document::parse(accepted.to_text().as_bytes()) {
            self.broken(&format!("indented, as it is stored, {error}"));
            return;
        }
        if self.problems.boot.take().is_some() {
            log::info!("config.json is good again");
        }
        if self.is_new {
            self.settle_identity(first);
        }
        let is_edit = self.on_boot.as_ref().is_none_or(|(known, _)| *known != bytes);
        if !is_edit && accepted != self.accepted {
            // A change was stored, and the power went before it was exported, or the export failed.
            self.export(self.accepted.to_text());
            return;
        }
        self.findings = findings;
        if !is_edit {
            return;
        }
        self.is_restored = false;
        self.on_boot = Some((bytes, document));
        if !self.ever_accepted || accepted != self.accepted {
            self.in_force(accepted);
            log::info!(
                "config.json is accepted as revision {}{}",
                self.revision,
                self.refused()
            );
        }
        self.store();
    }

    fn in_force(&mut self, accepted: Document) {
        self.accepted = accepted;
        self.ever_accepted = true;
        self.is_new = false;
        self.revision += 1;
    }

    /// Stores what is in force, and then what the boot partition holds. In this order: a known edit that is not
    /// stored would be taken for the older one of the two at the next start, and be written over.
    fn store(&mut self) {
        let result = self.store.save_document(&self.accepted);
        let is_stored = stored(
            &mut self.problems.store,
            "the configuration is in force and lost at power-off, because it cannot be stored",
            result,
        );
        if let Some((bytes, _)) = self.on_boot.as_ref().filter(|_| is_stored) {
            let result = self.store.save_boot_copy(bytes);
            let lost = "the copy of config.json that tells an edit is not stored";
            stored(&mut self.problems.boot_copy, lost, result);
        }
    }

    /// Tries again what could not be stored. The keyfiles are stored by every [`Copies::keyfiles`].
    pub(crate) fn store_again(&mut self) {
        if self.ever_accepted && (self.problems.store.is_some() || self.problems.boot_copy.is_some()) {
            self.store();
        }
    }

    /// Whether something could not be stored that [`Copies::store_again`] may store.
    pub(crate) const fn is_unstored(&self) -> bool {
        self.problems.is_unstored()
    }

    /// While the configuration cannot be stored: why, and the keys that sshd has instead, which reads the store.
    pub(crate) fn unstored_ssh_keys(&self) -> Option<(&str, Vec<SshKey>)> {
        let why = self.problems.store.as_ref()?;
        Some((why, authorized_keys::keys(&self.store)))
    }

    /// The names of what is refused, for the log. Never values: one may be a secret in the wrong place.
    fn refused(&self) -> String {
        let names: Vec<String> = self
            .findings
            .iter()
            .filter(|finding| finding.is_refused())
            .map(Finding::name)
            .collect();
        if names.is_empty() {
            String::new()
        } else {
            format!("; refused: {} (`fleet config show` says why)", names.join(", "))
        }
    }

    /// The file holds no document; the person repairs it.
    fn broken(&mut self, why: &str) {
        let instead = if self.ever_accepted {
            "the last accepted configuration stays in force"
        } else {
            "the product defaults apply until it is repaired"
        };
        let problem = format!("config.json: {why}; {instead}");
        note(&mut self.problems.boot, Some(problem));
    }

    /// There is nothing that could be repaired.
    fn nothing_there(&mut self, why: &str) {
        self.folder_was_there = false;
        if !self.ever_accepted {
            self.broken(why);
            return;
        }
        let text = match &self.on_boot {
            // As the person wrote it, if nothing came after it.
            Some((bytes, document))
                if accept(document, &inspect(document, Some(&self.identity)), &self.accepted)
                    == self.accepted =>
            {
                String::from_utf8_lossy(bytes).into_owned()
            }
            _ => self.accepted.to_text(),
        };
        let known = self.problems.export.is_some();
        self.export(text);
        self.problems.boot = None;
        self.boot_file_is_there = self.problems.export.is_none();
        self.is_restored = self.boot_file_is_there;
        match &self.problems.export {
            None => log::warn!("config.json: {why}; written again from the stored configuration"),
            Some(error) if !known => log::error!("config.json: {why}; {error}"),
            Some(_) => {}
        }
    }

    /// Writes the boot partition's copy. That it fails is a problem that is reported; the stored copy counts.
    fn export(&mut self, text: String) {
        let written = file::write(&self.boot.document, text.as_bytes(), 0o600, Durability::Synced);
        self.problems.export = written
            .as_ref()
            .err()
            .map(|error| format!("{error}; the stored configuration is in force"));
        if let Ok(document) = Document::parse(text.as_bytes()) {
            self.findings = inspect(&document, Some(&self.identity));
            if written.is_ok() {
                self.on_boot = Some((text.into_bytes(), document));
                self.problems.boot = None;
            }
        }
        self.store();
    }

    /// The identity.
    pub(crate) const fn identity(&self) -> &Uuid {
        &self.identity
    }

    /// What the device runs with.
    pub(crate) const fn accepted(&self) -> &Document {
        &self.accepted
    }

    /// What was found in the document on the boot partition.
    pub(crate) fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Counts accepted configurations since the service began.
    pub(crate) const fn revision(&self) -> u64 {
        self.revision
    }

    /// What is wrong, in one sentence; empty if nothing is.
    pub(crate) fn problem(&self) -> String {
        self.problems.sentence()
    }
}

/// The identity that a document has.
fn identity_in(document: &Document) -> Option<Uuid> {
    Uuid::try_from(document.setting("uuid")?.as_str()?).ok()
}

#[cfg(test)]
mod tests;
