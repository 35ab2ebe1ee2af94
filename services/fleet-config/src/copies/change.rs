//! A change of one key by a call: in force, stored, and on the boot partition when the call returns.

use serde_json::Value;

use super::{Copies, Error};
use crate::document::{self, Document, KeyPath};
use crate::finding::{Verdict, accept, inspect};

impl Copies {
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
        // The entry before the array that is refused for it.
        if let Some(bad) = findings
            .iter()
            .filter(|bad| bad.is_refused() && bad.path.overlaps(path))
            .min_by_key(|bad| bad.entry.is_none())
        {
            return Err(match bad.verdict {
                Verdict::OtherIdentity => Error::Identity,
                ref verdict => Error::Rule(bad.name(), verdict.to_string()),
            });
        }
        let text = changed.to_text();
        Document::parse(text.as_bytes()).map_err(Error::Limit)?;
        if changed == self.accepted {
            return Ok(false);
        }
        self.store.save_document(&changed).map_err(Error::Store)?;
        self.in_force(changed);
        log::info!("{path} is changed, revision {}", self.revision);
        if self.empty_since.is_some() {
            // Somebody writes it; if not, it is written again soon.
            self.findings = findings;
            self.store();
            return Ok(true);
        }
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
        (accept(&changed, &findings, &self.accepted) == self.accepted)
            .then(|| changed.to_text())
            .filter(|text| Document::parse(text.as_bytes()).is_ok())
    }
}
