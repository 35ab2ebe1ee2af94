//! The disk that a partition is on, as the kernel has it (`/sys`, Documentation/ABI/stable/sysfs-block), and its first sector.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::growth::{Layout, Partition, SECTOR};

/// Where the kernel has a folder for each disk and each partition.
const BLOCK: &str = "/sys/class/block";

/// Why a disk could not be read.
#[derive(Debug)]
pub(crate) enum Error {
    /// A file or folder.
    Read(PathBuf, io::Error),
    /// There is no number in this file, or there is no such partition.
    NoNumber(PathBuf),
    /// The disk counts in sectors of this size.
    Sectors(u64),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::NoNumber(path) => write!(f, "there is no number in {}", path.display()),
            Self::Sectors(size) => write!(
                f,
                "the disk has sectors of {size} bytes: its table is not changed"
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read(_, error) => Some(error),
            Self::NoNumber(_) | Self::Sectors(_) => None,
        }
    }
}

/// A disk with a data partition.
#[derive(Debug)]
pub(crate) struct Disk {
    /// Its device node.
    pub(crate) node: PathBuf,
    pub(crate) layout: Layout,
    /// The data partition's folder in `/sys`.
    data: PathBuf,
}

impl Disk {
    /// The disk that has this partition, by the partition's device node or a link to it.
    pub(crate) fn of(data: &Path) -> Result<Self, Error> {
        let node = canonical(data)?;
        Self::read(Path::new(BLOCK), &node)
    }

    fn read(block: &Path, node: &Path) -> Result<Self, Error> {
        let missing = |path: &Path| Error::Read(path.to_owned(), io::ErrorKind::NotFound.into());
        let name = node.file_name().ok_or_else(|| missing(node))?;
        let data = canonical(&block.join(name))?;
        let folder = data.parent().ok_or_else(|| missing(&data))?;
        let disk = folder.file_name().ok_or_else(|| missing(folder))?;
        let logical = number(&folder.join("queue/logical_block_size"))?;
        if logical != SECTOR {
            return Err(Error::Sectors(logical));
        }
        let node = node.with_file_name(disk);
        let mut mbr = [0; 512];
        let read = File::open(&node).and_then(|mut file| file.read_exact(&mut mbr));
        read.map_err(|error| Error::Read(node.clone(), error))?;
        let layout = Layout {
            // In units of 512 bytes, whatever the disk counts in.
            size: number(&folder.join("size"))?,
            mbr,
            partitions: partitions(folder)?,
            data: partition(&data)?.number,
        };
        Ok(Self { node, layout, data })
    }

    /// The data partition's sectors, as the kernel has them now.
    pub(crate) fn size_of_data(&self) -> Result<u64, Error> {
        number(&self.data.join("size"))
    }
}

/// The partitions of the disk with this folder.
fn partitions(folder: &Path) -> Result<Vec<Partition>, Error> {
    let failed = |error| Error::Read(folder.to_owned(), error);
    let mut partitions = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.join("partition").exists() {
            partitions.push(partition(&path)?);
        }
    }
    partitions.sort_unstable_by_key(|partition| partition.number);
    Ok(partitions)
}

fn partition(folder: &Path) -> Result<Partition, Error> {
    let path = folder.join("partition");
    Ok(Partition {
        number: u32::try_from(number(&path)?).map_err(|_| Error::NoNumber(path))?,
        start: number(&folder.join("start"))?,
        size: number(&folder.join("size"))?,
    })
}

fn number(path: &Path) -> Result<u64, Error> {
    let text = fs::read_to_string(path).map_err(|error| Error::Read(path.to_owned(), error))?;
    let number = text.trim().parse();
    number.map_err(|_| Error::NoNumber(path.to_owned()))
}

fn canonical(path: &Path) -> Result<PathBuf, Error> {
    fs::canonicalize(path).map_err(|error| Error::Read(path.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A piece of /sys and of /dev: an eMMC with a boot area, which is no partition.
    fn emmc(sector: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("devices/mmcblk1");
        for (name, number, start, size) in [
            ("mmcblk1p10", "10", "8192", "4096"),
            ("mmcblk1p1", "1", "2048", "2048"),
        ] {
            let partition = disk.join(name);
            fs::create_dir_all(&partition).unwrap();
            for (file, text) in [("partition", number), ("start", start), ("size", size)] {
                fs::write(partition.join(file), format!("{text}\n")).unwrap();
            }
        }
        fs::create_dir(disk.join("mmcblk1boot0")).unwrap();
        fs::create_dir(disk.join("queue")).unwrap();
        fs::write(disk.join("queue/logical_block_size"), sector).unwrap();
        fs::write(disk.join("size"), "65536\n").unwrap();
        let link = folder.path().join("mmcblk1p10");
        std::os::unix::fs::symlink(disk.join("mmcblk1p10"), link).unwrap();
        fs::create_dir(folder.path().join("dev")).unwrap();
        fs::write(folder.path().join("dev/mmcblk1"), [7; 1024]).unwrap();
        folder
    }

    #[test]
    fn reads_the_disk_of_a_partition() {
        let folder = emmc("512\n");
        let node = folder.path().join("dev/mmcblk1p10");
        let disk = Disk::read(folder.path(), &node).unwrap();
        assert_eq!(disk.node, folder.path().join("dev/mmcblk1"));
        assert_eq!(
            (disk.layout.size, disk.layout.data, disk.layout.mbr[511]),
            (65536, 10, 7)
        );
        let found: Vec<_> = disk.layout.partitions.iter().map(|one| one.start).collect();
        assert_eq!(found, [2048, 8192]);
        assert_eq!(disk.size_of_data().unwrap(), 4096);
    }

    #[test]
    fn another_sector_is_refused() {
        let folder = emmc("4096\n");
        let error = Disk::read(folder.path(), &folder.path().join("dev/mmcblk1p10")).unwrap_err();
        assert!(matches!(error, Error::Sectors(4096)), "{error}");
    }

    #[test]
    fn what_is_not_there_is_named() {
        let folder = emmc("512\n");
        let error = Disk::read(folder.path(), &folder.path().join("dev/mmcblk1p9")).unwrap_err();
        assert!(error.to_string().contains("mmcblk1p9"), "{error}");
    }
}
