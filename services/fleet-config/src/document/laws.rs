//! What holds for every document.

use proptest::prelude::*;

use super::*;
use crate::arbitrary::{document, examples, json, parsed, strange};
use crate::config::Config;

/// Paths that documents have, and some that they have not.
fn path() -> impl Strategy<Value = KeyPath> {
    let known: Vec<String> = examples().into_iter().map(|(path, _)| path).collect();
    prop_oneof![
        proptest::sample::select(known),
        "[a-z]{1,3}(\\.[a-z]{1,3}){0,3}".prop_map(|path| path),
    ]
    .prop_map(|path| KeyPath::parse(&path).unwrap())
}

/// The top-level names in their order, without one.
fn names_but<'a>(document: &'a Document, path: &KeyPath) -> Vec<(&'a String, &'a Value)> {
    let first = path.0.first();
    document
        .entries()
        .iter()
        .filter(|(name, _)| Some(*name) != first)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_written_is_read_again(text in prop_oneof![strange(), document()]) {
        let document = parsed(&text);
        let text = document.to_text();
        let again = parsed(&text);
        prop_assert!(again == document, "{}", text);
        prop_assert_eq!(again.to_text(), text);
        prop_assert_eq!(Config::read(&again), Config::read(&document));
    }

    #[test]
    fn set_sets_this_and_nothing_else(text in prop_oneof![strange(), document()], path in path(), value in json()) {
        let document = parsed(&text);
        let mut changed = document.clone();
        match changed.set(&path, value.clone()) {
            Ok(()) => {
                prop_assert_eq!(changed.get(&path), Some(&value));
                prop_assert_eq!(names_but(&changed, &path), names_but(&document, &path));
                let once = changed.clone();
                changed.set(&path, value).unwrap();
                prop_assert!(once.to_text() == changed.to_text(), "setting twice is setting once");
                // What was there comes back.
                match document.get(&path) {
                    Some(before) => changed.set(&path, before.clone()).unwrap(),
                    None => changed.unset(&path).unwrap(),
                }
                prop_assert_eq!(changed.get(&path), document.get(&path));
                if document.get(&path).is_some() {
                    prop_assert_eq!(changed.to_text(), document.to_text());
                }
            }
            Err(error) => {
                prop_assert!(matches!(error, Error::NotAnObject(_)), "{}", error);
                prop_assert_eq!(changed.to_text(), document.to_text());
            }
        }
    }

    #[test]
    fn unset_removes_this_and_nothing_else(text in prop_oneof![strange(), document()], path in path()) {
        let document = parsed(&text);
        let mut changed = document.clone();
        match changed.unset(&path) {
            Ok(()) => {
                prop_assert!(document.get(&path).is_some());
                prop_assert_eq!(changed.get(&path), None);
                prop_assert_eq!(names_but(&changed, &path), names_but(&document, &path));
                prop_assert_eq!(changed.unset(&path), Err(Error::NotSet(path)));
            }
            Err(_) => {
                prop_assert_eq!(document.get(&path), None);
                prop_assert_eq!(changed.to_text(), document.to_text());
            }
        }
    }

    #[test]
    fn what_is_shown_has_every_name_and_no_secret(text in document(), path in path()) {
        let mut document = parsed(&text);
        for key in key::TABLE.iter().filter(|key| key.secret) {
            let _ = document.set(&KeyPath::parse(key.path).unwrap(), Value::from(vec!["hunter2"]));
        }
        let shown = document.shown_whole();
        prop_assert!(!shown.to_string().contains("hunter2"));
        let names = |object: &Map<String, Value>| object.keys().cloned().collect::<Vec<_>>();
        prop_assert_eq!(shown.as_object().map(names), Some(names(document.entries())));
        let shown = document.shown(&path).unwrap_or_default().to_string();
        prop_assert!(!shown.contains("hunter2"));
    }
}
