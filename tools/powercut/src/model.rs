//! What a file system may hold after a power cut.
//!
//! An operation becomes *effects*: a name appears or goes, bytes lie at an offset of a file, a file has a size. An effect
//! is *pending* from the call on, until a sync or the mount option `sync` makes it durable. After a cut every durable
//! effect is there, and of the pending ones any selection that the file system allows:
//!
//! - **ext4** ([`Kind::Ext4`]) with a journal and `data=ordered`, its default (ext4(5), Documentation/filesystems/ext4):
//!   names and sizes go through the journal, so they come back up to some point in their order. Bytes written into blocks
//!   that a file had are in no order with anything. Bytes of new blocks are on the disk before the size that shows them
//!   is; with delayed allocation the size may come long after a later rename, which then leaves an empty file
//!   (Documentation/admin-guide/ext4 says of `auto_da_alloc` that some such renames are guarded; we do not count on it).
//!   fsync(2) and fdatasync(2) of a file write its bytes, and commit the journal if the file has a name or size in it
//!   that is not committed (`ext4_sync_file`, `i_sync_tid` and `i_datasync_tid`); fsync(2) of a folder commits it.
//!   A commit is up to that moment for all names, for the size of other files as far as their bytes are there.
//! - **FAT** ([`Kind::Fat`]) has no journal: any selection of names, sizes and bytes, in any order, so that a rename can
//!   leave both names or none.
//! - **FAT, mounted with `sync`** (mount(8)) hands every change to the disk before the call returns: names one after the
//!   other, at a rename the new one first (`vfat_rename` in fs/fat/namei_vfat.c), bytes and sizes with a flush of the disk's
//!   cache after them (`fat_file_fsync`). There is no flush after a change of names alone, so these stay pending, in their
//!   order, until the next flush of the same disk, be it the other file system's.
//!
//! Bytes are written in sectors of 512, each whole or not at all; of a longer write any of its sectors may be missing
//! ([`Tear`] has the selections that are tried).
//!
//! Not in the model: sectors that a cut destroys, controllers that lose what they said was durable, and a damaged FAT
//! itself (two names that share a cluster); the test at the level of blocks has the last one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::recording::{Action, FileId, Node, move_names};
use crate::tree::{Entry, Tree};

/// The smallest unit that is written whole.
const SECTOR: usize = 512;
/// Up to this many pending effects, all selections of them are tried.
const ALL_SELECTIONS: usize = 6;

/// A kind of file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// With a journal, `data=ordered`.
    Ext4,
    /// Without a journal.
    Fat {
        /// Mounted with the option `sync`.
        sync: bool,
    },
}

/// What an operation does, in the smallest parts.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Effect {
    Name(PathBuf, Node),
    NoName(PathBuf),
    Move(PathBuf, PathBuf),
    Bytes(FileId, usize, Vec<u8>),
    Size(FileId, usize),
}

impl Effect {
    const fn is_bytes(&self) -> bool {
        matches!(self, Self::Bytes(..))
    }
}

/// Which sectors of a write are there.
#[derive(Clone, Copy, Debug)]
enum Tear {
    Whole,
    /// The first half.
    First,
    /// The second half.
    Last,
    /// Every second one.
    Alternate,
}

impl Tear {
    const TORN: [Self; 3] = [Self::First, Self::Last, Self::Alternate];

    const fn has(self, sector: usize, count: usize) -> bool {
        match self {
            Self::Whole => true,
            Self::First => sector < count / 2,
            Self::Last => sector >= count / 2,
            Self::Alternate => sector.is_multiple_of(2),
        }
    }
}

/// A file: its bytes as far as they were written, and how many of them show.
#[derive(Clone, Debug, Default)]
struct File {
    bytes: Vec<u8>,
    size: usize,
}

/// The durable state of a file system, and what is pending.
#[derive(Clone, Debug)]
pub struct Volume {
    kind: Kind,
    names: BTreeMap<PathBuf, Node>,
    files: BTreeMap<FileId, File>,
    pending: Vec<Effect>,
    /// The sizes as the running system sees them.
    sizes: BTreeMap<FileId, usize>,
    /// The names as the running system sees them.
    live: BTreeMap<PathBuf, Node>,
}

impl Volume {
    /// A file system on which everything is durable.
    #[must_use]
    pub fn new(kind: Kind, names: &BTreeMap<PathBuf, Node>, content: &BTreeMap<FileId, Vec<u8>>) -> Self {
        let files = content.iter().map(|(file, bytes)| {
            let (bytes, size) = (bytes.clone(), bytes.len());
            (*file, File { bytes, size })
        });
        Self {
            kind,
            names: names.clone(),
            files: files.collect(),
            pending: Vec::new(),
            sizes: content.iter().map(|(file, bytes)| (*file, bytes.len())).collect(),
            live: names.clone(),
        }
    }

    /// A call was made, and has not returned yet.
    pub fn begin(&mut self, action: &Action) {
        let effects = self.effects(action);
        for effect in &effects {
            match effect {
                Effect::Name(path, node) => drop(self.live.insert(path.clone(), *node)),
                Effect::NoName(path) => drop(self.live.remove(path)),
                Effect::Move(from, to) => move_names(&mut self.live, from, to),
                Effect::Size(file, size) => drop(self.sizes.insert(*file, *size)),
                Effect::Bytes(..) => {}
            }
        }
        self.pending.extend(effects);
    }

    /// The call has returned. Returns whether it flushed the cache of the disk.
    pub fn end(&mut self, action: &Action) -> bool {
        if self.kind == (Kind::Fat { sync: true }) {
            let flushes = action.is_sync() || matches!(action, Action::Write(..) | Action::Resize(..));
            if flushes {
                self.flushed();
            }
            return flushes;
        }
        let journal = self.kind == Kind::Ext4;
        match action {
            Action::SyncAll => self.settle(|_| true),
            Action::SyncFolder(_) if journal => self.commit(None),
            Action::SyncFolder(folder) => self.settle(|effect| match effect {
                Effect::Name(path, _) | Effect::NoName(path) => path.parent() == Some(folder),
                Effect::Move(from, to) => from.parent() == Some(folder) && to.parent() == Some(folder),
                _ => false,
            }),
            Action::Sync(file) | Action::SyncData(file) => {
                if journal && self.is_in_journal(*file) {
                    self.commit(Some(*file));
                } else {
                    self.settle(|effect| file_of(effect) == Some(*file));
                }
            }
            _ => {}
        }
        action.is_sync()
    }

    /// The cache of the disk was flushed, here or by another file system on it: what this one had handed over is durable.
    pub fn flushed(&mut self) {
        if self.kind == (Kind::Fat { sync: true }) {
            self.settle(|_| true);
        }
    }

    /// Whether a name or the size of this file is not committed.
    fn is_in_journal(&self, file: FileId) -> bool {
        self.pending.iter().any(|effect| match effect {
            Effect::Size(sized, _) => *sized == file,
            Effect::Name(_, node) => *node == Node::File(file),
            _ => false,
        })
    }

    /// Whether bytes of this file are pending.
    fn is_unwritten(&self, file: FileId) -> bool {
        let mut pending = self.pending.iter();
        pending.any(|effect| matches!(effect, Effect::Bytes(written, ..) if *written == file))
    }

    /// The journal is committed, and with it the bytes of one file.
    fn commit(&mut self, file: Option<FileId>) {
        let unwritten: BTreeSet<FileId> = self
            .pending
            .iter()
            .filter_map(|effect| match effect {
                Effect::Bytes(written, ..) if Some(*written) != file => Some(*written),
                _ => None,
            })
            .collect();
        self.settle(|effect| match effect {
            Effect::Bytes(written, ..) => Some(*written) == file,
            Effect::Size(sized, _) => !unwritten.contains(sized),
            _ => true,
        });
    }

    /// Pending effects become durable.
    fn settle(&mut self, is_durable: impl Fn(&Effect) -> bool) {
        for effect in std::mem::take(&mut self.pending) {
            if is_durable(&effect) {
                apply(&mut self.names, &mut self.files, &effect, Tear::Whole);
            } else {
                self.pending.push(effect);
            }
        }
    }

    fn effects(&self, action: &Action) -> Vec<Effect> {
        let size = |file: &FileId| self.sizes.get(file).copied().unwrap_or_default();
        match action {
            Action::Create(path, file) => vec![
                Effect::Size(*file, 0),
                Effect::Name(path.clone(), Node::File(*file)),
            ],
            Action::Write(file, offset, bytes) => {
                let end = offset + bytes.len();
                let mut effects = vec![Effect::Bytes(*file, *offset, bytes.clone())];
                if end > size(file) {
                    effects.push(Effect::Size(*file, end));
                }
                effects
            }
            Action::Resize(file, size) => vec![Effect::Size(*file, *size)],
            Action::Rename(from, to) => match self.live.get(from) {
                // On FAT the two entries are written one after the other; the one that there is is written over.
                Some(node @ Node::File(_)) if self.kind == (Kind::Fat { sync: true }) => {
                    vec![Effect::Name(to.clone(), *node), Effect::NoName(from.clone())]
                }
                Some(node @ Node::File(_)) if self.kind != Kind::Ext4 => vec![
                    Effect::NoName(to.clone()),
                    Effect::Name(to.clone(), *node),
                    Effect::NoName(from.clone()),
                ],
                _ => vec![Effect::Move(from.clone(), to.clone())],
            },
            Action::Link(from, to) => match self.live.get(from) {
                Some(node) => vec![Effect::Name(to.clone(), *node)],
                None => Vec::new(),
            },
            Action::Remove(path) => vec![Effect::NoName(path.clone())],
            Action::MakeFolder(path) => vec![Effect::Name(path.clone(), Node::Folder)],
            Action::Sync(_) | Action::SyncData(_) | Action::SyncFolder(_) | Action::SyncAll => Vec::new(),
        }
    }

    /// Every state that is tried for a cut at this moment, each once.
    #[must_use]
    pub fn states(&self) -> BTreeSet<Tree> {
        match self.kind {
            Kind::Ext4 => self.journalled(),
            Kind::Fat { sync: true } => {
                let names: Vec<usize> = (0..self.pending.len())
                    .filter(|at| file_of(&self.pending[*at]).is_none())
                    .collect();
                let data: Vec<usize> = (0..self.pending.len())
                    .filter(|at| file_of(&self.pending[*at]).is_some())
                    .collect();
                let mut states = BTreeSet::new();
                for handed_over in 0..=names.len() {
                    for mut selection in selections(&data) {
                        selection.extend(&names[..handed_over]);
                        states.extend(self.torn(&selection));
                    }
                }
                states
            }
            Kind::Fat { sync: false } => {
                let all: Vec<usize> = (0..self.pending.len()).collect();
                selections(&all)
                    .iter()
                    .flat_map(|selection| self.torn(selection))
                    .collect()
            }
        }
    }

    /// The journal up to each point, with all, none, or a part of the bytes.
    fn journalled(&self) -> BTreeSet<Tree> {
        let all = 0..self.pending.len();
        let journalled: Vec<usize> = all.filter(|at| !self.pending[*at].is_bytes()).collect();
        let mut states = BTreeSet::new();
        for committed in 0..=journalled.len() {
            for (torn, tear, others) in self.tears() {
                // With delayed allocation a size waits for its bytes, and may come with the first of them.
                for size in [None, Some(Tear::First), Some(Tear::Whole)] {
                    states.insert(self.state(|at| match &self.pending[at] {
                        Effect::Bytes(..) if Some(at) == torn => Some(tear),
                        Effect::Bytes(..) => others.then_some(Tear::Whole),
                        _ if !journalled[..committed].contains(&at) => None,
                        Effect::Size(file, _) if self.is_unwritten(*file) => {
                            let is_whole =
                                others && torn.is_none_or(|at| file_of(&self.pending[at]) != Some(*file));
                            size.filter(|_| is_whole)
                        }
                        _ => Some(Tear::Whole),
                    }));
                }
            }
        }
        states
    }

    /// The states with these effects, their bytes whole or torn.
    fn torn(&self, selection: &[usize]) -> Vec<Tree> {
        let tears = self
            .tears()
            .into_iter()
            .filter(|(torn, ..)| torn.is_none_or(|at| selection.contains(&at)));
        tears
            .map(|(torn, tear, _)| {
                self.state(|at| {
                    selection
                        .contains(&at)
                        .then_some(if Some(at) == torn { tear } else { Tear::Whole })
                })
            })
            .collect()
    }

    /// Which write is torn and how, and whether the others are there.
    fn tears(&self) -> Vec<(Option<usize>, Tear, bool)> {
        let mut tears = vec![(None, Tear::Whole, true), (None, Tear::Whole, false)];
        for (at, effect) in self.pending.iter().enumerate() {
            if let Effect::Bytes(_, offset, bytes) = effect
                && offset / SECTOR != (offset + bytes.len().max(1) - 1) / SECTOR
            {
                for tear in Tear::TORN {
                    tears.extend([(Some(at), tear, true), (Some(at), tear, false)]);
                }
            }
        }
        tears
    }

    /// The state with these of the pending effects.
    fn state(&self, selected: impl Fn(usize) -> Option<Tear>) -> Tree {
        let (mut names, mut files) = (self.names.clone(), self.files.clone());
        for (at, effect) in self.pending.iter().enumerate() {
            if let Some(tear) = selected(at) {
                apply(&mut names, &mut files, effect, tear);
            }
        }
        let show = |(path, node): (PathBuf, Node)| {
            let entry = match node {
                Node::Folder => Entry::Folder,
                Node::File(file) => {
                    let file = files.get(&file).cloned().unwrap_or_default();
                    let mut bytes = file.bytes;
                    bytes.resize(file.size, 0);
                    Entry::File(bytes)
                }
            };
            (path, entry)
        };
        Tree(names.into_iter().map(show).collect())
    }
}

/// All selections of these; of many only those up to each, from each on, and without each.
fn selections(of: &[usize]) -> Vec<Vec<usize>> {
    if of.len() <= ALL_SELECTIONS {
        let picked = |bits: usize| {
            (0..of.len())
                .filter(move |at| bits >> at & 1 == 1)
                .map(|at| of[at])
        };
        return (0..1 << of.len()).map(|bits| picked(bits).collect()).collect();
    }
    let without = |gone: usize| of.iter().copied().filter(move |at| *at != of[gone]).collect();
    let parts = (0..of.len()).flat_map(|at| [of[..at].to_vec(), of[at..].to_vec(), without(at)]);
    parts.collect()
}

/// The file whose bytes or size an effect is about; none for a name.
fn file_of(effect: &Effect) -> Option<FileId> {
    match effect {
        Effect::Bytes(file, ..) | Effect::Size(file, _) => Some(*file),
        _ => None,
    }
}

fn apply(
    names: &mut BTreeMap<PathBuf, Node>,
    files: &mut BTreeMap<FileId, File>,
    effect: &Effect,
    tear: Tear,
) {
    match effect {
        Effect::Name(path, node) => drop(names.insert(path.clone(), *node)),
        Effect::NoName(path) => drop(names.remove(path)),
        Effect::Move(from, to) => move_names(names, from, to),
        Effect::Size(file, size) => {
            let file = files.entry(*file).or_default();
            if *size < file.size {
                file.bytes.truncate(*size);
            }
            file.size = match tear {
                Tear::Whole => *size,
                _ => file.size.max(size / 2 / SECTOR * SECTOR),
            };
        }
        Effect::Bytes(file, offset, bytes) => {
            let file = files.entry(*file).or_default();
            let end = offset + bytes.len();
            if file.bytes.len() < end {
                file.bytes.resize(end, 0);
            }
            let first = offset / SECTOR;
            let count = end.div_ceil(SECTOR) - first;
            for sector in (0..count).filter(|sector| tear.has(*sector, count)) {
                let from = ((first + sector) * SECTOR).max(*offset);
                let to = ((first + sector + 1) * SECTOR).min(end);
                file.bytes[from..to].copy_from_slice(&bytes[from - offset..to - offset]);
            }
        }
    }
}

#[cfg(test)]
mod tests;
