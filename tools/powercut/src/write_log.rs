//! A recording of a disk's writes, as the kernel's device mapper target `log-writes` has it
//! (Documentation/admin-guide/device-mapper/log-writes.rst, drivers/md/dm-log-writes.c) and QEMU's block driver
//! `blklogwrites` makes it: a first sector with the number of entries, then for each entry a sector that says what it
//! is, and its data. All numbers are little-endian.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// `WRITE_LOG_MAGIC` of dm-log-writes.c.
const MAGIC: u64 = 0x006a_7366_7773_6872;
/// `WRITE_LOG_VERSION`.
const VERSION: u64 = 1;
/// The unit of everything in the log.
pub const SECTOR: u64 = 512;

const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// One request to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where on the disk it writes, in bytes.
    pub offset: u64,
    /// How much, in bytes; 0 for a flush alone.
    pub length: u64,
    /// All writes that ended before it are durable when it ends.
    pub is_flush: bool,
    /// It is durable itself when it ends (forced unit access).
    pub is_fua: bool,
    /// What was there is not needed any more; there is no data.
    pub is_discard: bool,
    /// Where its data is in the log, in bytes.
    data: u64,
}

impl Entry {
    /// Whether it touches this range of the disk, in bytes.
    #[must_use]
    pub const fn touches(&self, start: u64, size: u64) -> bool {
        self.length > 0 && self.offset < start + size && start < self.offset + self.length
    }

    /// Whether the disk promises something when it ends.
    #[must_use]
    pub const fn is_boundary(&self) -> bool {
        self.is_flush || self.is_fua
    }
}

/// The recording.
#[derive(Debug)]
pub struct WriteLog {
    file: File,
    /// In the order in which the disk had them.
    pub entries: Vec<Entry>,
}

impl WriteLog {
    /// Reads what is complete of it; more may be written meanwhile.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let mut head = [0; 28];
        file.read_exact_at(&mut head, 0)
            .context("the recording has no head: nothing was written yet")?;
        ensure!(
            word(&head, 0) == MAGIC,
            "{} is no recording of writes",
            path.display()
        );
        ensure!(
            word(&head, 1) == VERSION && head[24..] == [0, 2, 0, 0],
            "the recording has another version, or sectors of another size"
        );
        let mut entries = Vec::new();
        let mut at = SECTOR;
        for _ in 0..word(&head, 2) {
            let mut entry = [0; 32];
            file.read_exact_at(&mut entry, at)
                .context("the recording is shorter than it says")?;
            let flags = word(&entry, 2);
            let is_discard = flags & DISCARD != 0;
            let entry = Entry {
                offset: word(&entry, 0) * SECTOR,
                length: word(&entry, 1) * SECTOR,
                is_flush: flags & FLUSH != 0,
                is_fua: flags & FUA != 0,
                is_discard,
                data: at + SECTOR,
            };
            at += SECTOR + if is_discard { 0 } else { entry.length };
            entries.push(entry);
        }
        Ok(Self { file, entries })
    }

    /// The bytes of an entry; none for a flush and a discard.
    pub fn data(&self, entry: &Entry) -> Result<Vec<u8>> {
        let length = if entry.is_discard { 0 } else { entry.length };
        let mut data = vec![0; usize::try_from(length)?];
        self.file
            .read_exact_at(&mut data, entry.data)
            .context("the recording is shorter than it says")?;
        Ok(data)
    }
}

/// The number at place `index` of a row of 64-bit numbers.
fn word(bytes: &[u8], index: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[index * 8..][..8]);
    u64::from_le_bytes(word)
}
