//! What holds for any bytes in place of a `config.json`: the functions of the fuzz targets, with the committed corpora,
//! with this crate's own documents, and with slips in these. What fuzzing found once is so tried on every change, with
//! the stable compiler.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;

use proptest::prelude::*;
use proptest::sample::{Index, select};

#[allow(unreachable_pub, reason = "the fuzz targets' crate has it as its library")]
#[path = "../../../fuzz/src/lib.rs"]
mod invariants;

/// Name and content of each file.
fn files(folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(paths.len() > 5, "{}", folder.display());
    let file = |path: &std::path::PathBuf| (path.display().to_string(), std::fs::read(path).unwrap());
    paths.iter().map(file).collect()
}

fn documents() -> Vec<(String, Vec<u8>)> {
    let mut documents = files("tests/data/config/good");
    documents.extend(files("tests/data/config/bad"));
    documents
}

fn each(files: &[(String, Vec<u8>)], judge: fn(&[u8])) {
    for (name, bytes) in files {
        // What cargo test shows of a failed case.
        println!("{name}");
        judge(bytes);
    }
}

#[test]
fn document() {
    each(&files("../../fuzz/corpus/document"), invariants::document);
    each(&documents(), invariants::document);
}

#[test]
fn check() {
    each(&files("../../fuzz/corpus/check"), invariants::check);
    each(&documents(), invariants::check);
}

#[test]
fn openvpn() {
    each(&files("../../fuzz/corpus/openvpn"), invariants::openvpn);
}

/// A document with a few bytes changed, as a slip or a damaged medium changes them.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), select(&b"{}[]:,\"\\ \n\x000-1.eEtnf/#"[..])];
    let edits = proptest::collection::vec((any::<Index>(), 0..4_u8, byte), 0..4);
    (select(documents()), edits).prop_map(|((_, mut bytes), edits)| {
        for (at, kind, byte) in edits {
            let at = at.index(bytes.len() + 1);
            match kind {
                0 => bytes.insert(at, byte),
                1 if at < bytes.len() => drop(bytes.remove(at)),
                2 if at < bytes.len() => bytes[at] = byte,
                _ => bytes.truncate(at),
            }
        }
        bytes
    })
}

proptest! {
    #[test]
    fn documents_with_slips(bytes in nearly()) {
        invariants::document(&bytes);
        invariants::check(&bytes);
    }
}
