//! What tells a device that is being changed from all others: a random name on itself, for as long as that takes. Nothing else
//! does: cards of one image have one GUID and the same bytes, and of cards in a reader the kernel knows the reader's serial
//! number.
//!
//! It is in the first sector of the boot partition, in the code for a PC's BIOS that a FAT has there, behind the fields of
//! FAT32 and before the signature.

use std::fs::File;
use std::io::{self, Read};

use fleet_medium::medium::Medium;
use fleet_medium::overlay::{Change, SECTOR, Sector};
use fleet_medium::table::{Partition, Table};

use crate::map::hex;

const PLACE: usize = 416;
const WORDS: &[u8] = b"fleet-image undo ";
const DIGITS: usize = 32;

/// A mark for a device.
pub struct Mark {
    pub name: String,
    /// Puts it there.
    pub set: Change,
}

impl Mark {
    /// A new one, for the boot partition.
    pub fn new(medium: &Medium, boot: &Partition) -> io::Result<Self> {
        let mut random = [0; DIGITS / 2];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        let name = hex(&random);
        let mut old = [0; SECTOR];
        medium.window(boot.start, boot.size).read_at(0, &mut old)?;
        let mut new = old;
        new[PLACE..][..WORDS.len()].copy_from_slice(WORDS);
        new[PLACE + WORDS.len()..][..DIGITS].copy_from_slice(name.as_bytes());
        let place = boot.start;
        let set = Change { place, old, new };
        Ok(Self { name, set })
    }
}

/// The name that is on a medium.
pub fn find(medium: &Medium, table: &Table) -> Option<String> {
    table.partitions.iter().find_map(|partition| {
        let mut sector = [0; SECTOR];
        let window = medium.window(partition.start, partition.size);
        window.read_at(0, &mut sector).ok()?;
        name(&sector)
    })
}

fn name(sector: &Sector) -> Option<String> {
    let digits = sector[PLACE..].strip_prefix(WORDS)?.get(..DIGITS)?;
    // It becomes a file's name.
    let is_hex = digits.iter().all(u8::is_ascii_hexdigit);
    is_hex.then(|| String::from_utf8_lossy(digits).into_owned())
}
