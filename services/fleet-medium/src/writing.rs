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
/// What becomes zeros first, and is written last: with the partition table.
const HEAD: u64 = 1 << 20;
/// Where a GPT has its second copy: the last sectors.
const TAIL: u64 = 1 << 20;
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

/// For what takes no time.
struct Nobody;

impl Follow for Nobody {
    fn add(&mut self, _: usize) -> Result<(), Failure> {
        Ok(())
    }
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
    const fn length(&self) -> u64 {
        self.end - self.start
    }
}

/// The places where the device has been made to read as zeros, because the image has nothing there. What makes images takes
/// it for granted (mke2fs, `assume_storage_prezeroed`), and old content in an inode table is damage sooner or later.
pub struct Cleared(Vec<Written>);

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
        let of_the_image = |written: &&Written| matches!(written.content, Content::Sum(_));
        let written = self.written.iter().filter(of_the_image);
        written.map(Written::length).sum()
    }

    /// How many bytes there are to be read back.
    #[must_use]
    pub fn to_verify(&self) -> u64 {
        self.written.iter().map(Written::length).sum()
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

    /// Where the image has nothing, as far as its map says so, and the end of the device: an older GPT may have its second copy
    /// there, which must not be taken for that of the new one.
    fn gaps(&self, medium: &Medium) -> Vec<(u64, u64)> {
        let mut gaps = Vec::new();
        let mut end = 0;
        if let Some(map) = &self.map {
            for range in &map.ranges {
                gaps.push((end, range.start));
                end = range.end;
            }
            gaps.push((end, map.image_size));
        }
        let tail = medium.size.saturating_sub(TAIL);
        gaps.push((tail.max(self.size().unwrap_or(medium.size)), medium.size));
        gaps.retain(|(start, end)| start < end);
        gaps
    }

    /// How many bytes of a device [`Image::clear`] clears.
    #[must_use]
    pub fn to_clear(&self, medium: &Medium) -> u64 {
        self.gaps(medium).iter().map(|(start, end)| end - start).sum()
    }

    /// Makes the device read as zeros where the image has nothing, and before that its first mebibyte: from there on it is no
    /// system, until [`Target::commit`].
    ///
    /// # Errors
    /// The device does not take it.
    pub fn clear(&self, target: &Target, follow: &mut dyn Follow) -> Result<Cleared, Failure> {
        let head = target.medium.size.min(HEAD);
        target.zero(0, head, &mut Nobody)?;
        target.sync()?;
        let mut cleared = Vec::new();
        for (start, end) in self.gaps(&target.medium) {
            target.zero(start, end, follow)?;
            let content = Content::Zeros;
            cleared.push(Written { start, end, content });
        }
        target.sync()?;
        Ok(Cleared(cleared))
    }

    /// Writes all of it but for the first bytes, which are zeros.
    ///
    /// # Errors
    /// The image cannot be read, is not what its map says, or the device does not take it.
    pub fn write(
        &mut self,
        target: &Target,
        cleared: Cleared,
        follow: &mut dyn Follow,
    ) -> Result<Body, Failure> {
        let writing = Writing {
            source: &mut self.source,
            map: self.map.as_ref(),
            target,
            follow,
            chunk: vec![0; CHUNK],
            body: Body {
                written: cleared.0,
                head: Vec::new(),
            },
        };
        writing.all()
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
    fn all(mut self) -> Result<Body, Failure> {
        for number in 0.. {
            let Some(range) = self.range(number) else { break };
            let written = self.range_written(&range)?;
            let end = written.end;
            if end > range.start {
                self.body.written.push(written);
            }
            if end < range.end {
                break;
            }
        }
        if self.body.head.is_empty() {
            return Err(Failure::invalid(format!(
                "{} is empty, or has nothing at its beginning by its block map",
                self.source.path.display()
            )));
        }
        self.target.sync()?;
        Ok(self.body)
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
