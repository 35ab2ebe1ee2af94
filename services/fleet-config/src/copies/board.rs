//! A card that was copied: another board than the one that the identity was made on gets an identity of its own.

use std::io;

use fleet_base::file;
use fleet_identity::board::Evidence;
use fleet_identity::id::Id;

use super::Copies;
use super::problem::stored;
use crate::document::{Document, KeyPath};

impl Copies {
    /// Compares the board with the recorded one. The record is written together with what follows from it.
    pub(super) fn meet_board(&mut self) -> io::Result<()> {
        let now = file::read(&self.boot.board, 4096).unwrap_or_default();
        let now = Evidence::parse(&String::from_utf8_lossy(&now));
        let then = Evidence::parse(&self.stored.board);
        let is_copy = then.is_contradicted_by(&now);
        self.stored.board = then.updated(&now).to_string();
        if is_copy {
            self.become_another()?;
        }
        Ok(())
    }

    /// A new identity: that of the boot partition's file if it has another one than the copied, or a random one.
    fn become_another(&mut self) -> io::Result<()> {
        let copied = self.identity;
        let given = self.identity_on_boot().filter(|given| *given != copied);
        let identity = match given {
            Some(given) => given,
            None => Id::random()?.into(),
        };
        self.identity = identity;
        self.stored.identity = Some(identity);
        if let Some(accepted) = self.stored.document.clone() {
            let accepted = renamed(accepted, &copied.to_string(), &identity.to_string());
            self.in_force(accepted, "device", "identity");
            self.stored.history.name_newest("uuid");
        }
        let problem = format!(
            "this card was copied from another device, so that it has a new identity now, {identity}; \
             its ssh host keys and machine-id are new as well"
        );
        log::warn!("{problem}");
        self.problems.copied = Some(problem);
        // The file is read next, and written then, unless it was edited.
        let on_boot = self.on_boot.clone();
        let document = on_boot.map(|document| renamed(document, &copied.to_string(), &identity.to_string()));
        if let Some(document) = document.filter(|document| self.on_boot.as_ref() != Some(document)) {
            self.intend(document.to_text(), document, self.stored.boot.hash, true);
        }
        // As both generations: the older one has the identity of the other device.
        let lost = "the new identity is lost at power-off, because it cannot be stored";
        let saved = self.store.save_twice(&self.to_store());
        stored(&mut self.problems.store, lost, saved);
        stored(&mut self.problems.identity, lost, self.store.save_uuid(&identity));
        Ok(())
    }
}

/// The document with another identity, if it has this one.
fn renamed(mut document: Document, from: &str, to: &str) -> Document {
    if document.setting("uuid").and_then(serde_json::Value::as_str) == Some(from)
        && let Ok(path) = KeyPath::parse("uuid")
    {
        document.force(&path, Some(to.into()));
    }
    document
}
