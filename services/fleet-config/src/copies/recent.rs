//! What the boot partition's file held a while ago: whoever read it then may write it back now.

use std::time::Duration;

use tokio::time::Instant;

use crate::document::Document;
use crate::merge::distance;

/// How long a program may think about what it read.
const AGE: Duration = Duration::from_secs(3600);
/// The most documents that are remembered, and the most bytes that they have as text.
const MOST: usize = 16;
const MOST_BYTES: usize = 1024 * 1024;

/// Documents that the file held before an export of ours or was exported as, the newest first.
#[derive(Default)]
pub(super) struct Recent(Vec<(Instant, usize, Document)>);

impl Recent {
    /// Remembers one.
    pub(super) fn push(&mut self, document: Option<Document>) {
        let Some(document) = document else { return };
        let size = document.to_compact().len();
        self.0.insert(0, (Instant::now(), size, document));
        let mut sum = 0;
        let kept = self.0.iter().take(MOST).take_while(|(since, size, _)| {
            sum += size;
            sum <= MOST_BYTES && since.elapsed() < AGE
        });
        let kept = kept.count();
        self.0.truncate(kept);
    }

    /// Those that are young enough.
    pub(super) fn documents(&self) -> impl Iterator<Item = &Document> {
        self.0
            .iter()
            .filter(|(since, ..)| since.elapsed() < AGE)
            .map(|(.., document)| document)
    }
}

/// Which of `older` was edited into `edited`: the one that it differs less from than from what the file held last, if
/// there is one. One that is equal was put back on purpose, unless the file may never have held another
/// (`is_unexported`).
pub(super) fn base<'a>(
    edited: &Document,
    last: &Document,
    older: impl Iterator<Item = &'a Document>,
    is_unexported: bool,
) -> Option<&'a Document> {
    let far = distance(last, edited);
    let (near, nearest) = older
        .map(|older| (distance(older, edited), older))
        .min_by_key(|(distance, _)| *distance)?;
    (near < far && (near > 0 || is_unexported)).then_some(nearest)
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
        ];
        let document = |text: &str| Document::parse(text.as_bytes()).unwrap();
        for (older, last, edited, is_base) in cases {
            let (older, last, edited_) = (document(older), document(last), document(edited));
            let found = base(&edited_, &last, [&older].into_iter(), false);
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
