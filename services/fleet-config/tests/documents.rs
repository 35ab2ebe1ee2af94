//! Every document in `tests/data/config`, judged as a device would.
//!
//! A document in `good/` is accepted, key by key, as the `.rows` beside it says; one in `bad/` is refused as a whole
//! with the sentence in the `.problem` beside it. A new case is a new file; `UPDATE_GOLDEN=1` writes what is
//! expected of it, to be read before it is committed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

use fleet_config::{Checked, check};

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

#[test]
fn a_document_of_ten_megabytes_is_refused_without_a_look() {
    let checked = check(&vec![b'{'; 10 << 20]);
    assert_eq!(checked.problem.unwrap().to_string(), "it is larger than 1024 KiB");
}
