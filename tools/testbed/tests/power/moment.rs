//! A moment of the recording: what is on the disk then, and what the device makes of it.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use powercut::configuration::{document, load};
use powercut::disk::{FatFile, Image, check_fat, dump_ext4, read_fat, repair_ext4};
use powercut::write_log::Entry;

use crate::changes::{MARK, Recorded};

/// Where the configuration is on the state partition.
const STORE: &str = "config";
/// So many selections of the writes between two flushes are tried, each.
const SHUFFLES: u64 = 3;

/// What the boot partition's copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boot {
    /// A document.
    Document,
    /// Something else, or nothing.
    Broken,
}

/// What was found at a moment.
pub struct Found {
    /// The last request that had reached the disk.
    pub at: usize,
    /// No change was under way.
    pub is_settled: bool,
    /// The stored document.
    pub document: String,
    /// The boot partition's copy.
    pub boot: Boot,
    /// It says the same as the store.
    pub agrees: bool,
    /// What fsck.fat finds.
    pub fat_damage: Vec<String>,
}

/// What was counted.
#[derive(Default)]
pub struct Count {
    /// Moments that were looked at.
    pub moments: usize,
    /// Those at the end of a flush or a forced write.
    boundaries: usize,
    /// Moments at which some of the writes since the last flush are missing.
    shuffled: usize,
    /// e2fsck had to do more than replay the journal.
    repaired: usize,
    /// `config.json` on the boot partition was no document, or absent.
    broken: usize,
    /// fsck.fat found something.
    fat_damaged: usize,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} moments ({} flushes, {} with writes missing since the last flush): the store always whole; e2fsck \
             repaired {}; config.json on the boot partition was broken or absent {} times, its FAT damaged {} times",
            self.moments, self.boundaries, self.shuffled, self.repaired, self.broken, self.fat_damaged
        )
    }
}

/// The recording, played to one moment after the other.
pub struct Replay<'a> {
    recorded: &'a Recorded,
    state: Image,
    boot: Image,
    /// The state partition as it was at the last flush.
    flushed: Image,
    scratch: PathBuf,
    pub count: Count,
    /// The last change that was acknowledged, counted from 1, and the last that was begun.
    acknowledged: usize,
    begun: usize,
    seed: u64,
}

impl<'a> Replay<'a> {
    pub fn new(recorded: &'a Recorded, folder: &Path) -> Result<Self> {
        let part = |(start, size), name| Image::of(&recorded.first, start, size, &folder.join(name));
        Ok(Self {
            state: part(recorded.state, "state.img")?,
            boot: part(recorded.boot, "boot.img")?,
            flushed: part(recorded.state, "flushed.img")?,
            scratch: folder.to_owned(),
            recorded,
            count: Count::default(),
            acknowledged: 0,
            begun: 0,
            seed: 1,
        })
    }

    /// Looks at every moment between the first mark and the last at which something was written to one of the two
    /// partitions or flushed.
    pub fn run(&mut self) -> Result<Vec<Found>> {
        let entries = &self.recorded.log.entries;
        let marks = self.marks()?;
        let mut found = Vec::new();
        let mut since_flush: Vec<&Entry> = Vec::new();
        let last = marks.last().map_or(0, |mark| mark.0);
        for (at, entry) in entries[..=last].iter().enumerate() {
            let mark = marks.iter().find(|mark| mark.0 == at);
            if let Some((_, begin, number)) = mark {
                if *begin {
                    self.begun = number + 1;
                } else {
                    self.acknowledged = number + 1;
                }
            }
            let log = &self.recorded.log;
            self.state.apply(log, entry)?;
            self.boot.apply(log, entry)?;
            if entry.is_flush {
                for write in since_flush.drain(..) {
                    self.flushed.apply(log, write)?;
                }
            }
            if self.state.is_touched(entry) {
                since_flush.push(entry);
            }
            let is_of_interest = mark.is_some()
                || entry.is_boundary()
                || self.state.is_touched(entry)
                || self.boot.is_touched(entry);
            if self.begun == 0 || !is_of_interest {
                continue;
            }
            self.count.boundaries += usize::from(entry.is_boundary());
            found.push(
                self.look(at)
                    .with_context(|| format!("after request {at} of the recording"))?,
            );
            if since_flush.len() > 1 && self.state.is_touched(entry) {
                self.shuffle(&since_flush)
                    .with_context(|| format!("with writes missing before request {at} of the recording"))?;
            }
        }
        Ok(found)
    }

    /// The marks: request, whether it is a beginning, number of the change.
    fn marks(&self) -> Result<Vec<(usize, bool, usize)>> {
        let log = &self.recorded.log;
        let mut marks = Vec::new();
        for (at, entry) in log.entries.iter().enumerate() {
            if entry.offset == MARK && entry.length == 512 {
                let text = String::from_utf8(log.data(entry)?)?;
                let line = text.lines().next().unwrap_or_default();
                let (what, number) = line.split_once(' ').context("a mark that is none")?;
                marks.push((at, what == "begin", number.parse()?));
            }
        }
        Ok(marks)
    }

    /// What the two partitions hold now.
    fn look(&mut self, at: usize) -> Result<Found> {
        self.count.moments += 1;
        let state = self.scratch.join("state.now");
        self.state.copy(&state)?;
        let stored = self.read(&state)?;

        let boot = self.scratch.join("boot.now");
        self.boot.copy(&boot)?;
        let copy = match read_fat(&boot, "config.json") {
            FatFile::Bytes(bytes) => document(&bytes),
            FatFile::Absent | FatFile::Damaged(_) => None,
        };
        let fat_damage = check_fat(&boot)?;
        self.count.broken += usize::from(copy.is_none());
        self.count.fat_damaged += usize::from(!fat_damage.is_empty());
        Ok(Found {
            at,
            is_settled: self.begun == self.acknowledged,
            agrees: copy.as_ref() == Some(&stored),
            boot: if copy.is_some() {
                Boot::Document
            } else {
                Boot::Broken
            },
            document: stored,
            fat_damage,
        })
    }

    /// A disk may have any of the writes since the last flush, and not only the first of them.
    fn shuffle(&mut self, since_flush: &[&Entry]) -> Result<()> {
        let path = self.scratch.join("state.now");
        for _ in 0..SHUFFLES {
            self.flushed.copy(&path)?;
            let size = self.recorded.state;
            let image = Image::part(&path, size.0)?;
            for entry in since_flush {
                // A fixed sequence (Knuth, MMIX), so that what is found is found again.
                self.seed = self
                    .seed
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                if entry.is_fua || self.seed >> 63 == 1 {
                    image.apply(&self.recorded.log, entry)?;
                }
            }
            self.count.moments += 1;
            self.count.shuffled += 1;
            self.read(&path)?;
        }
        Ok(())
    }

    /// Repairs a state partition as the device does, and reads the store in it with its own reader: the last
    /// acknowledged configuration, or the one under way.
    fn read(&mut self, partition: &Path) -> Result<String> {
        self.count.repaired += usize::from(!repair_ext4(partition)?.is_empty());
        let folder = self.scratch.join("store");
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        ensure!(dump_ext4(partition, STORE, &folder)?, "the store is gone");
        let found = load(&folder.join(STORE)).map_err(|error| anyhow::anyhow!("{error}"))?;
        let stored = found.document.context("the configuration is lost")?;
        ensure!(
            found.identity.as_ref() == Some(&self.recorded.identity),
            "the identity is {:?}",
            found.identity
        );
        let allowed = &self.recorded.documents[self.acknowledged..=self.begun.max(self.acknowledged)];
        let is_allowed = allowed
            .iter()
            .any(|text| document(text.as_bytes()).as_ref() == Some(&stored));
        ensure!(is_allowed, "the store has {stored}, not one of {allowed:?}");
        Ok(stored)
    }
}
