//! How far the data partition grows, and by which steps.

use std::fmt;

/// The unit of an MBR, in bytes. Where a medium's own is another one, nothing is grown.
pub(crate) const SECTOR: u64 = 512;
/// Partitions end on whole mebibytes: a medium's flash is erased in blocks of such sizes.
const ALIGNMENT: u64 = (1 << 20) / SECTOR;
/// What the 32 bits of an MBR can address: 2 TiB.
const ADDRESSABLE: u64 = 1 << 32;
/// Where the first of the four entries is, and how long each is.
const ENTRIES: usize = 446;
const ENTRY: usize = 16;
/// Extended partitions: CHS, LBA, and an old one of Linux's (block/partitions/msdos.c of the kernel).
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];
/// The one partition of an MBR that only protects a GPT.
const PROTECTIVE: u8 = 0xee;

/// A partition, as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Partition {
    /// From 1; from 5 on it is a logical one.
    pub(crate) number: u32,
    /// Its first sector.
    pub(crate) start: u64,
    /// Its sectors. Of an extended one the kernel has two.
    pub(crate) size: u64,
}

/// A disk, as far as it matters here.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Sectors of the disk.
    pub(crate) size: u64,
    /// Its first sector.
    pub(crate) mbr: [u8; 512],
    /// All partitions.
    pub(crate) partitions: Vec<Partition>,
    /// The number of the data partition.
    pub(crate) data: u32,
}

/// A partition gets this size.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) number: u32,
    pub(crate) size: u64,
}

/// What happens to the data partition.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Growth {
    /// Its size in sectors, now and then.
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// In this order; none if it cannot grow.
    pub(crate) steps: Vec<Step>,
}

/// Why a table is left alone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The first sector is no MBR, or a GPT's.
    NoMbr,
    /// The kernel has no such partition.
    NoData(u32),
    /// This partition is behind it.
    NotLast(u32),
    /// No extended partition has it in it.
    NoExtended(u32),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMbr => write!(f, "the disk has no MBR"),
            Self::NoData(number) => write!(f, "the disk has no partition {number}"),
            Self::NotLast(number) => write!(f, "partition {number} is behind it"),
            Self::NoExtended(number) => {
                write!(f, "there is no extended partition that partition {number} is in")
            }
        }
    }
}

impl std::error::Error for Refused {}

impl Layout {
    /// How the data partition grows.
    pub(crate) fn growth(&self) -> Result<Growth, Refused> {
        let entries = entries(&self.mbr).ok_or(Refused::NoMbr)?;
        let data = self.partitions.iter().find(|one| one.number == self.data);
        let data = data.ok_or(Refused::NoData(self.data))?;
        let end = self.size.min(ADDRESSABLE) / ALIGNMENT * ALIGNMENT;
        let mut growth = Growth {
            from: data.size,
            to: data.size,
            steps: Vec::new(),
        };
        if data.start + data.size >= end {
            return Ok(growth);
        }
        if let Some(behind) = self.partitions.iter().find(|one| one.start > data.start) {
            return Err(Refused::NotLast(behind.number));
        }
        if data.number > 4 {
            let has_data =
                |entry: &&Entry| entry.is_extended && (entry.start..entry.end()).contains(&data.start);
            let extended = entries.iter().find(has_data);
            let extended = extended.ok_or(Refused::NoExtended(data.number))?;
            // The first: sfdisk grows a logical partition within it only, and so does whoever reads the table after a
            // cut between the two.
            if extended.end() < end {
                growth.steps.push(Step {
                    number: extended.number,
                    size: end - extended.start,
                });
            }
        }
        growth.to = end - data.start;
        growth.steps.push(Step {
            number: data.number,
            size: growth.to,
        });
        Ok(growth)
    }
}

/// An entry of the MBR.
struct Entry {
    number: u32,
    is_extended: bool,
    start: u64,
    size: u64,
}

impl Entry {
    const fn end(&self) -> u64 {
        self.start + self.size
    }
}

/// The entries of an MBR that are used; none if it is not one.
fn entries(mbr: &[u8; 512]) -> Option<Vec<Entry>> {
    if !mbr.ends_with(&[0x55, 0xaa]) {
        return None;
    }
    let mut used = Vec::new();
    for (number, entry) in (1..).zip(mbr[ENTRIES..].chunks_exact(ENTRY).take(4)) {
        let number_at =
            |at: usize| u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]).into();
        let (kind, start, size) = (entry[4], number_at(8), number_at(12));
        if kind == PROTECTIVE {
            return None;
        }
        if kind != 0 && size != 0 {
            used.push(Entry {
                number,
                is_extended: EXTENDED.contains(&kind),
                start,
                size,
            });
        }
    }
    Some(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = ALIGNMENT;
    /// meta-fleet's fleet-mbr.wks.in, with the sizes of the reference image: the extended partition begins two sectors
    /// before the first one that is in it.
    const TABLE: [(u8, u64, u64); 4] = [
        (0x0c, 12 * MIB, 64 * MIB),
        (0x83, 76 * MIB, 512 * MIB),
        (0x83, 588 * MIB, 512 * MIB),
        (0x0f, 1104 * MIB - 2, 196 * MIB + 2),
    ];

    fn mbr(table: &[(u8, u64, u64)]) -> [u8; 512] {
        let mut mbr = [0; 512];
        for (entry, &(kind, start, size)) in mbr[ENTRIES..].chunks_exact_mut(ENTRY).zip(table) {
            entry[4] = kind;
            entry[8..12].copy_from_slice(&u32::try_from(start).unwrap().to_le_bytes());
            entry[12..].copy_from_slice(&u32::try_from(size).unwrap().to_le_bytes());
        }
        mbr[510..].copy_from_slice(&[0x55, 0xaa]);
        mbr
    }

    fn layout(size: u64) -> Layout {
        let of = |number, start, size| Partition { number, start, size };
        Layout {
            size,
            mbr: mbr(&TABLE),
            partitions: vec![
                of(1, TABLE[0].1, TABLE[0].2),
                of(2, TABLE[1].1, TABLE[1].2),
                of(3, TABLE[2].1, TABLE[2].2),
                of(4, TABLE[3].1, 2),
                of(5, 1104 * MIB, 64 * MIB),
                of(6, 1172 * MIB, 128 * MIB),
            ],
            data: 6,
        }
    }

    fn sizes(layout: &Layout) -> Vec<(u32, u64)> {
        let steps = layout.growth().unwrap().steps;
        steps.iter().map(|step| (step.number, step.size)).collect()
    }

    #[test]
    fn the_extended_partition_grows_before_the_one_in_it() {
        let grown = [(4, 944 * MIB + 2), (6, 876 * MIB)];
        assert_eq!(sizes(&layout(2048 * MIB)), grown);
        assert_eq!(
            sizes(&layout(2049 * MIB - 1)),
            grown,
            "a part of a mebibyte stays free"
        );
        let growth = layout(2048 * MIB).growth().unwrap();
        assert_eq!((growth.from, growth.to), (128 * MIB, 876 * MIB));
    }

    #[test]
    fn without_room_for_a_mebibyte_nothing_is_done() {
        for size in [1300 * MIB, 1301 * MIB - 1, 1200 * MIB] {
            assert_eq!(sizes(&layout(size)), [], "{size}");
        }
        let mut grown = layout(2048 * MIB);
        grown.partitions[5].size = 876 * MIB;
        assert_eq!(sizes(&grown), []);
    }

    #[test]
    fn what_a_cut_has_left_undone_is_done() {
        let mut cut = layout(2048 * MIB);
        let mut table = TABLE;
        table[3].2 = 944 * MIB + 2;
        cut.mbr = mbr(&table);
        assert_eq!(sizes(&cut), [(6, 876 * MIB)]);
    }

    #[test]
    fn a_primary_partition_grows_alone() {
        let mut primary = layout(2048 * MIB);
        primary.data = 3;
        primary.partitions.truncate(3);
        assert_eq!(sizes(&primary), [(3, 1460 * MIB)]);
    }

    #[test]
    fn it_ends_where_an_mbr_cannot_count_any_further() {
        assert_eq!(
            sizes(&layout(1 << 33)),
            [(4, (1 << 32) - 1104 * MIB + 2), (6, (1 << 32) - 1172 * MIB)]
        );
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let refused = |change: &dyn Fn(&mut Layout)| {
            let mut layout = layout(2048 * MIB);
            change(&mut layout);
            layout.growth().unwrap_err()
        };
        assert_eq!(refused(&|layout| layout.mbr[510] = 0), Refused::NoMbr);
        assert_eq!(refused(&|layout| layout.mbr[450] = PROTECTIVE), Refused::NoMbr);
        assert_eq!(refused(&|layout| layout.data = 7), Refused::NoData(7));
        let behind = Partition {
            number: 7,
            start: 1400 * MIB,
            size: MIB,
        };
        assert_eq!(
            refused(&|layout| layout.partitions.push(behind)),
            Refused::NotLast(7)
        );
        assert_eq!(
            refused(&|layout| layout.mbr = mbr(&TABLE[..3])),
            Refused::NoExtended(6)
        );
        let mut short = TABLE;
        short[3].2 = 60 * MIB;
        assert_eq!(
            refused(&|layout| layout.mbr = mbr(&short)),
            Refused::NoExtended(6)
        );
    }
}
