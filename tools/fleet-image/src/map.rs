//! Keeps the block map beside an image true when the image is changed: the ranges that the changes are in get new checksums,
//! and blocks that held nothing get ranges.

use std::fmt::Write;
use std::fs;
use std::io;
use std::path::PathBuf;

use fleet_medium::bmap::{BlockMap, CONFIGURED, Range};
use fleet_medium::failure::Failure;
use fleet_medium::medium::{Medium, Window};
use fleet_medium::overlay::{self, SECTOR};
use sha2::{Digest, Sha256};

/// What is read at once.
const CHUNK: u64 = 1 << 20;
const SECTOR_BYTES: u64 = 512;

/// A block map's file that is to be replaced.
pub struct Change {
    /// The file itself, not a link to it.
    pub path: PathBuf,
    /// What is in it.
    pub old: Vec<u8>,
    /// What is to be in it.
    pub new: Vec<u8>,
}

/// What becomes of the maps that are found beside an image: beside its name, and beside the file if that is a link.
pub fn changed(medium: &Medium, changes: &[overlay::Change]) -> Result<Vec<Change>, Failure> {
    let mut maps: Vec<Change> = Vec::new();
    if medium.block.is_some() {
        return Ok(maps);
    }
    let file = medium.path.canonicalize();
    let file = file.map_err(|error| Failure::open(&medium.path, &error))?;
    for image in [&medium.path, &file] {
        let Some(map) = BlockMap::find(None, image, false)? else {
            continue;
        };
        let failed = |error| Failure::read(&map.path, &error);
        let path = map.path.canonicalize().map_err(failed)?;
        if maps.iter().all(|change| change.path != path) {
            map.is_of(&medium.path, medium.size)?;
            let old = fs::read(&path).map_err(failed)?;
            let ranges = ranges(&map, medium, changes)?;
            let new = text(&map, &ranges).into_bytes();
            maps.push(Change { path, old, new });
        }
    }
    Ok(maps)
}

/// The ranges of a map after the changes, in their order.
fn ranges(map: &BlockMap, medium: &Medium, changes: &[overlay::Change]) -> Result<Vec<Range>, Failure> {
    let window = medium.window(0, medium.size);
    let hashed = |range: &Range, changes| {
        hash(&window, range, changes).map_err(|error| Failure::read(&medium.path, &error))
    };
    let mut ranges = Vec::new();
    for range in &map.ranges {
        let mut range = range.clone();
        if changes.iter().any(|change| overlaps(&range, change)) {
            let (old, new) = hashed(&range, changes)?;
            // A new checksum of what is damaged would hide the damage.
            if range.sum.is_some_and(|sum| sum != old) {
                return Err(Failure::invalid(format!(
                    "{} is damaged between bytes {} and {}, or was changed by something that left its map as it was: the \
                     checksum in {} is another. Get the image again with its map; or move the map away, if you know why. \
                     Nothing was changed",
                    medium.path.display(),
                    range.start,
                    range.end,
                    map.path.display()
                )));
            }
            range.sum = Some(new);
        }
        ranges.push(range);
    }
    for mut range in added(map, changes) {
        range.sum = Some(hashed(&range, changes)?.1);
        ranges.push(range);
    }
    ranges.sort_by_key(|range| range.start);
    Ok(ranges)
}

/// The blocks that are changed and not in the map, those that follow each other as one.
fn added(map: &BlockMap, changes: &[overlay::Change]) -> Vec<Range> {
    let mut added: Vec<Range> = Vec::new();
    for change in changes {
        let last = change.place + SECTOR_BYTES - 1;
        for block in change.place / map.block_size..=last / map.block_size {
            let start = block * map.block_size;
            let Some(range) = Range::segment(start, map.block_size, Some(map.image_size)) else {
                continue;
            };
            let is_there = |range: &Range| range.start <= start && start < range.end;
            if map.ranges.iter().chain(added.last()).any(is_there) {
                continue;
            }
            match added.last_mut() {
                Some(before) if before.end == start => before.end = range.end,
                _ => added.push(range),
            }
        }
    }
    added
}

const fn overlaps(range: &Range, change: &overlay::Change) -> bool {
    change.place < range.end && range.start < change.place + SECTOR_BYTES
}

/// The checksums of a range as it is, and as it will be.
fn hash(window: &Window, range: &Range, changes: &[overlay::Change]) -> io::Result<([u8; 32], [u8; 32])> {
    let (mut old, mut new) = (Sha256::new(), Sha256::new());
    let mut start = range.start;
    while let Some(chunk) = Range::segment(start, CHUNK, Some(range.end)) {
        let mut bytes = vec![0; usize::try_from(chunk.end - start).map_err(io::Error::other)?];
        window.read_at(start, &mut bytes)?;
        old.update(&bytes);
        for change in changes.iter().filter(|change| overlaps(&chunk, change)) {
            put(&mut bytes, start, change)?;
        }
        new.update(&bytes);
        start = chunk.end;
    }
    Ok((old.finalize().into(), new.finalize().into()))
}

/// Puts what of a changed sector is in a chunk into it.
fn put(chunk: &mut [u8], start: u64, change: &overlay::Change) -> io::Result<()> {
    let number = |value: u64| usize::try_from(value).map_err(io::Error::other);
    let (skipped, at) = (
        number(start.saturating_sub(change.place))?,
        number(change.place.saturating_sub(start))?,
    );
    let length = (SECTOR - skipped).min(chunk.len() - at);
    chunk[at..at + length].copy_from_slice(&change.new[skipped..skipped + length]);
    Ok(())
}

/// A map as bmaptool writes it, but for its explanations.
fn text(map: &BlockMap, ranges: &[Range]) -> String {
    let mut rows = String::new();
    let mut mapped = 0;
    for range in ranges {
        let (first, last) = (range.start / map.block_size, (range.end - 1) / map.block_size);
        mapped += last - first + 1;
        let blocks = if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        };
        let sum = range.sum.map(|sum| format!(" chksum=\"{}\"", hex(&sum)));
        // Writing to a text does not fail.
        let _ = writeln!(
            rows,
            "        <Range{}> {blocks} </Range>",
            sum.unwrap_or_default()
        );
    }
    let zeros = "0".repeat(64);
    let text = format!(
        "<?xml version=\"1.0\" ?>\n<!-- {CONFIGURED} -->\n<bmap version=\"2.0\">\n    \
         <ImageSize> {} </ImageSize>\n    <BlockSize> {} </BlockSize>\n    <BlocksCount> {} </BlocksCount>\n    \
         <MappedBlocksCount> {mapped} </MappedBlocksCount>\n    <ChecksumType> sha256 </ChecksumType>\n    \
         <BmapFileChecksum> {zeros} </BmapFileChecksum>\n    <BlockMap>\n{rows}    </BlockMap>\n</bmap>\n",
        map.image_size,
        map.block_size,
        map.image_size.div_ceil(map.block_size),
    );
    let sum = hex(&Sha256::digest(&text));
    text.replacen(&zeros, &sum, 1)
}

/// Bytes as digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
