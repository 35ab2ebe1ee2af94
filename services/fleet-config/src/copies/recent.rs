//! What the boot partition's file held a while ago: whoever read it then may write it back now.

use std::time::Duration;

use tokio::time::Instant;

use crate::document::Document;
use crate::merge::{changes, distance};

/// How long a program may think about what it read.
pub(super) const AGE: Duration = Duration::from_secs(3600);
/// The most documents that are remembered, and the most bytes that they have as text.
const MOST: usize = 16;
const MOST_BYTES: usize = 1024 * 1024;

/// A document that somebody may have in his hands.
#[derive(Clone, Copy)]
pub(super) struct Older<'a> {
    pub(super) document: &'a Document,
    /// It was written from a copy that was stale already, and has never held as it is.
    pub(super) is_stale: bool,
}

/// Documents that the file held before an export of ours, was exported as, or was written as from a stale copy; the newest
/// first.
#[derive(Default)]
pub(super) struct Recent(Vec<(Instant, usize, Document, bool)>);

impl Recent {
    /// Remembers one.
    pub(super) fn push(&mut self, document: Option<Document>) {
        if let Some(document) = document {
            self.insert(document, false);
        }
    }

    /// Remembers what was written from a stale copy: its writer goes on from there.
    pub(super) fn push_stale(&mut self, document: Document) {
        self.insert(document, true);
    }

    fn insert(&mut self, document: Document, is_stale: bool) {
        let size = document.to_compact().len();
        self.0.insert(0, (Instant::now(), size, document, is_stale));
        let mut sum = 0;
        let kept = self.0.iter().take(MOST).take_while(|(since, size, ..)| {
            sum += size;
            sum <= MOST_BYTES && since.elapsed() < AGE
        });
        let kept = kept.count();
        self.0.truncate(kept);
    }

    /// Those that are young enough.
    pub(super) fn documents(&self) -> impl Iterator<Item = Older<'_>> {
        self.0
            .iter()
            .filter(|(since, ..)| since.elapsed() < AGE)
            .map(|(_, _, document, is_stale)| Older {
                document,
                is_stale: *is_stale,
            })
    }
}

/// Which of `older` was edited into `edited`: the one that it differs less from than from what the file held last, if
/// there is one. Whoever has a value that came later has seen what came later, and one that is equal was put back on purpose,
/// unless it never held; if the file has held the last one at all (not `is_unexported`).
pub(super) fn base<'a>(
    edited: &Document,
    last: &Document,
    older: impl Iterator<Item = Older<'a>>,
    is_unexported: bool,
) -> Option<&'a Document> {
    let far = distance(last, edited);
    let is_seen = |older: &Document| {
        let later = changes(older, last);
        later
            .iter()
            .any(|change| edited.get(&change.path) == change.after.as_ref())
    };
    let (near, nearest) = older
        .map(|older| (distance(older.document, edited), older))
        .filter(|(near, older)| *near < far && (is_unexported || !is_seen(older.document)))
        .min_by_key(|(near, _)| *near)?;
    (near > 0 || nearest.is_stale || is_unexported).then_some(nearest.document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_a_stale_copy_from_a_revert() {
        // what was exported before, what the file held last, the edit, whether the older one is its base
        let cases = [
            (r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":1,"b":1}"#, true),
            (r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":1}"#, false),
            (r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":2,"b":1}"#, false),
            (r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":3}"#, false),
            (r#"{"a":1,"c":1}"#, r#"{"a":2,"c":2}"#, r#"{"a":1,"c":3}"#, true),
            (r#"{"o":{"a":1}}"#, r#"{}"#, r#"{"o":{"a":1,"b":2}}"#, true),
            // It has b as it was set last: a was removed by hand.
            (r#"{"c":1}"#, r#"{"a":1,"b":1,"c":1}"#, r#"{"b":1,"c":2}"#, false),
        ];
        let document = |text: &str| Document::parse(text.as_bytes()).unwrap();
        for (older, last, edited, is_base) in cases {
            let (older, last, edited_) = (document(older), document(last), document(edited));
            let older = Older {
                document: &older,
                is_stale: false,
            };
            let found = base(&edited_, &last, [older].into_iter(), false);
            assert_eq!(found.is_some(), is_base, "{edited}");
        }
    }

    #[test]
    fn forgets() {
        let mut recent = Recent::default();
        for _ in 0..40 {
            recent.push(Some(Document::default()));
        }
        assert_eq!(recent.documents().count(), MOST);
    }
}
