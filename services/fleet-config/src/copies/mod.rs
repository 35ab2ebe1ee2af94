//! The two copies of the configuration: the stored one, which counts, and the one on the boot partition, which
//! people edit.
//!
//! An edit is told by content: other bytes than those last read or written. An empty or absent file is never an
//! edit and is written again, an empty one only after a while, because somebody may be about to write into it; a
//! broken one changes nothing and is put aside.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use fleet_identity::id::Id;
use tokio::time::{Instant, sleep_until};

pub(crate) use self::error::Error;
use self::judgement::Judgements;
pub(crate) use self::judgement::Unjudged;
use self::problem::{Problems, note, stored};
use self::recent::Recent;
use self::reject::Suspect;
use crate::authorized_keys;
use crate::boot_folder::QUIET;
use crate::document::Document;
use crate::finding::Finding;
use crate::store::{Entry, Hash, History, Store, Stored};
use crate::value::{SshKey, Uuid};

mod board;
mod boot_file;
mod change;
mod error;
mod export;
mod import;
mod judgement;
mod keyfiles;
mod problem;
mod recent;
mod reject;

/// An empty file is being written until it was empty for this long: redirections and copying truncate first.
const EMPTY: Duration = Duration::from_secs(30);

/// Where things are that are not the store.
#[derive(Clone, Debug)]
pub(crate) struct Boot {
    /// `config.json`.
    pub(crate) document: PathBuf,
    /// `system-connections/`.
    pub(crate) keyfiles: PathBuf,
    /// The evidence of the board, of this boot.
    pub(crate) board: PathBuf,
    /// Somebody judges certificates before they are accepted ([`Copies::unjudged`]).
    pub(crate) certificates_are_judged: bool,
}

/// Both copies.
pub(crate) struct Copies {
    store: Store,
    boot: Boot,
    /// What the store holds, or is to hold. The text of the boot partition's file is always in it.
    stored: Stored,
    /// What is accepted while nothing is.
    nothing: Document,
    identity: Uuid,
    /// The highest revision that was ever told, if a damaged generation had it.
    highest_revision: u64,
    /// The document that the boot partition's file holds, or is to hold.
    on_boot: Option<Document>,
    /// What the file was when it was last read or written.
    seen: Option<Hash>,
    /// It may not hold yet what it is to hold.
    is_unexported: bool,
    recent: Recent,
    /// There is something in its place now, be it broken.
    boot_file_is_there: bool,
    /// While it is empty: since when, and nothing is written over it.
    empty_since: Option<Instant>,
    /// While it is broken and may still be written.
    suspect: Option<Suspect>,
    /// It is there, and the medium does not give it.
    is_unreadable: bool,
    /// It was gone, and is ours since, not yet edited.
    is_restored: bool,
    /// The folder of keyfiles was seen since this process began, and since the document was last gone.
    folder_was_there: bool,
    findings: Vec<Finding>,
    judgements: Judgements,
    problems: Problems,
}

impl Copies {
    /// Reads both copies and settles the identity. What cannot be read is a problem that is reported.
    ///
    /// # Errors
    /// The device has no identity and no random numbers to make one.
    pub(crate) fn open(store: Store, boot: Boot) -> io::Result<Self> {
        let highest_revision = store.highest_revision();
        let (stored, lost) = match store.load() {
            Ok(stored) => (stored.unwrap_or_default(), None),
            Err(error) => {
                let stored = Stored {
                    // Not a new device: it keeps its identity, whatever the first file says.
                    revision: highest_revision.max(1),
                    ..Stored::default()
                };
                (stored, Some(error))
            }
        };
        if let Err(error) = store.sync() {
            log::warn!("{error}; a power cut may take back the last change");
        }
        if let Err(error) = store.tidy() {
            log::warn!("{error}");
        }
        let identity = match stored.identity.or_else(|| store.uuid()) {
            Some(identity) => identity,
            None => Id::random()?.into(),
        };
        let is_unexported = stored.boot.is_due || export::is_interrupted(&boot.document);
        let mut copies = Self {
            store,
            boot,
            stored,
            nothing: Document::default(),
            identity,
            highest_revision,
            on_boot: None,
            seen: None,
            is_unexported,
            recent: Recent::default(),
            boot_file_is_there: false,
            empty_since: None,
            suspect: None,
            is_unreadable: false,
            is_restored: false,
            folder_was_there: false,
            findings: Vec::new(),
            judgements: Judgements::default(),
            problems: Problems::default(),
        };
        if let Some(error) = lost {
            let problem = format!("{error}; config.json of the boot partition takes its place");
            note(&mut copies.problems.store, Some(problem));
        }
        copies.remember_boot();
        copies.recover();
        copies.problems.boot = copies.rejected();
        copies.problems.kept = copies.kept();
        copies.settle_identity(copies.identity_on_boot());
        copies.meet_board()?;
        copies.findings = copies.inspect(copies.accepted(), &copies.identity);
        copies.import_after(Duration::ZERO);
        if copies.is_settled() {
            export::abandon(&copies.boot.document);
        }
        copies.store();
        Ok(copies)
    }

    /// Takes what an older generation holds into force as a new revision, if a newer one is lost: whoever was told of
    /// that revision, or reads that of the older one, must not take it for this configuration. Stored with what follows.
    fn recover(&mut self) {
        let (lost, loaded) = (self.highest_revision, self.stored.revision);
        if lost <= loaded {
            return;
        }
        if let Some(document) = self.stored.document.clone() {
            self.in_force(document, "device", "recovery");
            log::warn!(
                "the newest generation of the configuration is lost; that of revision {loaded} is in force as \
                 revision {}",
                self.revision()
            );
        }
    }

    /// Takes the boot partition's document out of what is stored.
    fn remember_boot(&mut self) {
        let boot = &mut self.stored.boot;
        if boot.hash.is_none() {
            return;
        }
        if let (None, Some(document)) = (&boot.text, &self.stored.document) {
            boot.text = Some(document.to_text());
        }
        let text = boot.text.as_deref().unwrap_or_default();
        self.on_boot = Document::parse(text.as_bytes()).ok();
    }

    /// Whether nobody was told of an identity yet that has to stay: the first document gives it.
    const fn is_new(&self) -> bool {
        self.stored.revision == 0
    }

    const fn ever_accepted(&self) -> bool {
        self.stored.document.is_some()
    }

    /// Takes the identity of a new device's first document, the stored one, that of the accepted configuration, that
    /// in its own file, or a new one, in this order.
    fn settle_identity(&mut self, first: Option<Uuid>) {
        let settled = first
            .filter(|_| self.is_new())
            .or(self.stored.identity)
            .or_else(|| identity_in(self.accepted()))
            .unwrap_or(self.identity);
        if self.store.uuid().is_none() {
            log::info!("the identity of the device is {settled}");
        }
        self.identity = settled;
        self.stored.identity = Some(settled);
        let lost = "the identity is lost at power-off, because it cannot be stored";
        stored(&mut self.problems.identity, lost, self.store.save_uuid(&settled));
    }

    /// Reads the boot partition's document and accepts what changed in it.
    pub(crate) fn import(&mut self) {
        self.import_after(EMPTY);
    }

    /// Whether it is decided what becomes of the boot partition's file.
    const fn is_settled(&self) -> bool {
        self.suspect.is_none() && self.empty_since.is_none() && !self.judgements.is_waiting()
    }

    /// Waits until a document that is empty or broken is to be read as one that stays so. Cancel-safe.
    pub(crate) async fn stays(&self) {
        let empty = self.empty_since.map(|since| since + EMPTY);
        let broken = self.suspect.as_ref().map(|suspect| suspect.since + QUIET);
        match empty.or(broken) {
            Some(until) => sleep_until(until).await,
            None => std::future::pending().await,
        }
    }

    /// Takes a configuration into force, as a new revision.
    fn in_force(&mut self, accepted: Document, who: &str, how: &str) {
        let before = (self.stored.revision, self.stored.document.as_ref());
        let revision = self.stored.revision.max(self.highest_revision) + 1;
        let time = crate::wall_clock::now_us();
        let entry = Entry::new(before, (revision, &accepted), (who, how), time);
        self.stored.history.push(entry);
        self.stored.revision = revision;
        self.stored.document = Some(accepted);
    }

    /// Stores what is in force and what the boot partition holds; nothing is written if it is stored already.
    fn store(&mut self) {
        let result = self.save();
        let lost = "the configuration is in force and lost at power-off, because it cannot be stored";
        stored(&mut self.problems.store, lost, result);
    }

    fn save(&self) -> Result<(), crate::store::Error> {
        self.store.save(&self.to_store())
    }

    /// The text of the boot partition's file is left out where it can be made again.
    fn to_store(&self) -> Stored {
        let mut stored = self.stored.clone();
        let rendered = stored.document.as_ref().map(Document::to_text);
        if rendered.is_some() && stored.boot.text == rendered {
            stored.boot.text = None;
        }
        stored
    }

    /// Tries again what could not be read, stored or exported. The keyfiles are stored by every [`Copies::keyfiles`].
    pub(crate) fn store_again(&mut self) {
        if self.problems.store.is_some() {
            self.store();
        }
        if self.problems.export.is_some() || self.is_unreadable {
            self.import();
        }
    }

    /// Whether something could not be read, stored or exported that [`Copies::store_again`] may do.
    pub(crate) const fn is_unstored(&self) -> bool {
        self.is_unreadable || self.problems.is_unstored()
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

    /// The identity.
    pub(crate) const fn identity(&self) -> &Uuid {
        &self.identity
    }

    /// What the device runs with; empty before the first one was accepted.
    pub(crate) fn accepted(&self) -> &Document {
        self.stored.document.as_ref().unwrap_or(&self.nothing)
    }

    /// What was found in the document on the boot partition.
    pub(crate) fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Counts accepted configurations; never goes down.
    pub(crate) const fn revision(&self) -> u64 {
        self.stored.revision
    }

    /// The last changes.
    pub(crate) const fn history(&self) -> &History {
        &self.stored.history
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
