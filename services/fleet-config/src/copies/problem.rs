//! What is wrong with the copies, each with what the device does instead.

use crate::store;

/// One slot for each thing that can fail by itself, so that none hides another.
#[derive(Default)]
pub(super) struct Problems {
    /// The configuration is not stored: sooner or later the device goes back to an old one.
    pub(super) store: Option<String>,
    pub(super) identity: Option<String>,
    pub(super) boot: Option<String>,
    /// An edit was taken for one of an older copy.
    pub(super) kept: Option<String>,
    pub(super) export: Option<String>,
    pub(super) keyfiles: Option<String>,
    pub(super) stored_keyfiles: Option<String>,
    /// The card is a copy of another device's.
    pub(super) copied: Option<String>,
}

impl Problems {
    /// All of it in one sentence, what weighs most first; empty if nothing is wrong.
    pub(super) fn sentence(&self) -> String {
        let all: Vec<&str> = [
            &self.store,
            &self.identity,
            &self.boot,
            &self.kept,
            &self.export,
            &self.keyfiles,
            &self.stored_keyfiles,
            &self.copied,
        ]
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect();
        all.join("; ")
    }

    /// Whether something is not stored or exported that is tried again.
    pub(super) const fn is_unstored(&self) -> bool {
        self.store.is_some() || self.stored_keyfiles.is_some() || self.export.is_some()
    }
}

/// Notes what is wrong, or that it no longer is. The log says it once.
pub(super) fn note(slot: &mut Option<String>, problem: Option<String>) {
    if let Some(problem) = problem.as_ref().filter(|problem| slot.as_ref() != Some(problem)) {
        log::error!("{problem}");
    }
    *slot = problem;
}

/// Notes whether something could be stored. Returns whether.
pub(super) fn stored(slot: &mut Option<String>, lost: &str, result: Result<(), store::Error>) -> bool {
    note(slot, result.err().map(|error| format!("{lost}: {error}")));
    slot.is_none()
}
