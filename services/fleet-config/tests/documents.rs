//! Every document in `tests/data/config`, judged as a device would.
//!
//! A document in `good/` is accepted, key by key, as the `.rows` beside it says; one in `bad/` is refused as a whole
//! with the sentence in the `.problem` beside it. A new case is a new file; `UPDATE_GOLDEN=1` writes what is
//! expected of it, to be read before it is committed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use fleet_config::{Checked, check, key};
use serde_json::{Value, json};

fn documents(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/config")
        .join(kind);
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

fn compare(path: &Path, found: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, found).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(found, expected, "{}", path.display());
}

#[test]
fn good_documents_are_judged_key_by_key() {
    for path in documents("good") {
        let Checked { problem, rows } = check(&std::fs::read(&path).unwrap());
        assert_eq!(problem, None, "{}", path.display());
        let rows: String = rows
            .iter()
            .map(|row| {
                format!(
                    "{} | {} | {} | {}",
                    row.key,
                    row.state.as_str(),
                    row.value,
                    row.detail
                )
            })
            .map(|line| format!("{}\n", line.trim_end()))
            .collect();
        assert!(!rows.contains("secret-"), "{}: a secret is shown", path.display());
        compare(&path.with_extension("rows"), &rows);
    }
}

#[test]
fn bad_documents_are_refused_with_place_and_rule() {
    for path in documents("bad") {
        let checked = check(&std::fs::read(&path).unwrap());
        assert!(
            checked.rows.is_empty() && !checked.is_good(),
            "{}",
            path.display()
        );
        let problem = checked
            .problem
            .unwrap_or_else(|| panic!("{} is accepted", path.display()));
        compare(&path.with_extension("problem"), &format!("{problem}\n"));
    }
}

/// Values of every JSON type, in the forms that people and programs write.
fn values() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(0),
        json!(1),
        json!(-1),
        json!(1.5),
        json!(""),
        json!("true"),
        json!("1"),
        json!("text"),
        json!([]),
        json!(["text"]),
        json!([1]),
        json!({}),
        json!({ "a": "text" }),
        json!({ "a": 1 }),
    ]
}

/// The document with only this key.
fn alone(path: &str, value: Value) -> Value {
    path.rsplit('.').fold(value, |inner, step| json!({ step: inner }))
}

/// Every key, and every object around keys, with every value: no type costs more than its key, and the whole table is
/// there to be read in `tests/data/config/types.txt`.
#[test]
fn every_key_with_every_type() {
    let mut paths = BTreeSet::new();
    for key in key::TABLE {
        let mut path = key.path;
        paths.insert(path);
        while let Some((above, _)) = path.rsplit_once('.') {
            paths.insert(above);
            path = above;
        }
    }
    let mut found = String::new();
    for path in paths {
        writeln!(found, "{path}").unwrap();
        let mut outcomes: Vec<(String, Vec<String>)> = Vec::new();
        for value in values() {
            let mut document = alone(path, value.clone());
            document["mine"] = json!(1);
            let Checked { problem, rows } = check(document.to_string().as_bytes());
            assert_eq!(problem, None, "{document}");
            let (mine, rows) = rows.split_last().unwrap();
            assert_eq!(mine.key, "mine", "{document}");
            let rows: Vec<String> = rows
                .iter()
                .map(|row| {
                    let below = row.key.strip_prefix(path).unwrap_or(&row.key);
                    format!("{below} {} {}", row.state.as_str(), row.detail)
                        .trim()
                        .to_owned()
                })
                .collect();
            let outcome = if rows.is_empty() {
                "not set".to_owned()
            } else {
                rows.join(" | ")
            };
            match outcomes.iter_mut().find(|(known, _)| *known == outcome) {
                Some((_, values)) => values.push(value.to_string()),
                None => outcomes.push((outcome, vec![value.to_string()])),
            }
        }
        for (outcome, values) in outcomes {
            writeln!(found, "  {outcome}: {}", values.join(" ")).unwrap();
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/config/types.txt");
    compare(&path, &found);
}

#[test]
fn many_unknown_names_cost_no_minutes() {
    let names = |count: usize, long: usize| -> Vec<u8> {
        let entries: Vec<String> = (0..count)
            .map(|at| format!("\"{}{at}\":1", "k".repeat(long)))
            .collect();
        format!("{{{}}}", entries.join(",")).into_bytes()
    };
    assert_eq!(check(&names(40_000, 12)).rows.len(), 40_000);
    assert_eq!(check(&names(10, 100_000)).rows.len(), 10);
}

#[test]
fn a_document_of_ten_megabytes_is_refused_without_a_look() {
    let checked = check(&vec![b'{'; 10 << 20]);
    assert_eq!(checked.problem.unwrap().to_string(), "it is larger than 1024 KiB");
}
