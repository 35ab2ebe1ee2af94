//! What one generation holds, and its JSON.
//!
//! | field | what |
//! |---|---|
//! | `revision` | counts accepted configurations; never goes down |
//! | `document` | the accepted configuration, as text: it may be as deep as the reader goes; `null`: what `boot.text` says; absent: none was accepted |
//! | `identity` | the uuid |
//! | `board` | the evidence of the board that the identity was made on |
//! | `boot` | what is known of the boot partition's file |
//! | `history` | the last changes |
//!
//! Fields that this release does not know are kept, here and in each object in here.

use serde_json::{Map, Value, json};

use super::hash::Hash;
use super::history::History;
use crate::document::Document;
use crate::strict;
use crate::value::Uuid;

/// The largest generation, in bytes: the document, the text of the boot partition's file, and one undo of all of it,
/// with what it takes to quote them.
pub(super) const MAX_BYTES: u64 = 8 * crate::document::MAX_BYTES;

/// What the store holds.
#[derive(Clone, Default)]
pub struct Stored {
    /// Counts accepted configurations; 0 before the first.
    pub revision: u64,
    /// The accepted configuration; `None` if none was ever accepted.
    pub document: Option<Document>,
    /// The identity, if it was settled.
    pub identity: Option<Uuid>,
    /// The last changes.
    pub history: History,
    /// The evidence of the board, as its file has it.
    pub(crate) board: String,
    /// What is known of the boot partition's file.
    pub(crate) boot: BootRecord,
    /// Fields of a newer release.
    pub(crate) rest: Map<String, Value>,
}

/// What is known of the boot partition's file.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct BootRecord {
    /// What it holds, or is to hold as soon as an export that follows is done.
    pub(crate) hash: Option<Hash>,
    /// What it held before that export.
    pub(crate) before: Option<Hash>,
    /// That export could not be begun: it is still to be made.
    pub(crate) is_due: bool,
    /// Its text, unless that is the accepted configuration as we write it.
    pub(crate) text: Option<String>,
    /// The names of the keys of it that were refused.
    pub(crate) refused: Vec<String>,
    /// Why the last file was put aside, until the next one is accepted.
    pub(crate) rejected: Option<String>,
    /// The keys that an edit of an older copy did not take back, as a list for people, and the revision that it made.
    pub(crate) kept: Option<(u64, String)>,
    /// Fields of a newer release.
    rest: Map<String, Value>,
}

impl Stored {
    pub(super) fn to_json(&self) -> String {
        let mut envelope = self.rest.clone();
        let mut insert = |name: &str, value: Value| drop(envelope.insert(name.to_owned(), value));
        insert("revision", self.revision.into());
        if let Some(document) = &self.document {
            let said = self.boot.document().filter(|said| said == document);
            let text = said.map_or_else(|| document.to_compact().into(), |_| Value::Null);
            insert("document", text);
        }
        if let Some(identity) = &self.identity {
            insert("identity", identity.to_string().into());
        }
        if !self.board.is_empty() {
            insert("board", self.board.as_str().into());
        }
        insert("boot", self.boot.to_json());
        insert("history", self.history.to_json());
        Value::Object(envelope).to_string()
    }

    /// Every configuration in it: the accepted one, and the boot partition's with what was refused of that.
    pub(crate) fn documents(&self) -> impl Iterator<Item = Document> {
        [self.document.clone(), self.boot.document()]
            .into_iter()
            .flatten()
    }

    /// `None`: it is not of this shape.
    pub(super) fn from_json(bytes: &[u8]) -> Option<Self> {
        let mut envelope = strict::object(bytes, MAX_BYTES).ok()?;
        let revision = envelope.shift_remove("revision")?.as_u64()?;
        let boot = envelope.shift_remove("boot").map(BootRecord::from_json);
        let boot = boot.unwrap_or_default();
        let document = match envelope.shift_remove("document") {
            Some(Value::Null) => Some(boot.document()?),
            Some(text) => Some(Document::parse(text.as_str()?.as_bytes()).ok()?),
            None => None,
        };
        let identity = envelope.shift_remove("identity");
        let identity = identity.and_then(|digits| Uuid::try_from(digits.as_str()?).ok());
        let board = envelope.shift_remove("board");
        let board = board
            .as_ref()
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let history = envelope.shift_remove("history").map(History::from_json);
        Some(Self {
            revision,
            document,
            identity,
            history: history.unwrap_or_default(),
            board,
            boot,
            rest: envelope,
        })
    }
}

impl BootRecord {
    /// What the text says.
    fn document(&self) -> Option<Document> {
        Document::parse(self.text.as_ref()?.as_bytes()).ok()
    }

    fn to_json(&self) -> Value {
        let mut record = self.rest.clone();
        let texts = [
            ("hash", self.hash.map(|hash| hash.to_string())),
            ("before", self.before.map(|hash| hash.to_string())),
            ("text", self.text.clone()),
            ("rejected", self.rejected.clone()),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                record.insert(name.to_owned(), text.into());
            }
        }
        if let Some((revision, keys)) = &self.kept {
            record.insert("kept".to_owned(), json!([revision, keys]));
        }
        if self.is_due {
            record.insert("due".to_owned(), true.into());
        }
        if !self.refused.is_empty() {
            record.insert("refused".to_owned(), self.refused.as_slice().into());
        }
        Value::Object(record)
    }

    fn from_json(value: Value) -> Self {
        let Value::Object(mut record) = value else {
            return Self::default();
        };
        let mut text = |name: &str| match record.shift_remove(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let hash = |text: Option<String>| text.as_deref().and_then(Hash::parse);
        let (known, before) = (hash(text("hash")), hash(text("before")));
        let (body, rejected) = (text("text"), text("rejected"));
        let kept = record.shift_remove("kept");
        let kept = kept.and_then(|kept| Some((kept.get(0)?.as_u64()?, kept.get(1)?.as_str()?.to_owned())));
        let is_due = record.shift_remove("due") == Some(Value::Bool(true));
        let refused = record.shift_remove("refused");
        let refused = refused.as_ref().and_then(Value::as_array);
        let names = refused.map(|names| {
            names
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        });
        Self {
            hash: known,
            before,
            is_due,
            text: body,
            refused: names.unwrap_or_default(),
            rejected,
            kept,
            rest: record,
        }
    }
}
