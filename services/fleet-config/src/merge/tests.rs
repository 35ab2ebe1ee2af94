//! Tables for what people read, properties for what must hold of all documents.

use proptest::prelude::*;

use super::*;

fn document(text: &str) -> Document {
    Document::parse(text.as_bytes()).unwrap()
}

fn compact(document: &Document) -> String {
    Value::Object(document.entries().clone()).to_string()
}

#[test]
fn keys_merge_one_by_one() {
    // base, ours, theirs, merged
    let cases = [
        (r#"{"a":1}"#, r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":2}"#),
        (r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":1,"b":1}"#, r#"{"a":2,"b":1}"#),
        (r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":3}"#, r#"{"a":3}"#),
        (r#"{"a":1,"b":1}"#, r#"{"b":1}"#, r#"{"a":1,"b":2}"#, r#"{"b":2}"#),
        (
            r#"{"a":1,"b":1}"#,
            r#"{"a":1,"b":1,"c":1}"#,
            r#"{"b":1}"#,
            r#"{"b":1,"c":1}"#,
        ),
        (r#"{"a":1}"#, r#"{"a":2}"#, r#"{}"#, r#"{}"#),
        (
            r#"{"o":{"x":1}}"#,
            r#"{"o":{"x":1,"y":1}}"#,
            r#"{"o":{"x":2}}"#,
            r#"{"o":{"x":2,"y":1}}"#,
        ),
        (
            r#"{}"#,
            r#"{"o":{"y":1}}"#,
            r#"{"o":{"x":1}}"#,
            r#"{"o":{"x":1,"y":1}}"#,
        ),
        (r#"{"o":{"x":1}}"#, r#"{"o":{"x":2}}"#, r#"{"o":7}"#, r#"{"o":7}"#),
        (
            r#"{"l":[1]}"#,
            r#"{"l":[1,2]}"#,
            r#"{"l":[0,1]}"#,
            r#"{"l":[0,1]}"#,
        ),
        (
            r#"{"b":1,"a":1}"#,
            r#"{"b":1,"a":2}"#,
            r#"{"a":1,"b":2}"#,
            r#"{"a":2,"b":2}"#,
        ),
    ];
    for (base, ours, theirs, merged) in cases {
        let found = merge(&document(base), &document(ours), &document(theirs));
        assert_eq!(compact(&found), merged, "{base} {ours} {theirs}");
    }
}

#[test]
fn names_what_differs() {
    let before = document(r#"{"a":1,"os":{"network":{"uri":"x","n":1}},"l":[1]}"#);
    let after = document(r#"{"os":{"network":{"uri":"y","n":1},"fan":{"p":1,"q":{}}},"l":[1,2]}"#);
    let found = changes(&before, &after);
    assert_eq!(
        names(&found),
        ["a", "os.network.uri", "os.fan.p", "os.fan.q", "l"]
    );
    assert_eq!(distance(&before, &after), 5);
}

/// Objects of few names, so that they meet.
fn any_document() -> impl Strategy<Value = Map<String, Value>> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..3).prop_map(Value::from),
        proptest::collection::vec(0..2, 0..2).prop_map(Value::from),
    ];
    let object = |inner: BoxedStrategy<Value>| {
        proptest::collection::vec(("[abc.]", inner), 0..4)
            .prop_map(|entries| entries.into_iter().collect::<Map<_, _>>())
    };
    let value = leaf.prop_recursive(3, 24, 4, move |inner| {
        object(inner.boxed()).prop_map(Value::Object)
    });
    object(value.boxed())
}

proptest! {
    #[test]
    fn what_one_side_did_not_touch_is_the_others(base in any_document(), side in any_document()) {
        let (base, side) = (Document::from(base), Document::from(side));
        prop_assert!(merge(&base, &base, &side) == side);
        prop_assert!(merge(&base, &side, &base) == side);
        prop_assert!(merge(&base, &side, &side) == side);
    }

    #[test]
    fn theirs_is_all_there(base in any_document(), ours in any_document(), theirs in any_document()) {
        let [base, ours, theirs] = [base, ours, theirs].map(Document::from);
        let merged = merge(&base, &ours, &theirs);
        for change in changes(&base, &theirs) {
            match &change.after {
                Some(Value::Object(_)) => {}
                other => prop_assert!(merged.get(&change.path) == other.as_ref()),
            }
        }
    }

    #[test]
    fn changes_lead_there_and_back(before in any_document(), after in any_document()) {
        let [before, after] = [before, after].map(Document::from);
        let found = changes(&before, &after);
        let mut there = before.clone();
        apply(&mut there, &found, false);
        prop_assert!(there == after);
        apply(&mut there, &found, true);
        prop_assert!(there == before);
        prop_assert_eq!(distance(&before, &after) == 0, before == after);
    }
}
