//! What an image is on: a regular file, or a block device.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fleet_base::exit::Exit;
use nix::fcntl::OFlag;

use crate::block::{self, Block};
use crate::failure::Failure;

/// An opened file or block device.
pub struct Medium {
    /// Its name.
    pub path: PathBuf,
    /// Opened.
    pub file: Arc<File>,
    /// In bytes.
    pub size: u64,
    /// Set for a block device.
    pub block: Option<Block>,
    /// What windows have in place of the first bytes of the file: those that are written last.
    head: Arc<Vec<u8>>,
}

/// What will be done with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading; others may use it at the same time.
    Read,
    /// Changing: nobody else may have it mounted, attached or locked.
    Write,
}

impl Medium {
    /// Opens a file or block device that is there.
    ///
    /// # Errors
    /// It cannot be opened, or must not be written to.
    pub fn open(path: &Path, access: Access) -> Result<Self, Failure> {
        let failed = |error: &io::Error| Failure::open(path, error);
        let metadata = path.metadata().map_err(|error| failed(&error))?;
        let kind = metadata.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(Failure::invalid(format!(
                "{} is neither a file nor a block device",
                path.display()
            )));
        }
        let mut options = OpenOptions::new();
        options.read(true).write(access == Access::Write);
        let block = kind.is_block_device().then(|| Block::of(metadata.rdev()));
        if let Some(block) = &block
            && access == Access::Write
        {
            let refused = |why| {
                Failure::new(
                    Exit::NotAllowed,
                    format!("{} is not written to: {why}", path.display()),
                )
            };
            if let Some(disk) = block.disk_of_partition() {
                return Err(refused(format!(
                    "it is a partition; name the whole disk, /dev/{disk}"
                )));
            }
            if let Some(why) = block.in_use() {
                return Err(refused(why));
            }
            // Refused by the kernel while something is mounted from it, in whatever mount namespace (open(2)).
            options.custom_flags(OFlag::O_EXCL.bits());
        }
        let mut file = options.open(path).map_err(|error| failed(&error))?;
        if access == Access::Write {
            if let Some(device) = block::attached(path) {
                return Err(Failure::new(
                    Exit::TryAgain,
                    format!(
                        "{} is attached to {device}: detach it first (losetup --detach {device})",
                        path.display()
                    ),
                ));
            }
            if file.try_lock().is_err() {
                return Err(Failure::new(
                    Exit::TryAgain,
                    format!("{} is locked by another program: wait for it", path.display()),
                ));
            }
        }
        // A block device's metadata have no size.
        let size = file.seek(SeekFrom::End(0)).map_err(|error| failed(&error))?;
        Ok(Self {
            path: path.to_owned(),
            file: Arc::new(file),
            size,
            block,
            head: Arc::default(),
        })
    }

    /// A packed image, unpacked into a file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn unpacked(path: &Path, mut file: File) -> Result<Self, Failure> {
        let size = file.seek(SeekFrom::End(0));
        Ok(Self {
            path: path.to_owned(),
            size: size.map_err(|error| Failure::read(path, &error))?,
            file: Arc::new(file),
            block: None,
            head: Arc::default(),
        })
    }

    /// Has windows that are made from now on read these bytes as its first ones.
    pub fn hold_head(&mut self, head: Vec<u8>) {
        self.head = Arc::new(head);
    }

    /// A part of it.
    #[must_use]
    pub fn window(&self, start: u64, size: u64) -> Window {
        Window {
            file: Arc::clone(&self.file),
            head: Arc::clone(&self.head),
            start,
            size,
            position: 0,
        }
    }
}

/// A part of a file, to be read like a file of its own. Writing to it is an error.
#[derive(Clone, Debug)]
pub struct Window {
    file: Arc<File>,
    head: Arc<Vec<u8>>,
    start: u64,
    size: u64,
    position: u64,
}

impl Window {
    /// Reads exactly at a place.
    ///
    /// # Errors
    /// It is beyond the end, or the medium cannot be read.
    pub fn read_at(&self, place: u64, into: &mut [u8]) -> io::Result<()> {
        let length = u64::try_from(into.len()).unwrap_or(u64::MAX);
        if place.checked_add(length).is_none_or(|end| end > self.size) {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "it is beyond the end",
            ));
        }
        let place = self.start + place;
        let held = usize::try_from(place)
            .ok()
            .and_then(|place| self.head.get(place..));
        let held = held.unwrap_or_default();
        let (from_head, rest) = into.split_at_mut(held.len().min(into.len()));
        from_head.copy_from_slice(&held[..from_head.len()]);
        let place = place + u64::try_from(from_head.len()).unwrap_or_default();
        self.file.read_exact_at(rest, place)
    }

    /// Its size in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Where it begins on the medium.
    #[must_use]
    pub const fn start(&self) -> u64 {
        self.start
    }
}

impl Read for Window {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.size.saturating_sub(self.position);
        let length = into.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.read_at(self.position, &mut into[..length])?;
        self.position += u64::try_from(length).unwrap_or_default();
        Ok(length)
    }
}

impl Write for Window {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = seek(to, self.position, self.size)?;
        Ok(self.position)
    }
}

/// Where a seek leads to.
pub(crate) fn seek(to: SeekFrom, position: u64, size: u64) -> io::Result<u64> {
    let place = match to {
        SeekFrom::Start(place) => Some(place),
        SeekFrom::Current(by) => position.checked_add_signed(by),
        SeekFrom::End(by) => size.checked_add_signed(by),
    };
    place.ok_or_else(|| io::ErrorKind::InvalidInput.into())
}
