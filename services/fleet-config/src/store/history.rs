//! The last changes of the configuration: what was changed by whom, and how to get back.

use serde_json::{Map, Value, json};

use crate::document::{Document, KeyPath};
use crate::merge::{self, Change};

/// The most changes that are kept.
const MOST: usize = 10;
/// The most bytes that all but the newest take as JSON, so that a change of an ordinary configuration writes at most
/// 16 KiB. Beyond it the values are let go, and who changed which keys is kept, as long as that stays within it, too.
const BUDGET: usize = 2048;
/// The most names of keys in one change; more are cut off, as `…`.
const MOST_KEYS: usize = 32;

/// One change.
#[derive(Clone)]
pub struct Entry {
    /// The revision that it made.
    pub revision: u64,
    /// When, in microseconds of `CLOCK_REALTIME`; 0 if the clock was not set.
    pub time: u64,
    /// Who: `root`, `user 1000`, `config.json`, `device`.
    pub who: String,
    /// How: `set`, `unset`, `patch`, `revert`, `edit`, `first`, `identity`, `recovery`.
    pub how: String,
    /// The names of the keys that changed.
    pub keys: Vec<String>,
    /// The revision before.
    pub(crate) from: u64,
    /// The keys as they were before; `None` where there was nothing before, or it is not known.
    pub(crate) undo: Option<Vec<Change>>,
    /// Fields of a newer release.
    rest: Map<String, Value>,
}

/// The last changes, the newest first.
#[derive(Clone, Default)]
pub struct History(Vec<Entry>);

impl Entry {
    /// A change of `before` to `after`.
    pub(crate) fn new(
        (from, before): (u64, Option<&Document>),
        (revision, after): (u64, &Document),
        (who, how): (&str, &str),
        time: u64,
    ) -> Self {
        let nothing = Document::default();
        let mut changes = merge::changes(before.unwrap_or(&nothing), after);
        let mut keys = merge::names(&changes);
        if keys.len() > MOST_KEYS {
            keys.truncate(MOST_KEYS - 1);
            keys.push("…".to_owned());
        }
        for change in &mut changes {
            change.after = None;
        }
        Self {
            revision,
            time,
            who: who.to_owned(),
            how: how.to_owned(),
            keys,
            from,
            undo: before.map(|_| changes),
            rest: Map::new(),
        }
    }

    /// The values that it replaced, as far as they are known.
    pub(crate) fn before(&self) -> impl Iterator<Item = (&KeyPath, &Value)> {
        let changes = self.undo.iter().flatten();
        changes.filter_map(|change| Some((&change.path, change.before.as_ref()?)))
    }

    fn size(&self) -> usize {
        self.to_json().to_string().len()
    }

    fn to_json(&self) -> Value {
        let mut entry = self.rest.clone();
        entry.insert("revision".to_owned(), self.revision.into());
        entry.insert("from".to_owned(), self.from.into());
        entry.insert("time".to_owned(), self.time.into());
        entry.insert("who".to_owned(), self.who.as_str().into());
        entry.insert("how".to_owned(), self.how.as_str().into());
        entry.insert("keys".to_owned(), self.keys.as_slice().into());
        if let Some(changes) = &self.undo {
            // The value as text: a document may be as deep as the reader goes.
            let undo = |change: &Change| match &change.before {
                Some(value) => json!([change.path.steps(), value.to_string()]),
                None => json!([change.path.steps()]),
            };
            entry.insert("undo".to_owned(), changes.iter().map(undo).collect());
        }
        Value::Object(entry)
    }

    fn from_json(value: Value) -> Option<Self> {
        let Value::Object(mut entry) = value else {
            return None;
        };
        let mut number = |name: &str| entry.shift_remove(name)?.as_u64();
        let (revision, from, time) = (number("revision")?, number("from")?, number("time")?);
        let mut text = |name: &str| match entry.shift_remove(name)? {
            Value::String(text) => Some(text),
            _ => None,
        };
        let (who, how) = (text("who")?, text("how")?);
        let keys = entry.shift_remove("keys")?;
        let keys = keys.as_array()?.iter().map(|key| key.as_str().map(str::to_owned));
        let undo = entry.shift_remove("undo").and_then(|undo| {
            let changes = undo.as_array()?.iter().map(undo_of);
            changes.collect::<Option<Vec<Change>>>()
        });
        Some(Self {
            revision,
            time,
            who,
            how,
            keys: keys.collect::<Option<_>>()?,
            from,
            undo,
            rest: entry,
        })
    }
}

fn undo_of(value: &Value) -> Option<Change> {
    let (path, value) = match value.as_array()?.as_slice() {
        [path] => (path, None),
        [path, text] => (path, Some(crate::strict::value(text.as_str()?).ok()?)),
        _ => return None,
    };
    let steps = path
        .as_array()?
        .iter()
        .map(|step| step.as_str().map(str::to_owned));
    Some(Change {
        path: KeyPath::of(steps.collect::<Option<_>>()?),
        before: value,
        after: None,
    })
}

impl History {
    /// The changes, the newest first.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.0
    }

    /// Adds a change, and lets go of what there is no room for: the oldest changes, and the values that older ones replaced.
    pub(crate) fn push(&mut self, entry: Entry) {
        self.0.insert(0, entry);
        self.0.truncate(MOST);
        let (mut size, mut names) = (0, 0);
        let mut kept = 1;
        for entry in self.0.iter_mut().skip(1) {
            size += entry.size();
            if size > BUDGET {
                entry.undo = None;
            }
            if entry.undo.is_none() {
                names += entry.size();
            }
            if names > BUDGET {
                break;
            }
            kept += 1;
        }
        self.0.truncate(kept);
    }

    /// Says of the newest change that this is the key that it is about.
    pub(crate) fn name_newest(&mut self, key: &str) {
        if let Some(newest) = self.0.first_mut() {
            newest.keys = vec![key.to_owned()];
        }
    }

    /// The configuration as it was at a revision, from what it is now; `None` if the history does not reach there.
    pub(crate) fn at(&self, revision: u64, now: (u64, &Document)) -> Option<Document> {
        let (mut at, mut document) = (now.0, now.1.clone());
        let mut entries = self.0.iter();
        while at != revision {
            let entry = entries.next().filter(|entry| entry.revision == at)?;
            merge::apply(&mut document, entry.undo.as_ref()?, true);
            at = entry.from;
        }
        Some(document)
    }

    pub(super) fn to_json(&self) -> Value {
        self.0.iter().map(Entry::to_json).collect()
    }

    /// What can be read of it: a change that is of another shape ends it.
    pub(super) fn from_json(value: Value) -> Self {
        let Value::Array(entries) = value else {
            return Self::default();
        };
        Self(entries.into_iter().map_while(Entry::from_json).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(number: u64) -> Document {
        let text = format!(r#"{{"n":{number},"os":{{"a.b":"{}"}},"same":1}}"#, number / 2);
        Document::parse(text.as_bytes()).unwrap()
    }

    fn history(of: impl Iterator<Item = u64>, document: impl Fn(u64) -> Document) -> History {
        let mut history = History::default();
        for number in of {
            let before = document(number - 1);
            let before = (number - 1, Some(&before));
            history.push(Entry::new(
                before,
                (number, &document(number)),
                ("root", "set"),
                7,
            ));
        }
        history
    }

    #[test]
    fn goes_back_ten_changes() {
        let history = history(1..=15, document);
        let history = History::from_json(history.to_json());
        assert_eq!(history.entries().len(), 10);
        assert_eq!(history.entries()[1].keys, ["n", "os.a.b"]);
        for revision in 5..=15 {
            assert!(history.at(revision, (15, &document(15))).unwrap() == document(revision));
        }
        assert!(history.at(4, (15, &document(15))).is_none());
        assert!(history.at(16, (15, &document(15))).is_none());
    }

    #[test]
    fn has_a_budget_and_keeps_the_newest() {
        let large = |number: u64| {
            let text = format!(r#"{{"n":"{}"}}"#, number.to_string().repeat(700));
            Document::parse(text.as_bytes()).unwrap()
        };
        let history = history(1..=15, large);
        // Who changed what is still there where the values are not.
        assert_eq!(history.entries().len(), 10);
        assert_eq!(history.entries()[9].keys, ["n"]);
        assert!(history.at(13, (15, &large(15))).unwrap() == large(13));
        assert!(history.at(10, (15, &large(15))).is_none());
        let huge = Entry::new((15, Some(&large(9999))), (16, &document(1)), ("root", "set"), 0);
        let mut history = history.clone();
        history.push(huge);
        assert_eq!(history.entries()[0].revision, 16);
        // Long names have no end either.
        let named = |number: u64| {
            let text = format!(r#"{{"{}":{number}}}"#, "n".repeat(1500));
            Document::parse(text.as_bytes()).unwrap()
        };
        for number in 17..30 {
            history.push(Entry::new(
                (number - 1, Some(&named(number - 1))),
                (number, &named(number)),
                ("root", "set"),
                0,
            ));
        }
        assert_eq!(history.entries().len(), 2);
    }

    #[test]
    fn fields_of_a_newer_release_stay() {
        let mut json = history(1..=2, document).to_json();
        json[1]["why"] = json!("because");
        let mut history = History::from_json(json);
        history.push(Entry::new((2, None), (3, &document(3)), ("root", "set"), 0));
        assert_eq!(history.to_json()[2]["why"], "because");
    }

    #[test]
    fn many_keys_are_cut_off() {
        let many: Map<_, _> = (0..100).map(|n| (n.to_string(), Value::Null)).collect();
        let entry = Entry::new((0, None), (1, &Document::from(many)), ("root", "set"), 0);
        assert_eq!((entry.keys.len(), entry.keys[31].as_str()), (32, "…"));
    }
}
