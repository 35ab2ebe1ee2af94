//! The two copies of the configuration: the stored one, which counts, and the one on the boot partition, which
//! people edit.
//!
//! An edit is told by content: bytes other than those last read or written. An empty or absent file is never an
//! edit and is written again; a broken one changes nothing and is left for the person to repair.

use std::io;
use std::path::PathBuf;

use fleet_base::file::{self, Durability};
use fleet_identity::id::Id;
use serde_json::Value;

pub(crate) use self::error::Error;
use crate::document::{self, Document, KeyPath, MAX_BYTES, SyntaxError};
use crate::finding::{Finding, Verdict, accept, inspect};
use crate::keyfile::Folder;
use crate::store::{self, Store};
use crate::value::Uuid;

mod error;

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
    /// What the boot partition held when it last held a document.
    on_boot: Option<(Vec<u8>, Document)>,
    boot_file_is_there: bool,
    findings: Vec<Finding>,
    revision: u64,
    problems: Problems,
}

/// What is wrong with the copies, each with what the device does instead.
#[derive(Default)]
struct Problems {
    boot: Option<String>,
    export: Option<String>,
    keyfiles: Option<String>,
    store: Option<String>,
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
        let mut problems = Problems::default();
        let (accepted, ever_accepted) = match store.document() {
            Ok(Some(document)) => (document, true),
            Ok(None) => (Document::default(), false),
            Err(error) => {
                log::error!("the stored configuration is lost: {error}");
                problems.store = Some(format!(
                    "{error}; config.json of the boot partition takes its place"
                ));
                (Document::default(), false)
            }
        };
        let on_boot = store
            .boot_copy()
            .filter(|_| ever_accepted)
            .and_then(|bytes| Document::parse(&bytes).ok().map(|document| (bytes, document)));
        let mut copies = Self {
            identity,
            store,
            boot,
            accepted,
            ever_accepted,
            on_boot,
            boot_file_is_there: false,
            findings: Vec::new(),
            revision: 0,
            problems,
        };
        copies.settle_identity();
        if copies.ever_accepted {
            copies.revision = 1;
            copies.findings = inspect(&copies.accepted, Some(&copies.identity));
        }
        copies.import();
        Ok(copies)
    }

    /// Takes the identity of the first document, the stored one, or a new one, in this order.
    fn settle_identity(&mut self) {
        let settled = match (self.first_documents_identity(), self.store.uuid()) {
            (Some(first), stored) => if stored == Some(first) {
                Ok(first)
            } else {
                self.store.save_uuid(&first).map(|()| first)
            }
            .map_err(|error| (first, error)),
            (None, Some(stored)) => Ok(stored),
            (None, None) => self.store.uuid_or_new().map_err(|error| (self.identity, error)),
        };
        self.identity = settled.unwrap_or_else(|(identity, error)| {
            log::error!("the identity {identity} is not kept: {error}");
            self.problems.store = Some(format!("the identity is not kept over a reboot: {error}"));
            identity
        });
    }

    /// The identity in the boot partition's document, as long as none was ever accepted: then the device has told
    /// nobody of another one.
    fn first_documents_identity(&self) -> Option<Uuid> {
        if self.ever_accepted {
            return None;
        }
        let bytes = file::read(&self.boot.document, MAX_BYTES).ok()?;
        let document = Document::parse(&bytes).ok()?;
        Uuid::try_from(document.setting("uuid")?.as_str()?).ok()
    }

    /// Reads the boot partition's document and accepts what changed in it.
    pub(crate) fn import(&mut self) {
        let read = file::read(&self.boot.document, MAX_BYTES);
        self.boot_file_is_there = !read.as_ref().is_err_and(file::Error::is_not_found);
        match read {
            Ok(bytes) => match Document::parse(&bytes) {
                Ok(document) => self.read(bytes, document),
                Err(error @ SyntaxError::Empty) => self.nothing_there(&error.to_string()),
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
        if self.problems.boot.take().is_some() {
            log::info!("config.json is good again");
        }
        if !self.ever_accepted {
            self.settle_identity();
        }
        let findings = inspect(&document, Some(&self.identity));
        let accepted = accept(&document, &findings, &self.accepted);
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
        if !self.ever_accepted || accepted != self.accepted {
            let stored = self.store.save_document(&accepted);
            self.keep("the configuration", stored);
            self.accepted = accepted;
            self.ever_accepted = true;
            self.revision += 1;
            log::info!(
                "config.json is accepted as revision {}{}",
                self.revision,
                self.refused()
            );
        }
        let stored = self.store.save_boot_copy(&bytes);
        self.keep("the copy of config.json", stored);
        self.on_boot = Some((bytes, document));
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
        if self.problems.boot.as_ref() != Some(&problem) {
            log::error!("{problem}");
        }
        self.problems.boot = Some(problem);
    }

    /// There is nothing that could be repaired.
    fn nothing_there(&mut self, why: &str) {
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
                let stored = self.store.save_boot_copy(text.as_bytes());
                self.keep("the copy of config.json", stored);
                self.on_boot = Some((text.into_bytes(), document));
                self.problems.boot = None;
            }
        }
    }

    /// Notes whether something could be stored; the device goes on with it in either case.
    fn keep(&mut self, what: &str, stored: Result<(), store::Error>) {
        self.problems.store = stored.err().map(|error| {
            log::error!("{what} is not kept: {error}");
            format!("{what} is not kept over a reboot: {error}")
        });
    }

    /// Sets a key to a JSON text. Returns whether anything changed.
    pub(crate) fn set(&mut self, path: &KeyPath, json: &str) -> Result<bool, Error> {
        let value = crate::strict::value(json).map_err(Error::Syntax)?;
        self.change(path, |document: &mut Document| {
            document.set(path, Value::clone(&value))
        })
    }

    /// Removes a key. Returns whether anything changed.
    pub(crate) fn unset(&mut self, path: &KeyPath) -> Result<bool, Error> {
        if path.to_string() == "uuid" {
            return Err(Error::Identity);
        }
        self.change(path, |document: &mut Document| document.unset(path))
    }

    fn change(
        &mut self,
        path: &KeyPath,
        change: impl Fn(&mut Document) -> Result<(), document::Error>,
    ) -> Result<bool, Error> {
        let mut changed = self.accepted.clone();
        change(&mut changed).map_err(Error::Document)?;
        let findings = inspect(&changed, Some(&self.identity));
        if let Some(bad) = findings
            .iter()
            .find(|bad| bad.is_refused() && bad.path.overlaps(path))
        {
            return Err(match bad.verdict {
                Verdict::OtherIdentity => Error::Identity,
                ref verdict => Error::Rule(bad.name(), verdict.to_string()),
            });
        }
        let text = changed.to_text();
        // What is stored has to be readable again: the limits of the reader hold for what is written.
        Document::parse(text.as_bytes()).map_err(Error::Limit)?;
        if changed == self.accepted {
            return Ok(false);
        }
        self.store.save_document(&changed).map_err(Error::Store)?;
        self.accepted = changed;
        self.ever_accepted = true;
        self.revision += 1;
        log::info!("{path} is changed, revision {}", self.revision);
        let text = self.changed_on_boot(change).unwrap_or(text);
        self.export(text);
        if let Some(error) = &self.problems.export {
            log::error!("the change is in force and stored, but not on the boot partition: {error}");
        }
        Ok(true)
    }

    /// The boot partition's document with the same change, if it says the same as the accepted one then. So what
    /// was refused in it stays in sight.
    fn changed_on_boot(
        &self,
        change: impl Fn(&mut Document) -> Result<(), document::Error>,
    ) -> Option<String> {
        let (_, document) = self.on_boot.as_ref()?;
        let mut changed = document.clone();
        change(&mut changed).ok()?;
        let findings = inspect(&changed, Some(&self.identity));
        (accept(&changed, &findings, &self.accepted) == self.accepted).then(|| changed.to_text())
    }

    /// The keyfiles that hold: those of the boot partition, with the last good one for each that is damaged, and
    /// all stored ones while the boot partition is not there.
    pub(crate) fn keyfiles(&mut self) -> Folder {
        let stored = self.store.keyfiles();
        let (folder, problem) = match Folder::read(&self.boot.keyfiles) {
            Ok(mut folder) => {
                folder.keep_from(&stored);
                (folder, None)
            }
            // The partition is there, so the folder was removed.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.boot_file_is_there => {
                (Folder::default(), None)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => (stored, None),
            Err(error) => (
                stored,
                Some(format!(
                    "system-connections cannot be read: {error}; the last good ones stay in force"
                )),
            ),
        };
        if let Some(problem) = problem
            .as_ref()
            .filter(|problem| self.problems.keyfiles.as_ref() != Some(problem))
        {
            log::error!("{problem}");
        }
        self.problems.keyfiles = problem;
        if let Err(error) = self.store.save_keyfiles(&folder) {
            log::error!("the keyfiles are not kept: {error}");
        }
        folder
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
        let Problems {
            boot,
            export,
            keyfiles,
            store,
        } = &self.problems;
        let all: Vec<&str> = [boot, export, keyfiles, store]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        all.join("; ")
    }
}

#[cfg(test)]
mod tests;
