//! The way of an image's bytes to a device.

use std::path::Path;

use fleet_base::exit::Exit;
use hmac_sha256::Hash;

use crate::bmap::{BlockMap, Range};
use crate::failure::Failure;
use crate::medium::{Access, Medium};
use crate::source::Source;
use crate::target::Target;

/// What is written at once.
pub(crate) const CHUNK: usize = 1 << 20;
/// Without a block map: what is verified as one.
const SEGMENT: u64 = 16 << 20;

/// Who is told how far it is.
pub trait Follow {
    /// So many bytes more.
    ///
    /// # Errors
    /// It cannot be told.
    fn add(&mut self, bytes: usize) -> Result<(), Failure>;
}

/// A range that was written, and what it holds.
pub struct Written {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) content: Content,
}

/// What a range of the device holds.
pub(crate) enum Content {
    /// Bytes with this SHA-256.
    Sum([u8; 32]),
    /// Nothing.
    Zeros,
}

impl Written {
    /// How many bytes of the image it is.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        match self.content {
            Content::Sum(_) => self.end - self.start,
            Content::Zeros => 0,
        }
    }
}

/// What happens to the blocks that are not in the map.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Gaps {
    /// They stay as they are.
    Keep,
    /// They read as zeros, as they do in the image. mke2fs takes it for granted of a new file (`assume_storage_prezeroed`),
    /// and old content in an inode table is damage sooner or later.
    Zero,
}

/// An image with its block map, if it has one.
pub struct Image {
    source: Source,
    map: Option<BlockMap>,
}

/// What is on the device, and what of it is not yet.
pub struct Body {
    /// What was written, with `head`.
    pub written: Vec<Written>,
    /// The first bytes: zeros until they are written, by [`Target::commit`], so that what is written half is not taken for a
    /// whole disk.
    pub head: Vec<u8>,
}

impl Body {
    /// How many bytes of the image are written.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.written.iter().map(Written::bytes).sum()
    }
}

impl Image {
    /// Opens an image, with the block map that is named or the one beside it.
    ///
    /// # Errors
    /// One of them cannot be read, or they do not belong together.
    pub fn open(path: &Path, map: Option<&Path>) -> Result<Self, Failure> {
        let source = Source::open(path)?;
        let is_packed = source.size.is_none();
        Self::of(source, is_packed, map)
    }

    /// The same of one that is open already, and was packed if that is so.
    ///
    /// # Errors
    /// The block map cannot be read, or they do not belong together.
    pub fn of(source: Source, is_packed: bool, map: Option<&Path>) -> Result<Self, Failure> {
        let map = BlockMap::find(map, &source.path, is_packed)?;
        if let (Some(map), Some(size)) = (&map, source.size) {
            map.is_of(&source.path, size)?;
        }
        Ok(Self { source, map })
    }

    /// Its size in bytes; not known of a compressed one without a map.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.map.as_ref().map(|map| map.image_size).or(self.source.size)
    }

    /// How much of it is to be written, in bytes, as far as it is known.
    #[must_use]
    pub fn mapped(&self) -> Option<u64> {
        self.map.as_ref().map(BlockMap::mapped).or(self.source.size)
    }

    /// Whether there is a block map.
    #[must_use]
    pub const fn is_mapped(&self) -> bool {
        self.map.is_some()
    }

    /// Refuses a device that the image does not go on.
    ///
    /// # Errors
    /// It is too small.
    pub fn fits(&self, medium: &Medium) -> Result<(), Failure> {
        match self.size() {
            Some(size) if medium.size < size => Err(Failure::new(
                Exit::CannotWrite,
                format!(
                    "{} has {}, the image has {}: take a larger one",
                    medium.path.display(),
                    fleet_base::size::bytes(medium.size),
                    fleet_base::size::bytes(size)
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Writes all of it but for the first bytes, which are zeros.
    ///
    /// # Errors
    /// The image cannot be read, is not what its map says, or the device does not take it.
    pub fn write(&mut self, target: &Target, gaps: Gaps, follow: &mut dyn Follow) -> Result<Body, Failure> {
        let writing = Writing {
            source: &mut self.source,
            map: self.map.as_ref(),
            target,
            follow,
            chunk: vec![0; CHUNK],
            body: Body {
                written: Vec::new(),
                head: Vec::new(),
            },
        };
        writing.all(gaps)
    }
}

/// Opens a device to be written to.
///
/// # Errors
/// It must not be written to: a partition, something that is in use or write-protected.
pub fn open_target(path: &Path) -> Result<Target, Failure> {
    Target::open(Medium::open(path, Access::Write)?)
}

struct Writing<'a> {
    source: &'a mut Source,
    map: Option<&'a BlockMap>,
    target: &'a Target,
    follow: &'a mut dyn Follow,
    chunk: Vec<u8>,
    body: Body,
}

impl Writing<'_> {
    fn all(mut self, gaps: Gaps) -> Result<Body, Failure> {
        let mut end = 0;
        for number in 0.. {
            let Some(range) = self.range(number) else { break };
            if gaps == Gaps::Zero {
                self.zero(end, range.start)?;
            }
            let range_written = self.range_written(&range)?;
            end = range_written.end;
            if end > range.start {
                self.body.written.push(range_written);
            }
            if end < range.end {
                break;
            }
        }
        if self.body.written.is_empty() {
            return Err(Failure::invalid(format!(
                "{} is empty",
                self.source.path.display()
            )));
        }
        if gaps == Gaps::Zero {
            let size = self.map.map_or(end, |map| map.image_size);
            self.zero(end, size)?;
        }
        self.target.sync()?;
        Ok(self.body)
    }

    fn zero(&mut self, start: u64, end: u64) -> Result<(), Failure> {
        if start < end {
            self.target.zero(start, end)?;
            self.body.written.push(Written {
                start,
                end,
                content: Content::Zeros,
            });
        }
        Ok(())
    }

    /// The range with this number.
    fn range(&self, number: usize) -> Option<Range> {
        match self.map {
            Some(map) => map.ranges.get(number).cloned(),
            None => {
                let start = u64::try_from(number).ok()?.checked_mul(SEGMENT)?;
                Range::segment(start, SEGMENT, self.source.size)
            }
        }
    }

    fn range_written(&mut self, range: &Range) -> Result<Written, Failure> {
        self.source.skip_to(range.start)?;
        let mut sum = Hash::new();
        let mut place = range.start;
        while place < range.end {
            let wanted = usize::try_from(range.end - place).map_or(CHUNK, |left| left.min(CHUNK));
            let read = self.source.read(&mut self.chunk[..wanted])?;
            let bytes = &self.chunk[..read];
            sum.update(bytes);
            if place == 0 {
                self.body.head.extend_from_slice(bytes);
                self.target.write(0, &vec![0; read])?;
                self.target.sync()?;
            } else {
                self.target.write(place, bytes)?;
            }
            place += u64::try_from(read).unwrap_or_default();
            self.follow.add(read)?;
            if read < wanted {
                break;
            }
        }
        let sum = sum.finalize();
        self.agrees(range, place, sum)?;
        Ok(Written {
            start: range.start,
            end: place,
            content: Content::Sum(sum),
        })
    }

    /// Compares a range with the block map, if there is one.
    fn agrees(&self, range: &Range, end: u64, sum: [u8; 32]) -> Result<(), Failure> {
        let Some(map) = self.map else { return Ok(()) };
        if end < range.end {
            return Err(self.source.cut_off(end));
        }
        match range.sum {
            Some(wanted) if wanted != sum => Err(Failure::invalid(format!(
                "{} is damaged between bytes {} and {}, or was changed by something that left its map as it was: the checksum \
                 in {} is another. Download or build it again; what is on {} now is no system",
                self.source.path.display(),
                range.start,
                range.end,
                map.path.display(),
                self.target.medium.path.display()
            ))),
            _ => Ok(()),
        }
    }
}
