//! MBR, read by hand: four entries and a chain of one-entry tables. The crates for it bring a serializer that is no
//! longer kept up.

use super::{FileSystem, Kind, Partition, Table};
use crate::medium::Window;

/// Its unit; disks with MBR and larger sectors are not made.
pub(super) const SECTOR: usize = 512;
const SECTOR_BYTES: u64 = 512;
/// The most logical partitions that are read: a chain may be a circle.
const MOST_LOGICAL: u32 = 60;

/// Type, first sector and number of sectors.
#[derive(Clone, Copy)]
struct Entry {
    kind: u8,
    first: u64,
    count: u64,
}

/// Whether a sector ends as one of a partition table or boot sector does.
pub(super) fn is_signed(sector: &[u8]) -> bool {
    sector.get(510..512) == Some(&[0x55, 0xaa])
}

/// Whether the table says that there is a GPT.
pub(super) fn is_protective(sector: &[u8; SECTOR]) -> bool {
    entries(sector).iter().any(|entry| entry.kind == 0xee)
}

/// Reads the table and the chain of logical partitions.
pub(super) fn read(disk: &Window, sector: &[u8; SECTOR]) -> Result<Table, String> {
    let mut partitions = Vec::new();
    let mut extended = None;
    for (number, entry) in (1..).zip(entries(sector)) {
        match entry.kind {
            0 => {}
            // CHS, LBA, Linux.
            0x05 | 0x0f | 0x85 => extended = Some(entry.first),
            _ => partitions.push(partition(number, entry.first, entry)),
        }
    }
    if let Some(extended) = extended {
        let mut table = extended;
        for number in 5..5 + MOST_LOGICAL {
            let mut sector = [0; SECTOR];
            let read = disk.read_at(table.saturating_mul(SECTOR_BYTES), &mut sector);
            if read.is_err() || !is_signed(&sector) {
                return Err(format!(
                    "its logical partition {number} cannot be read: the image is cut off or damaged"
                ));
            }
            // The first is relative to this table, the second to the first table of the chain.
            let [logical, next, ..] = entries(&sector);
            if logical.kind != 0 {
                partitions.push(partition(number, table.saturating_add(logical.first), logical));
            }
            if next.kind == 0 {
                break;
            }
            table = extended.saturating_add(next.first);
        }
    }
    let signature = sector[440..444].iter().rev();
    Ok(Table {
        kind: Kind::Mbr,
        identity: signature.map(|byte| format!("{byte:02x}")).collect(),
        partitions,
    })
}

fn entries(sector: &[u8; SECTOR]) -> [Entry; 4] {
    [446, 462, 478, 494].map(|place| {
        let number = |place: usize| {
            let bytes = sector[place..place + 4].iter().rev();
            bytes.fold(0, |number, &byte| number << 8 | u64::from(byte))
        };
        Entry {
            kind: sector[place + 4],
            first: number(place + 8),
            count: number(place + 12),
        }
    })
}

fn partition(number: u32, first: u64, entry: Entry) -> Partition {
    Partition {
        number,
        name: String::new(),
        start: first.saturating_mul(SECTOR_BYTES),
        size: entry.count.saturating_mul(SECTOR_BYTES),
        file_system: FileSystem::Unknown,
    }
}
