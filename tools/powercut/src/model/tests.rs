use super::*;

fn volume(kind: Kind) -> Volume {
    let names = BTreeMap::from([(PathBuf::from("config"), Node::File(0))]);
    Volume::new(kind, &names, &BTreeMap::from([(0, b"old".to_vec())]))
}

fn run(volume: &mut Volume, actions: &[Action]) {
    for action in actions {
        volume.begin(action);
        volume.end(action);
    }
}

/// What the file may hold; `None`: it is not there.
fn contents(volume: &Volume) -> BTreeSet<Option<Vec<u8>>> {
    let states = volume.states();
    states
        .iter()
        .map(|tree| tree.file("config").map(<[u8]>::to_vec))
        .collect()
}

fn set(contents: &[Option<&[u8]>]) -> BTreeSet<Option<Vec<u8>>> {
    contents.iter().map(|bytes| bytes.map(<[u8]>::to_vec)).collect()
}

fn replace() -> [Action; 3] {
    [
        Action::Create("new".into(), 1),
        Action::Write(1, 0, b"next".to_vec()),
        Action::Rename("new".into(), "config".into()),
    ]
}

#[test]
fn a_rename_without_a_sync_can_leave_an_empty_file() {
    let mut ext4 = volume(Kind::Ext4);
    run(&mut ext4, &replace());
    assert_eq!(contents(&ext4), set(&[Some(b"old"), Some(b""), Some(b"next")]));
}

#[test]
fn a_sync_before_the_rename_leaves_the_old_or_the_new() {
    let mut ext4 = volume(Kind::Ext4);
    let [create, write, rename] = replace();
    run(&mut ext4, &[create, write, Action::Sync(1), rename]);
    assert_eq!(contents(&ext4), set(&[Some(b"old"), Some(b"next")]));
    run(&mut ext4, &[Action::SyncFolder("".into())]);
    assert_eq!(contents(&ext4), set(&[Some(b"next")]));
}

#[test]
fn fat_can_lose_both_names_of_a_rename() {
    let [create, write, rename] = replace();
    let mut fat = volume(Kind::Fat { sync: false });
    run(
        &mut fat,
        &[
            create,
            write,
            Action::Sync(1),
            Action::SyncFolder("".into()),
            rename,
        ],
    );
    assert_eq!(contents(&fat), set(&[Some(b"old"), None, Some(b"next")]));
    assert!(fat.states().iter().any(|tree| tree.0.is_empty()), "neither name");
}

#[test]
fn fat_with_sync_keeps_the_order_of_names() {
    let [create, write, rename] = replace();
    let mut fat = volume(Kind::Fat { sync: true });
    run(&mut fat, &[create, write]);
    assert_eq!(fat.states().len(), 1, "flushed with the bytes");
    fat.begin(&rename);
    for moment in ["in the call", "not flushed yet"] {
        let left = |name| {
            fat.states()
                .iter()
                .filter(|tree| tree.file(name).is_some())
                .count()
        };
        assert_eq!(contents(&fat), set(&[Some(b"old"), Some(b"next")]), "{moment}");
        assert_eq!((fat.states().len(), left("new")), (3, 2), "{moment}");
        assert!(!fat.end(&rename));
    }
    fat.flushed();
    assert_eq!(contents(&fat), set(&[Some(b"next")]));
}

#[test]
fn a_write_is_torn_at_sectors() {
    let old = vec![b'o'; 1024];
    let names = BTreeMap::from([(PathBuf::from("config"), Node::File(0))]);
    let mut ext4 = Volume::new(Kind::Ext4, &names, &BTreeMap::from([(0, old.clone())]));
    let new = vec![b'n'; 1024];
    run(&mut ext4, &[Action::Write(0, 0, new.clone())]);
    let halves = [
        [&new[..512], &old[..512]].concat(),
        [&old[..512], &new[..512]].concat(),
    ];
    let wanted = set(&[Some(&old), Some(&new), Some(&halves[0]), Some(&halves[1])]);
    assert_eq!(contents(&ext4), wanted);
    run(&mut ext4, &[Action::SyncData(0)]);
    assert_eq!(contents(&ext4), set(&[Some(&new)]));
}
