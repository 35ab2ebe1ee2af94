//! The device that is written to.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use fleet_base::exit::Exit;
use nix::fcntl::{OFlag, PosixFadviseAdvice, posix_fadvise};
use sha2::{Digest, Sha256};

use super::progress::Progress;
use super::{CHUNK, Written};
use crate::failure::Failure;
use crate::medium::Medium;
use crate::output;

/// After so many bytes the medium is waited for, so that the progress is the medium's and not the memory's.
const SYNC: u64 = 32 << 20;
/// What a read past the page cache wants of place, length and memory: no disk has larger sectors (open(2), O_DIRECT).
const ALIGNMENT: usize = 4096;

/// An opened device.
pub struct Target {
    pub medium: Medium,
    unsynced: Cell<u64>,
}

/// The SHA-256 of what goes by.
#[derive(Default)]
pub struct Sum(Sha256);

impl Sum {
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn end(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

impl Target {
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
    pub fn description(&self) -> String {
        let model = self.medium.block.as_ref().and_then(|block| block.model());
        let model = model.map(|model| format!("{}, ", output::shown(&model)));
        format!(
            "{} ({}{})",
            self.medium.path.display(),
            model.unwrap_or_default(),
            fleet_base::size::bytes(self.medium.size)
        )
    }

    /// Writes at a place.
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

    /// Waits until everything is on the medium.
    pub fn sync(&self) -> Result<(), Failure> {
        self.unsynced.set(0);
        let synced = self.medium.file.sync_all();
        synced.map_err(|error| self.failed("written", 0, &error))
    }

    /// Reads back what was written, from the medium and not from memory.
    pub fn verify(&self, written: &[Written], progress: &mut Progress) -> Result<(), Failure> {
        let file = self
            .reader()
            .map_err(|error| Failure::open(&self.medium.path, &error))?;
        let mut buffer = vec![0; CHUNK + ALIGNMENT];
        let offset = buffer.as_ptr().align_offset(ALIGNMENT);
        let buffer = &mut buffer[offset..offset + CHUNK];
        for range in written {
            let mut sum = Sum::default();
            let mut place = range.start;
            while place < range.end {
                // A range begins at a block of the map, which may be smaller than a sector of the device.
                let inner = place % 4096;
                let from = place - inner;
                let window = (self.medium.size - from).min(1 << 20);
                let read = usize::try_from(window)
                    .map_err(|error| self.failed("read", from, &io::Error::other(error)))?;
                file.read_exact_at(&mut buffer[..read], from)
                    .map_err(|error| self.failed("read back", from, &error))?;
                let end = range.end.min(from + window);
                let bytes = usize::try_from(inner)
                    .ok()
                    .zip(usize::try_from(end - from).ok())
                    .and_then(|(inner, end)| buffer.get(inner..end));
                sum.add(bytes.unwrap_or_default());
                progress.add(bytes.map_or(0, <[u8]>::len))?;
                place = end;
            }
            if sum.end() != range.sum {
                return Err(Failure::new(
                    Exit::Failure,
                    format!(
                        "{} gives back something else than was written, between bytes {} and {}: the card or its reader is \
                         broken or a fake. Take another one",
                        self.medium.path.display(),
                        range.start,
                        range.end
                    ),
                ));
            }
        }
        Ok(())
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
                    "{path} went away: plug it in again, and run the same command. What is on it now is no system"
                ),
            );
        }
        Failure::new(
            Exit::CannotWrite,
            format!(
                "{path} cannot be {what} at {} ({error}): the card or its reader is broken, or worn out. What is on it now is \
                 no system",
                fleet_base::size::bytes(place)
            ),
        )
    }
}
