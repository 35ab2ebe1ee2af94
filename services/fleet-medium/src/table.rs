//! The partition table, and what is on the partitions.

mod gpt;
mod mbr;

use std::fmt;

use crate::failure::Failure;
use crate::medium::{Medium, Window};

/// A partition table.
pub struct Table {
    /// Which table it is.
    pub kind: Kind,
    /// What tells this disk from others: the GPT's GUID, the MBR's signature. Copies of an image share it.
    pub identity: String,
    /// In the order of their numbers.
    pub partitions: Vec<Partition>,
}

/// Which table it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// GUID partition table (UEFI specification, chapter 5).
    Gpt,
    /// Master boot record, with logical partitions.
    Mbr,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gpt => "GPT",
            Self::Mbr => "MBR",
        })
    }
}

/// A partition.
pub struct Partition {
    /// As Linux counts: logical partitions from 5 on.
    pub number: u32,
    /// Its name in the table; MBR has none.
    pub name: String,
    /// First byte.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// What is on it.
    pub file_system: FileSystem,
}

/// What is on a partition, by its first bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// FAT12, FAT16 or FAT32, and its label.
    Fat(String),
    /// ext2, ext3 or ext4, and its label.
    Ext(String),
    /// Something else that is known by its name.
    Other(&'static str),
    /// Nothing that is known.
    Unknown,
}

impl FileSystem {
    /// As mount(8) calls it; `-` if it is not known.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Fat(_) => "vfat",
            Self::Ext(_) => "ext4",
            Self::Other(name) => name,
            Self::Unknown => "-",
        }
    }

    /// Its label, empty without one.
    #[must_use]
    pub fn label(&self) -> &str {
        match self {
            Self::Fat(label) | Self::Ext(label) => label,
            _ => "",
        }
    }
}

impl Table {
    /// Reads the table of a medium.
    ///
    /// # Errors
    /// There is none, or it cannot be read, or the medium is shorter than it says.
    pub fn read(medium: &Medium) -> Result<Self, Failure> {
        let invalid = |what: String| Failure::invalid(format!("{}: {what}", medium.path.display()));
        let whole = medium.window(0, medium.size);
        let mut first = [0; mbr::SECTOR];
        if whole.read_at(0, &mut first).is_err() {
            return Err(invalid(
                "it is shorter than a partition table: it is no disk image".to_owned(),
            ));
        }
        if !mbr::is_signed(&first) {
            return Err(invalid(
                "it has no partition table. It must be a whole disk, not a partition; unpack it if it is compressed"
                    .to_owned(),
            ));
        }
        let mut table = match mbr::is_protective(&first) {
            true => gpt::read(medium).map_err(invalid)?,
            false => mbr::read(&whole, &first).map_err(invalid)?,
        };
        for partition in &mut table.partitions {
            let end = partition.start.checked_add(partition.size);
            if end.is_none_or(|end| end > medium.size) {
                return Err(invalid(format!(
                    "it is cut off: partition {} ends at byte {}, the image at {}. Download or build it again",
                    partition.number,
                    end.map_or_else(|| "2^64".to_owned(), |end| end.to_string()),
                    medium.size
                )));
            }
            partition.file_system = recognise(&medium.window(partition.start, partition.size));
        }
        Ok(table)
    }

    /// The partition of `config.json`: FAT, with the label `fleet-boot`.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn boot(&self) -> Result<&Partition, String> {
        // FAT tools of other systems write labels in capitals.
        let is_boot = |partition: &&Partition| match &partition.file_system {
            FileSystem::Fat(label) => label.eq_ignore_ascii_case("fleet-boot"),
            _ => false,
        };
        let mut found = self.partitions.iter().filter(is_boot);
        match (found.next(), found.next()) {
            (Some(boot), None) => Ok(boot),
            (Some(_), Some(_)) => Err(
                "more than one partition has a FAT with the label fleet-boot: it is not clear which one starts the device"
                    .to_owned(),
            ),
            _ => Err(
                "no partition has a FAT with the label fleet-boot: this is no image of Fleet OS".to_owned(),
            ),
        }
    }
}

/// Recognises a file system by its magic numbers.
fn recognise(window: &Window) -> FileSystem {
    // The superblock of ext4 is at 1024 (kernel, filesystems/ext4/super.rst).
    let mut head = [0; 2048];
    if window.read_at(0, &mut head).is_err() {
        return FileSystem::Unknown;
    }
    if head[1024 + 0x38..][..2] == [0x53, 0xef] {
        return FileSystem::Ext(label(&head[1024 + 0x78..][..16]));
    }
    if &head[..4] == b"hsqs" {
        return FileSystem::Other("squashfs");
    }
    if &head[..6] == b"LUKS\xba\xbe" {
        return FileSystem::Other("crypto_LUKS");
    }
    let is_fat = mbr::is_signed(&head) && (&head[54..57] == b"FAT" || &head[82..87] == b"FAT32");
    if is_fat && let Ok(label) = crate::boot_partition::label(window.clone()) {
        return FileSystem::Fat(label);
    }
    FileSystem::Unknown
}

fn label(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim_end().to_owned()
}
