//! Two generations in a temporary folder.

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path().to_owned());
    (folder, store)
}

fn state(revision: u64) -> Stored {
    let text = format!(r#"{{"hostname":"host-{revision}"}}"#);
    Stored {
        revision,
        document: Some(Document::parse(text.as_bytes()).unwrap()),
        ..Stored::default()
    }
}

fn path(store: &Store, slot: usize) -> PathBuf {
    store.folder().join(Store::GENERATIONS[slot])
}

/// The revision, and that document and revision are of the same generation.
fn revision(store: &Store) -> Option<u64> {
    let stored = store.load().ok()??;
    let hostname = stored
        .document
        .as_ref()?
        .setting("hostname")?
        .as_str()?
        .to_owned();
    assert_eq!(hostname, format!("host-{}", stored.revision));
    Some(stored.revision)
}

#[test]
fn writes_the_older_one_in_place_and_only_when_something_changed() {
    let (_folder, store) = store();
    assert!(store.load().unwrap().is_none());
    for number in 1..=5 {
        store.save(&state(number)).unwrap();
        assert_eq!(revision(&store), Some(number));
    }
    let bytes = || [0, 1].map(|slot| std::fs::read(path(&store, slot)).unwrap());
    let before = bytes();
    assert_eq!(before.each_ref().map(Vec::len), [Store::SIZE; 2]);
    store.save(&state(5)).unwrap();
    assert!(bytes() == before);
    for slot in [0, 1] {
        let mode = std::fs::metadata(path(&store, slot))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, Store::MODE);
    }
}

#[test]
fn every_truncation_and_every_damaged_byte_of_one_yields_the_other() {
    for (saves, damaged) in [(4, 1), (5, 0)] {
        let (_folder, store) = store();
        for number in 1..=saves {
            store.save(&state(number)).unwrap();
        }
        let newest = path(&store, damaged);
        let whole = std::fs::read(&newest).unwrap();
        let used = generation::used(&whole) - 1;
        for length in 0..used {
            std::fs::write(&newest, &whole[..length]).unwrap();
            assert_eq!(revision(&store), Some(saves - 1), "cut at {length}");
        }
        for at in 0..used {
            let mut bytes = whole.clone();
            bytes[at] = !bytes[at];
            std::fs::write(&newest, &bytes).unwrap();
            assert_eq!(revision(&store), Some(saves - 1), "byte {at}");
        }
        // The older one does not hide the newer.
        std::fs::write(&newest, &whole).unwrap();
        for length in [0, 10, 100] {
            std::fs::write(path(&store, 1 - damaged), &whole[..length]).unwrap();
            assert_eq!(revision(&store), Some(saves));
        }
    }
}

#[test]
fn a_write_over_a_torn_one_leaves_the_whole_one_alone() {
    let (_folder, store) = store();
    for number in 1..=3 {
        store.save(&state(number)).unwrap();
    }
    let torn = path(&store, 0);
    let whole = std::fs::read(path(&store, 1)).unwrap();
    std::fs::write(&torn, b"fleet-config 1 1 9 9 ").unwrap();
    assert_eq!(revision(&store), Some(2));
    assert_eq!(store.highest_revision(), 3, "its number is not given again");
    store.save(&state(4)).unwrap();
    assert_eq!(revision(&store), Some(4));
    assert!(std::fs::read(path(&store, 1)).unwrap() == whole);
}

#[test]
fn what_needs_a_newer_reader_gives_way_to_the_other() {
    let (_folder, store) = store();
    store.save(&state(1)).unwrap();
    let newer = generation::encode_for_newer(7, 9, b"not even JSON");
    std::fs::write(path(&store, 1), newer).unwrap();
    assert_eq!(revision(&store), Some(1));
    assert_eq!(store.highest_revision(), 9);
    store.save(&state(10)).unwrap();
    assert_eq!(
        revision(&store),
        Some(10),
        "it is newer than the one that cannot be read"
    );
    std::fs::remove_file(path(&store, 1)).unwrap();
    assert_eq!(revision(&store), Some(1), "the readable one was not written over");
}

#[test]
fn fields_of_a_newer_release_stay() {
    let (_folder, store) = store();
    let body = br#"{"later":[1],"revision":1,"document":"{\"hostname\":\"host-1\"}","boot":{"hash":"x","colour":"red"}}"#;
    store.save(&state(0)).unwrap();
    std::fs::write(path(&store, 1), generation::encode(5, 1, body, 0)).unwrap();
    let mut stored = store.load().unwrap().unwrap();
    stored.revision = 2;
    store.save(&stored).unwrap();
    let json = store.load().unwrap().unwrap().to_json();
    assert!(
        json.contains(r#""later":[1]"#) && json.contains(r#""colour":"red""#),
        "{json}"
    );
}

#[test]
fn as_deep_as_the_reader_goes() {
    let (_folder, store) = store();
    let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(126), "]".repeat(126));
    let mut stored = state(1);
    let before = Document::parse(deep.as_bytes()).unwrap();
    let after = state(2).document.unwrap();
    stored
        .history
        .push(Entry::new((1, Some(&before)), (2, &after), ("root", "set"), 0));
    stored.document = Some(after.clone());
    store.save(&stored).unwrap();
    let stored = store.load().unwrap().unwrap();
    assert!(stored.history.at(1, (2, &after)).unwrap() == before);
}

#[test]
fn nothing_whole_is_not_the_same_as_nothing() {
    let (_folder, store) = store();
    std::fs::write(path(&store, 0), "x").unwrap();
    assert!(matches!(store.load(), Err(Error::Damaged(_))));
    std::fs::create_dir(path(&store, 1)).unwrap();
    assert!(matches!(store.load(), Err(Error::Damaged(_))));
    assert!(
        matches!(store.save(&state(1)), Ok(())),
        "the other one can be written"
    );
    assert_eq!(revision(&store), Some(1));
}

#[test]
fn the_layout_before_generations_is_read_until_there_are_two() {
    let (folder, store) = store();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("config.json", r#"{"hostname":"host-1"}"#);
    write("boot.json", r#"{"hostname":"host-1", "ntpServers":7}"#);
    assert_eq!(revision(&store), Some(1));
    store.save(&store.load().unwrap().unwrap()).unwrap();
    assert!(
        folder.path().join("config.json").exists(),
        "the second copy, still"
    );
    // Torn at the first write: the old layout counts.
    std::fs::write(path(&store, 0), "fleet-config 1").unwrap();
    assert_eq!(revision(&store), Some(1));
    for number in 2..=3 {
        store.save(&state(number)).unwrap();
    }
    assert!(!folder.path().join("config.json").exists() && !folder.path().join("boot.json").exists());
    assert_eq!(revision(&store), Some(3));
}

proptest! {
    /// Two writers' bytes in one file, cut anywhere: the other generation, or one of the two whole.
    #[test]
    fn a_torn_write_is_never_a_third_state(pages in proptest::collection::vec(any::<bool>(), 4), cut in 0usize..16384) {
        let (_folder, store) = store();
        for number in 1..=3 {
            store.save(&state(number)).unwrap();
        }
        let old = std::fs::read(path(&store, 1)).unwrap();
        store.save(&state(4)).unwrap();
        let new = std::fs::read(path(&store, 1)).unwrap();
        let mut mixed = old.clone();
        for (page, is_new) in pages.iter().enumerate() {
            if *is_new {
                mixed[page * 4096..][..4096].copy_from_slice(&new[page * 4096..][..4096]);
            }
        }
        mixed[..cut.min(200)].copy_from_slice(&new[..cut.min(200)]);
        std::fs::write(path(&store, 1), mixed).unwrap();
        let found = revision(&store);
        prop_assert!(found == Some(3) || found == Some(4), "{found:?}");
    }
}
