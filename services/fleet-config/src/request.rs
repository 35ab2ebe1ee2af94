//! What clients ask, in the words of the bus's errors.

use fleet_base::bus::{self, Error};

use crate::copies::{self, Copies};
use crate::dbus::{Change, Past, Row};
use crate::document::{self, Document, KeyPath};
use crate::report::check_document;
use crate::store::Entry;
use crate::value::Uuid;

/// The value of a key as JSON text, secrets hidden; the empty key is the whole document.
pub(crate) fn get(document: &Document, key: &str) -> bus::Result<String> {
    if key.is_empty() {
        return Ok(document.shown_whole().to_string());
    }
    let path = path(key)?;
    let value = document.shown(&path).ok_or(document::Error::NotSet(path));
    Ok(value.map_err(copies::Error::Document)?.to_string())
}

/// The rows that a document would give on a device with this identity.
pub(crate) fn check(text: &str, identity: &Uuid) -> bus::Result<Vec<Row>> {
    let document =
        Document::parse(text.as_bytes()).map_err(|error| Error::InvalidArgument(error.to_string()))?;
    Ok(check_document(&document, Some(identity))
        .into_iter()
        .map(Into::into)
        .collect())
}

/// Makes a change. Returns the revision.
pub(crate) fn change(copies: &mut Copies, change: &Change, who: &str) -> bus::Result<u64> {
    Ok(match change {
        Change::Set(key, json) => copies.set(&path(key)?, json, who)?,
        Change::Unset(key) => copies.unset(&path(key)?, who)?,
        Change::Patch(expected, patch) => copies.patch(*expected, patch, who)?,
        Change::Revert(revision) => copies.revert(*revision, who)?,
    })
}

/// The last changes, the newest first.
pub(crate) fn history(copies: &Copies) -> Vec<Past> {
    let row = |entry: &Entry| {
        let Entry { who, how, keys, .. } = entry;
        (entry.revision, entry.time, who.clone(), how.clone(), keys.clone())
    };
    copies.history().entries().iter().map(row).collect()
}

/// A key that a client names.
pub(crate) fn path(key: &str) -> bus::Result<KeyPath> {
    Ok(KeyPath::parse(key).map_err(copies::Error::Document)?)
}

impl From<copies::Error> for Error {
    fn from(error: copies::Error) -> Self {
        let sentence = error.to_string();
        match error {
            copies::Error::Document(document::Error::NotSet(_)) => Self::NotFound(sentence),
            copies::Error::Document(_)
            | copies::Error::Syntax(_)
            | copies::Error::Patch(_)
            | copies::Error::Rules(_)
            | copies::Error::Limit(_) => Self::InvalidArgument(sentence),
            copies::Error::Identity | copies::Error::OldRules(_) => Self::Refused(sentence),
            copies::Error::Conflict { .. } => Self::Conflict(sentence),
            copies::Error::Unjudged => Self::Busy(sentence),
            copies::Error::NoSuchRevision(_) => Self::NotFound(sentence),
            copies::Error::Store(_) => Self::Failed(sentence),
        }
    }
}
