//! Documents for the property tests: every key with good values (the examples of `docs/config.schema.json`), with values
//! of other keys, and with anything.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value};

use crate::document::{Document, KeyPath};
use crate::key;

/// Names that are no keys, or are objects around keys.
const OTHER: &[&str] = &[
    "mine",
    "mine.token",
    "hostnam",
    "os",
    "os.network",
    "os.network.wifi",
    "installer",
];

/// Any JSON value of up to four levels.
pub(crate) fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?"
            .prop_map(|digits| serde_json::from_str(&digits).unwrap()),
        ".{0,12}".prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((name(), inner), 0..5).prop_map(|entries| {
                let object: Map<String, Value> = entries.into_iter().collect();
                Value::Object(object)
            }),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,3}",
        ".{0,4}",
        Just("hostname".to_owned()),
        Just("os".to_owned())
    ]
}

/// The text of any document, of which few keys are ours. A document itself has no `Debug`, because it holds secrets.
pub(crate) fn strange() -> impl Strategy<Value = String> {
    proptest::collection::vec((name(), json()), 0..8)
        .prop_map(|entries| Value::Object(entries.into_iter().collect()).to_string())
}

/// The text of a document as people write them, with slips: most values are good ones.
pub(crate) fn document() -> impl Strategy<Value = String> {
    let examples = examples();
    let paths: Vec<String> = examples.iter().map(|(path, _)| path.clone()).collect();
    let paths = paths
        .into_iter()
        .chain(OTHER.iter().map(|path| (*path).to_owned()));
    let all: Vec<Value> = examples.iter().flat_map(|(_, values)| values.clone()).collect();
    let entry = (select(paths.collect::<Vec<_>>()), 0..8_u8, any::<Index>(), json());
    proptest::collection::vec(entry, 0..24).prop_map(move |entries| {
        let mut document = Document::default();
        for (path, kind, index, any) in entries {
            let own = examples.iter().find(|(known, _)| *known == path);
            let value = match (kind, own) {
                (0..=4, Some((_, own))) if !own.is_empty() => index.get(own).clone(),
                (5, _) => index.get(&all).clone(),
                (6, _) => Value::Null,
                _ => any,
            };
            // Something else may be on the way, which is as well.
            let _ = document.set(&KeyPath::parse(&path).unwrap(), value);
        }
        document.to_text()
    })
}

/// The document of this text.
pub(crate) fn parsed(text: &str) -> Document {
    Document::parse(text.as_bytes()).unwrap()
}

/// Every key of the table with the examples of the schema.
pub(crate) fn examples() -> Vec<(String, Vec<Value>)> {
    let schema: Value = serde_json::from_str(include_str!("../../../docs/config.schema.json")).unwrap();
    let of = |path: &str| {
        let pointer = format!("/properties/{}/examples", path.replace('.', "/properties/"));
        schema
            .pointer(&pointer)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    key::TABLE
        .iter()
        .map(|key| (key.path.to_owned(), of(key.path)))
        .collect()
}
