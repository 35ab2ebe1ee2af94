//! What differs between two documents, and three documents as one.
//!
//! Objects are taken apart key by key; everything else, arrays too, is one value.

use serde_json::{Map, Value};

use crate::document::{Document, KeyPath};

/// One key that differs. It has no `Debug`, because it may hold a secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) path: KeyPath,
    /// The value on the one side; `None` where there is no such key.
    pub(crate) before: Option<Value>,
    /// The value on the other.
    pub(crate) after: Option<Value>,
}

/// Every key that differs, in the order of `before`, then that of `after`. No path is below another.
pub(crate) fn changes(before: &Document, after: &Document) -> Vec<Change> {
    let mut found = Vec::new();
    compare(&KeyPath::root(), before.entries(), after.entries(), &mut found);
    found
}

fn compare(
    above: &KeyPath,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    found: &mut Vec<Change>,
) {
    let removed_or_changed = before
        .iter()
        .map(|(name, value)| (name, Some(value), after.get(name)));
    let added = after
        .iter()
        .filter(|(name, _)| !before.contains_key(*name))
        .map(|(name, value)| (name, None, Some(value)));
    for (name, before, after) in removed_or_changed.chain(added) {
        match (before, after) {
            _ if before == after => {}
            (Some(Value::Object(before)), Some(Value::Object(after))) => {
                compare(&above.child(name), before, after, found);
            }
            _ => found.push(Change {
                path: above.child(name),
                before: before.cloned(),
                after: after.cloned(),
            }),
        }
    }
}

/// How many keys differ, each key of an object that is on one side only counted by itself.
pub(crate) fn distance(one: &Document, other: &Document) -> usize {
    changes(one, other)
        .iter()
        .map(|change| leaves(change.before.as_ref()).max(leaves(change.after.as_ref())))
        .sum()
}

/// The keys that differ, by name, an object that is on one side only taken apart.
pub(crate) fn names(changes: &[Change]) -> Vec<String> {
    let mut names = Vec::new();
    for change in changes {
        let before = names.len();
        for value in [&change.before, &change.after].into_iter().flatten() {
            if let Value::Object(object) = value {
                name_leaves(&change.path, object, &mut names);
            }
        }
        if names.len() == before {
            names.push(change.path.to_string());
        }
    }
    names
}

fn name_leaves(above: &KeyPath, object: &Map<String, Value>, names: &mut Vec<String>) {
    for (name, value) in object {
        let path = above.child(name);
        match value {
            Value::Object(inner) if !inner.is_empty() => name_leaves(&path, inner, names),
            _ => names.push(path.to_string()),
        }
    }
}

fn leaves(value: Option<&Value>) -> usize {
    match value {
        Some(Value::Object(object)) => object
            .values()
            .map(|value| leaves(Some(value)))
            .sum::<usize>()
            .max(1),
        _ => 1,
    }
}

/// Three-way: `theirs` with what only `ours` changed since `base`. Where both changed a key, theirs counts.
///
/// The order is that of `theirs`; what only ours has comes after.
pub(crate) fn merge(base: &Document, ours: &Document, theirs: &Document) -> Document {
    if base == ours || ours == theirs {
        return theirs.clone();
    }
    Document::from(merge_objects(base.entries(), ours.entries(), theirs.entries()))
}

fn merge_objects(
    base: &Map<String, Value>,
    ours: &Map<String, Value>,
    theirs: &Map<String, Value>,
) -> Map<String, Value> {
    let ours_only = ours.keys().filter(|name| !theirs.contains_key(*name));
    theirs
        .keys()
        .chain(ours_only)
        .filter_map(|name| {
            let merged = merge_values(base.get(name), ours.get(name), theirs.get(name))?;
            Some((name.clone(), merged))
        })
        .collect()
}

fn merge_values(base: Option<&Value>, ours: Option<&Value>, theirs: Option<&Value>) -> Option<Value> {
    if theirs == base {
        return ours.cloned();
    }
    if ours == base {
        return theirs.cloned();
    }
    match (ours, theirs) {
        (Some(Value::Object(ours)), Some(Value::Object(theirs))) => {
            let nothing = Map::new();
            let base = base.and_then(Value::as_object).unwrap_or(&nothing);
            Some(Value::Object(merge_objects(base, ours, theirs)))
        }
        _ => theirs.cloned(),
    }
}

/// Makes these keys of a document as they were before, or, if `undo` is not set, as they are after.
///
/// A key whose way is blocked by something that is no object takes its place.
pub(crate) fn apply(document: &mut Document, changes: &[Change], undo: bool) {
    for change in changes {
        let value = if undo { &change.before } else { &change.after };
        document.force(&change.path, value.clone());
    }
}

#[cfg(test)]
mod tests;
