//! The device that is written to.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use fleet_base::exit::Exit;
use hmac_sha256::Hash;
use nix::fcntl::{FallocateFlags, OFlag, PosixFadviseAdvice, fallocate, posix_fadvise};

use crate::failure::Failure;
use crate::medium::Medium;
use crate::writing::{CHUNK, Content, Follow, Written};

/// After so many bytes the medium is waited for, so that the progress is the medium's and not the memory's.
const SYNC: u64 = 32 << 20;
/// What a read past the page cache wants of place, length and memory: no disk has larger sectors (open(2), O_DIRECT).
const ALIGNMENT: usize = 4096;
const ALIGNMENT_BYTES: u64 = 4096;
/// What is written last.
const SECTOR: usize = 512;
const SECTOR_BYTES: u64 = 512;
/// A device may take its time over this much.
const ZEROED_AT_ONCE: u64 = 64 << 20;

/// An opened device.
pub struct Target {
    /// What it is on.
    pub medium: Medium,
    unsynced: Cell<u64>,
}

impl Target {
    /// Takes a medium that was opened for writing.
    ///
    /// # Errors
    /// It is a reader without a card.
    pub fn open(medium: Medium) -> Result<Self, Failure> {
        if medium.block.is_some() && medium.size == 0 {
            return Err(Failure::new(
                Exit::Unavailable,
                format!("{} has no card in it", medium.path.display()),
            ));
        }
        Ok(Self {
            medium,
            unsynced: Cell::new(0),
        })
    }

    /// The name that is typed: the kernel's, or the file's.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.medium.block {
            Some(block) => block.name(),
            None => {
                let name = self.medium.path.file_name().unwrap_or_default();
                name.to_string_lossy().into_owned()
            }
        }
    }

    /// What a person knows it by.
    #[must_use]
    pub fn description(&self) -> String {
        let model = self.medium.block.as_ref().and_then(|block| block.model());
        let model = model.map(|model| format!("{}, ", model.escape_debug()));
        format!(
            "{} ({}{})",
            self.medium.path.display(),
            model.unwrap_or_default(),
            fleet_base::size::bytes(self.medium.size)
        )
    }

    /// Writes at a place.
    ///
    /// # Errors
    /// It is beyond the end, or the device does not take it.
    pub fn write(&self, place: u64, bytes: &[u8]) -> Result<(), Failure> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if place.checked_add(length).is_none_or(|end| end > self.medium.size) {
            return Err(Failure::new(
                Exit::CannotWrite,
                format!(
                    "{} has {}, and the image is larger: take a larger one. What is on it now is no system",
                    self.medium.path.display(),
                    fleet_base::size::bytes(self.medium.size)
                ),
            ));
        }
        let written = self.medium.file.write_all_at(bytes, place);
        written.map_err(|error| self.failed("written", place, &error))?;
        self.unsynced.set(self.unsynced.get() + length);
        if self.unsynced.get() >= SYNC {
            self.sync()?;
        }
        Ok(())
    }

    /// Makes a part read as zeros, by the device itself where it can do that.
    ///
    /// # Errors
    /// The device does not take it.
    pub fn zero(&self, start: u64, end: u64, follow: &mut dyn Follow) -> Result<(), Failure> {
        let zeros = vec![0; CHUNK];
        let mut place = start;
        while place < end {
            let next = end.min(place.saturating_add(ZEROED_AT_ONCE));
            let is_done = self.zeroed(place, next);
            while place < next {
                let length = usize::try_from(next - place).map_or(CHUNK, |left| left.min(CHUNK));
                if !is_done {
                    self.write(place, &zeros[..length])?;
                }
                follow.add(length)?;
                place += u64::try_from(length).unwrap_or(u64::MAX);
            }
        }
        Ok(())
    }

    /// By fallocate(2): by giving the blocks back, where that is sure to leave zeros; else by having the kernel write them. Not
    /// every file system has it, and its places have 31 bits where the C library's `off_t` has 32 (ARMv7).
    fn zeroed(&self, start: u64, end: u64) -> bool {
        let (Ok(start), Ok(length)) = (start.try_into(), (end - start).try_into()) else {
            return false;
        };
        let kinds = [
            FallocateFlags::FALLOC_FL_PUNCH_HOLE,
            FallocateFlags::FALLOC_FL_ZERO_RANGE,
        ];
        let mut hows = kinds
            .map(|kind| kind | FallocateFlags::FALLOC_FL_KEEP_SIZE)
            .into_iter();
        hows.any(|how| fallocate(&*self.medium.file, how, start, length).is_ok())
    }

    /// Waits until everything is on the medium.
    ///
    /// # Errors
    /// The device did not take all of it.
    pub fn sync(&self) -> Result<(), Failure> {
        self.unsynced.set(0);
        let synced = self.medium.file.sync_all();
        synced.map_err(|error| self.failed("written", 0, &error))
    }

    /// Writes what was held back, the first sector last: with it the device has a partition table, and whoever reads the
    /// table finds everything else in its place. All of it is read back; if it is another, the first sector is zeros again.
    ///
    /// # Errors
    /// The device does not take it, or gives back something else.
    pub fn commit(&self, head: &[u8]) -> Result<(), Failure> {
        self.sync()?;
        let (first, rest) = head.split_at(head.len().min(SECTOR));
        self.write(SECTOR_BYTES, rest)?;
        self.sync()?;
        self.write(0, first)?;
        self.sync()?;
        self.verify_bytes(0, head).inspect_err(|_| {
            let withdrawn = self.write(0, &[0; SECTOR]).and_then(|()| self.sync());
            // What it has there now, nobody knows; the error of before is what is told.
            drop(withdrawn);
        })
    }

    /// Reads back what was written, from the medium and not from memory; but for `head`, which is not on it yet.
    ///
    /// # Errors
    /// The device cannot be read, or gives back something else.
    pub fn verify(&self, written: &[Written], head: &[u8], follow: &mut dyn Follow) -> Result<(), Failure> {
        let mut reader = Reader::new(self)?;
        for range in written {
            let mut sum = Hash::new();
            let mut is_zero = true;
            let mut place = range.start;
            if place == 0 {
                sum.update(head);
                place = u64::try_from(head.len()).unwrap_or_default();
                follow.add(head.len())?;
            }
            while place < range.end {
                let bytes = reader.some(place, range.end)?;
                place += u64::try_from(bytes.len()).unwrap_or_default();
                follow.add(bytes.len())?;
                match range.content {
                    Content::Sum(_) => sum.update(bytes),
                    Content::Zeros => is_zero &= bytes.iter().all(|&byte| byte == 0),
                }
            }
            let is_good = match range.content {
                Content::Sum(wanted) => sum.finalize() == wanted,
                Content::Zeros => is_zero,
            };
            if !is_good {
                return Err(self.another(range.start, range.end));
            }
        }
        Ok(())
    }

    /// Reads back these bytes, from the medium and not from memory.
    ///
    /// # Errors
    /// The device cannot be read, or gives back something else.
    pub fn verify_bytes(&self, start: u64, wanted: &[u8]) -> Result<(), Failure> {
        let mut reader = Reader::new(self)?;
        let end = start + u64::try_from(wanted.len()).unwrap_or_default();
        let mut left = wanted;
        let mut place = start;
        while place < end {
            let bytes = reader.some(place, end)?;
            let Some(rest) = left.strip_prefix(bytes) else {
                return Err(self.another(start, end));
            };
            place += u64::try_from(bytes.len()).unwrap_or_default();
            left = rest;
        }
        Ok(())
    }

    fn another(&self, start: u64, end: u64) -> Failure {
        Failure::new(
            Exit::Failure,
            format!(
                "{} gives back something else than was written, between bytes {start} and {end}: it or its reader is \
                 broken or a fake. Take another one",
                self.medium.path.display(),
            ),
        )
    }

    fn reader(&self) -> io::Result<File> {
        if self.medium.block.is_some() {
            let mut options = OpenOptions::new();
            return options
                .read(true)
                .custom_flags(OFlag::O_DIRECT.bits())
                .open(&self.medium.path);
        }
        // Not every file system has O_DIRECT. What is clean is forgotten by this one.
        let advice = PosixFadviseAdvice::POSIX_FADV_DONTNEED;
        posix_fadvise(&*self.medium.file, 0, 0, advice)?;
        self.medium.file.try_clone()
    }

    fn failed(&self, what: &str, place: u64, error: &io::Error) -> Failure {
        let path = self.medium.path.display();
        if self.medium.block.as_ref().is_some_and(|block| !block.is_there()) {
            return Failure::new(
                Exit::Unavailable,
                format!(
                    "{path} went away: plug it in again, and start again. What is on it now is no system"
                ),
            );
        }
        Failure::new(
            Exit::CannotWrite,
            format!(
                "{path} cannot be {what} at {} ({error}): it or its reader is broken, or worn out. What is on it now is \
                 no system",
                fleet_base::size::bytes(place)
            ),
        )
    }
}

/// Reads past the page cache.
struct Reader<'a> {
    target: &'a Target,
    file: File,
    buffer: Vec<u8>,
    offset: usize,
}

impl<'a> Reader<'a> {
    fn new(target: &'a Target) -> Result<Self, Failure> {
        let file = target.reader();
        let file = file.map_err(|error| Failure::open(&target.medium.path, &error))?;
        let buffer = vec![0; CHUNK + ALIGNMENT];
        Ok(Self {
            target,
            file,
            offset: buffer.as_ptr().align_offset(ALIGNMENT),
            buffer,
        })
    }

    /// The bytes from `place` on, at least one and not beyond `end`.
    fn some(&mut self, place: u64, end: u64) -> Result<&[u8], Failure> {
        // A range begins at a block of the map, which may be smaller than a sector of the device.
        let inner = place % ALIGNMENT_BYTES;
        let from = place - inner;
        let failed = |error: &io::Error| self.target.failed("read back", place, error);
        let beyond = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let window = self.target.medium.size.saturating_sub(from);
        let length = usize::try_from(window).map_or(CHUNK, |left| left.min(CHUNK));
        let buffer = &mut self.buffer[self.offset..self.offset + length];
        let read = self.file.read_exact_at(buffer, from);
        read.map_err(|error| failed(&error))?;
        let wanted = usize::try_from(end.saturating_sub(from)).map_or(length, |left| left.min(length));
        let bytes = usize::try_from(inner)
            .ok()
            .and_then(|inner| buffer.get(inner..wanted));
        match bytes {
            Some(bytes) if !bytes.is_empty() => Ok(bytes),
            _ => Err(failed(&beyond())),
        }
    }
}
