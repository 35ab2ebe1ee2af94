//! The layout of the releases before generations: `config.json`, the accepted configuration, and `boot.json`, the
//! bytes of the boot partition's file as they were last read or written.
//!
//! It is the second copy until there are two generations, and is removed then.

use std::path::Path;

use fleet_base::file::{self, Durability};

use super::hash::Hash;
use super::stored::{BootRecord, Stored};
use crate::document::{Document, MAX_BYTES};
use crate::finding::{accept, inspect, refused};
use crate::merge::changes;

const DOCUMENT: &str = "config.json";
const BOOT_COPY: &str = "boot.json";

/// What it holds, if one of the two is whole. Where the configuration itself is damaged, the boot partition's takes its
/// place, without what it was refused for.
pub(super) fn read(folder: &Path, identity: Option<&crate::value::Uuid>) -> Option<Stored> {
    let read = |name| {
        let bytes = file::read(&folder.join(name), MAX_BYTES).ok()?;
        Some((Document::parse(&bytes).ok()?, bytes))
    };
    let document = read(DOCUMENT).map(|(document, _)| document);
    let mut boot = BootRecord::default();
    let mut accepted = document;
    if let Some((copy, bytes)) = read(BOOT_COPY) {
        let findings = inspect(&copy, identity);
        let accepted = accepted.get_or_insert_with(|| accept(&copy, &findings, &Document::default()));
        boot.hash = Some(Hash::of(&bytes));
        boot.refused = refused(&findings);
        // It did not record what it refused: whatever of the file is good and was not accepted, was refused then.
        let good = accept(&copy, &findings, accepted);
        let good = changes(accepted, &good);
        boot.refused
            .extend(good.iter().map(|change| change.path.to_string()));
        boot.text = String::from_utf8(bytes)
            .ok()
            .filter(|text| *text != accepted.to_text());
    }
    Some(Stored {
        revision: 1,
        document: Some(accepted?),
        identity: identity.copied(),
        boot,
        ..Stored::default()
    })
}

/// Whether there is something of it.
pub(super) fn is_there(folder: &Path) -> bool {
    [DOCUMENT, BOOT_COPY]
        .iter()
        .any(|name| folder.join(name).exists())
}

/// Removes it. Not synced: what comes back with the power is looked at only where no generation is whole.
pub(super) fn remove(folder: &Path) {
    for name in [DOCUMENT, BOOT_COPY] {
        if let Err(error) = file::remove(&folder.join(name), Durability::Volatile) {
            log::warn!("{error}");
        }
    }
}
