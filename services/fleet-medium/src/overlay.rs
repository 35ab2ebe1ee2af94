//! Changes to a part of a medium that are kept in memory until all of them are known to be good.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};

use crate::medium::{Window, seek};

/// The unit of a change. No medium has smaller sectors.
pub const SECTOR: usize = 512;
const SECTOR_BYTES: u64 = 512;

/// The content of a sector.
pub type Sector = [u8; SECTOR];

/// A window and the sectors of it that were written to.
pub struct Overlay {
    base: Window,
    written: BTreeMap<u64, Sector>,
    position: u64,
}

/// A sector that is not as it was.
pub struct Change {
    /// Where it is on the medium, in bytes.
    pub place: u64,
    /// What is there.
    pub old: Sector,
    /// What is to be there.
    pub new: Sector,
}

impl Overlay {
    /// Nothing is changed yet.
    #[must_use]
    pub const fn new(base: Window) -> Self {
        Self {
            base,
            written: BTreeMap::new(),
            position: 0,
        }
    }

    /// The sectors that were written to.
    pub fn written(&mut self) -> impl Iterator<Item = &mut Sector> {
        self.written.values_mut()
    }

    /// The sectors that differ from the medium's, in the order of their places.
    ///
    /// # Errors
    /// The medium cannot be read.
    pub fn changes(&self) -> io::Result<Vec<Change>> {
        let mut changes = Vec::new();
        for (&number, &new) in &self.written {
            let mut old = [0; SECTOR];
            self.base.read_at(number * SECTOR_BYTES, &mut old)?;
            if old != new {
                let place = self.base.start() + number * SECTOR_BYTES;
                changes.push(Change { place, old, new });
            }
        }
        Ok(changes)
    }

    /// The sector at the position, where in it the position is, and how many of `wanted` bytes are in it.
    fn at(&self, wanted: usize) -> io::Result<(u64, usize, usize)> {
        let whole = self.base.size() / SECTOR_BYTES * SECTOR_BYTES;
        if self.position >= whole {
            return Ok((0, 0, 0));
        }
        let inner = usize::try_from(self.position % SECTOR_BYTES).map_err(io::Error::other)?;
        Ok((self.position / SECTOR_BYTES, inner, wanted.min(SECTOR - inner)))
    }

    fn sector(&self, number: u64) -> io::Result<Sector> {
        if let Some(sector) = self.written.get(&number) {
            return Ok(*sector);
        }
        let mut sector = [0; SECTOR];
        self.base.read_at(number * SECTOR_BYTES, &mut sector)?;
        Ok(sector)
    }

    fn advance(&mut self, length: usize) {
        self.position += u64::try_from(length).unwrap_or_default();
    }
}

impl Read for Overlay {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let (number, inner, length) = self.at(into.len())?;
        if length > 0 {
            let sector = self.sector(number)?;
            into[..length].copy_from_slice(&sector[inner..inner + length]);
            self.advance(length);
        }
        Ok(length)
    }
}

impl Write for Overlay {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let (number, inner, length) = self.at(from.len())?;
        if length > 0 {
            let mut sector = self.sector(number)?;
            sector[inner..inner + length].copy_from_slice(&from[..length]);
            self.written.insert(number, sector);
            self.advance(length);
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Overlay {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = seek(to, self.position, self.base.size())?;
        Ok(self.position)
    }
}
