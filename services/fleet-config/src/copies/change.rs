//! A change by a call: in force, stored, and on the boot partition when the call returns, or not made at all.

use serde_json::Value;

use super::export::{Export, abandon};
use super::{Copies, Error, identity_in};
use crate::document::{Document, KeyPath};
use crate::finding::{Verdict, accept};
use crate::merge::{self, Change, changes, names};

/// Who changes something, and how, as the history has it.
#[derive(Clone, Copy)]
struct Origin<'a> {
    who: &'a str,
    how: &'static str,
}

impl Copies {
    /// Sets a key to a JSON text. Returns the revision; that from before if nothing changed.
    pub(crate) fn set(&mut self, path: &KeyPath, json: &str, who: &str) -> Result<u64, Error> {
        let value = crate::strict::value(json).map_err(Error::Syntax)?;
        let mut changed = self.accepted().clone();
        changed.set(path, value).map_err(Error::Document)?;
        self.change(changed, Origin { who, how: "set" })
    }

    /// Removes a key. Returns the revision; that from before if there was no such key.
    pub(crate) fn unset(&mut self, path: &KeyPath, who: &str) -> Result<u64, Error> {
        let mut changed = self.accepted().clone();
        changed.force(path, None);
        self.change(changed, Origin { who, how: "unset" })
    }

    /// Applies a merge patch (RFC 7396) if the revision is the expected one (0: any), all of it or nothing. Returns the
    /// revision; that from before if nothing changed.
    pub(crate) fn patch(&mut self, expected: u64, patch: &str, who: &str) -> Result<u64, Error> {
        let now = self.revision();
        if expected != 0 && expected != now {
            return Err(Error::Conflict { expected, now });
        }
        let patch = Document::parse(patch.as_bytes()).map_err(Error::Patch)?;
        let mut changed = self.accepted().clone();
        changed.patch(patch.entries());
        self.change(changed, Origin { who, how: "patch" })
    }

    /// Makes the configuration what it was at a revision; the identity stays. Returns the new revision; that from
    /// before if nothing changed.
    pub(crate) fn revert(&mut self, revision: u64, who: &str) -> Result<u64, Error> {
        let now = (self.revision(), self.accepted());
        let mut changed = self
            .history()
            .at(revision, now)
            .filter(|_| revision != 0)
            .ok_or(Error::NoSuchRevision(revision))?;
        if let Ok(uuid) = KeyPath::parse("uuid") {
            let identity: Option<Value> = self.accepted().get(&uuid).cloned();
            changed.force(&uuid, identity);
        }
        self.change(changed, Origin { who, how: "revert" })
    }

    fn change(&mut self, changed: Document, origin: Origin<'_>) -> Result<u64, Error> {
        let changes = changes(self.accepted(), &changed);
        if self.is_unjudged(&changed) {
            return Err(Error::Unjudged);
        }
        let judged = self.judge(&changed, &changes, origin);
        self.forget_judgements();
        judged?;
        Document::parse(changed.to_text().as_bytes()).map_err(Error::Limit)?;
        if changes.is_empty() {
            return Ok(self.revision());
        }
        let before = (
            self.stored.clone(),
            self.on_boot.clone(),
            self.findings.clone(),
            self.is_unexported,
        );
        let wanted = self.on_boot_with(&changes, &changed);
        self.in_force(changed, origin.who, origin.how);
        self.stored.boot.rejected = None;
        self.stored.boot.kept = None;
        let export = self.begin_export(wanted.to_text(), wanted);
        if let Err(error) = self.save() {
            (self.stored, self.on_boot, self.findings, self.is_unexported) = before;
            if matches!(export, Export::Begun) {
                abandon(&self.boot.document);
            }
            return Err(Error::Store(error));
        }
        self.problems.store = None;
        self.problems.kept = None;
        if self.suspect.is_none() {
            self.problems.boot = None;
        }
        let (who, keys) = (origin.who, names(&changes).join(", "));
        log::info!("{keys}: {} by {who}, revision {}", origin.how, self.revision());
        self.end_export(export);
        if let Some(error) = &self.problems.export {
            log::error!("the change is in force and stored, but not on the boot partition: {error}");
        }
        Ok(self.revision())
    }

    /// Refuses a change with every key of it that breaks its rule.
    fn judge(&self, changed: &Document, changes: &[Change], origin: Origin<'_>) -> Result<(), Error> {
        let findings = self.inspect(changed, &self.identity);
        let refused = findings.iter().filter(|finding| {
            let is_touched = changes.iter().any(|change| change.path.overlaps(&finding.path));
            finding.is_refused() && is_touched
        });
        // The entries before the array that is refused for them.
        let (entries, keys): (Vec<_>, Vec<_>) = refused.partition(|finding| finding.entry.is_some());
        let refused: Vec<_> = entries.into_iter().chain(keys).collect();
        let removes_identity = identity_in(self.accepted()).is_some() && changed.setting("uuid").is_none();
        if removes_identity
            || refused
                .iter()
                .any(|finding| finding.verdict == Verdict::OtherIdentity)
        {
            return Err(Error::Identity);
        }
        if refused.is_empty() {
            return Ok(());
        }
        let rules = refused
            .iter()
            .map(|finding| (finding.name(), finding.verdict.to_string()));
        Err(match origin.how {
            "revert" => Error::OldRules(rules.collect()),
            _ => Error::Rules(rules.collect()),
        })
    }

    /// The boot partition's document with the same changes, if it says the same as the accepted one then. So what
    /// was refused in it stays in sight.
    fn on_boot_with(&self, changes: &[Change], accepted: &Document) -> Document {
        let changed = self.on_boot.clone().map(|mut document| {
            merge::apply(&mut document, changes, false);
            document
        });
        changed
            .filter(|changed| {
                let findings = self.inspect(changed, &self.identity);
                accept(changed, &findings, accepted) == *accepted
                    && Document::parse(changed.to_text().as_bytes()).is_ok()
            })
            .unwrap_or_else(|| accepted.clone())
    }
}
