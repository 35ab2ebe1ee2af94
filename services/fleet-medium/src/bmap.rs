//! Block maps, version 2 of the format (bmaptool's `BmapCreate.py`; Yocto writes them beside its images): which blocks
//! of an image hold anything, and the SHA-256 of each range of them.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use fleet_base::file;
use hmac_sha256::Hash;
use roxmltree::{Document, Node};

use crate::failure::Failure;

/// The largest block map; one of a fragmented image of 64 GiB has some MiB.
const MAX_BYTES: u64 = 64 << 20;

/// What a map says in a comment that was made anew for a configured image: it is not that of the packed image any more.
pub const CONFIGURED: &str = "made anew by fleet-image configure";

/// A block map.
pub struct BlockMap {
    /// Its file.
    pub path: PathBuf,
    /// In bytes.
    pub image_size: u64,
    /// In bytes: what its ranges are counted in.
    pub block_size: u64,
    /// What is to be written, in the order of the places, none over another.
    pub ranges: Vec<Range>,
}

/// Bytes that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first byte.
    pub start: u64,
    /// The first byte behind it.
    pub end: u64,
    /// The SHA-256 of its bytes, if the map has it.
    pub sum: Option<[u8; 32]>,
}

impl Range {
    /// Of an image without a block map. None if it would begin behind the image.
    #[must_use]
    pub fn segment(start: u64, length: u64, size: Option<u64>) -> Option<Self> {
        let end = start.saturating_add(length).min(size.unwrap_or(u64::MAX));
        (start < end).then_some(Self {
            start,
            end,
            sum: None,
        })
    }
}

impl BlockMap {
    /// Reads the one that was named, or the one beside the image. None if there is none there.
    ///
    /// # Errors
    /// It cannot be read, or is no block map.
    pub fn find(named: Option<&Path>, image: &Path, is_packed: bool) -> Result<Option<Self>, Failure> {
        if let Some(path) = named {
            return Ok(Some(Self::read(path)?.0));
        }
        let beside = |image: &Path| {
            let mut name = OsString::from(image);
            name.push(".bmap");
            PathBuf::from(name)
        };
        // Yocto's is of the image before it was compressed.
        let places = [beside(image), beside(&image.with_extension(""))];
        let Some(path) = places.iter().find(|path| path.is_file()) else {
            return Ok(None);
        };
        let (map, is_configured) = Self::read(path)?;
        Ok((!is_packed || !is_configured).then_some(map))
    }

    /// Refuses a raw image of another size.
    ///
    /// # Errors
    /// They do not belong together.
    pub fn is_of(&self, image: &Path, size: u64) -> Result<(), Failure> {
        if self.image_size == size {
            return Ok(());
        }
        Err(Failure::invalid(format!(
            "{} is of an image of {} bytes, {} has {size}: it is of another image, or the image is cut off or was changed",
            self.path.display(),
            self.image_size,
            image.display()
        )))
    }

    /// Also returns whether it was made anew for a configured image.
    fn read(path: &Path) -> Result<(Self, bool), Failure> {
        let bytes = file::read(path, MAX_BYTES).map_err(|error| match &error {
            file::Error::Read(_, source) if source.kind() == io::ErrorKind::NotFound => {
                Failure::open(path, source)
            }
            _ => Failure::invalid(error.to_string()),
        })?;
        let parsed = std::str::from_utf8(&bytes)
            .map_err(|error| error.to_string())
            .and_then(|text| Ok((parse(text)?, text.contains(CONFIGURED))));
        let ((image_size, block_size, ranges), is_configured) = parsed.map_err(|why| {
            Failure::invalid(format!(
                "{}: {why}. Get the image's own, or move it away: then every block is written",
                path.display()
            ))
        })?;
        let map = Self {
            path: path.to_owned(),
            image_size,
            block_size,
            ranges,
        };
        Ok((map, is_configured))
    }

    /// How many bytes are to be written.
    #[must_use]
    pub fn mapped(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }
}

/// The sizes of image and block, and the ranges.
fn parse(text: &str) -> Result<(u64, u64, Vec<Range>), String> {
    let document = Document::parse(text).map_err(|error| format!("it is no XML: {error}"))?;
    let root = document.root_element();
    if root.tag_name().name() != "bmap" {
        return Err("it is no block map: its root element is not bmap".to_owned());
    }
    let version = root.attribute("version").unwrap_or_default();
    if !version.starts_with("2.") {
        return Err(format!(
            "it has version {version:?} of the format, and 2.0 is what is read here"
        ));
    }
    let kind = element(root, "ChecksumType")?;
    if !kind.eq_ignore_ascii_case("sha256") {
        return Err(format!(
            "its checksums are {kind:?}, and sha256 is what is read here"
        ));
    }
    check_itself(text, root)?;
    let number = |name| {
        let text = element(root, name)?;
        text.parse::<u64>()
            .map_err(|_| format!("{name} is {text:?}, not a number"))
    };
    let (size, block) = (number("ImageSize")?, number("BlockSize")?);
    if block == 0 || size == 0 {
        return Err("ImageSize or BlockSize is 0".to_owned());
    }
    let map = child(root, "BlockMap").ok_or("there is no BlockMap in it")?;
    let mut ranges: Vec<Range> = Vec::new();
    let mut blocks = 0;
    for node in map.children().filter(|node| node.has_tag_name("Range")) {
        let range = range(node, block, size)?;
        if ranges.last().is_some_and(|last| last.end > range.start) {
            return Err(format!("its ranges are not in order at byte {}", range.start));
        }
        blocks += (range.end - range.start).div_ceil(block);
        ranges.push(range);
    }
    if child(root, "MappedBlocksCount").is_some() && number("MappedBlocksCount")? != blocks {
        return Err("MappedBlocksCount is not the sum of its ranges".to_owned());
    }
    match ranges.is_empty() {
        true => Err("it maps no block".to_owned()),
        false => Ok((size, block, ranges)),
    }
}

/// The map's own checksum is that of the file with zeros in its place.
fn check_itself(text: &str, root: Node<'_, '_>) -> Result<(), String> {
    let Some(node) = child(root, "BmapFileChecksum") else {
        return Err("there is no BmapFileChecksum in it".to_owned());
    };
    let sum = node.text().unwrap_or_default().trim();
    let zeroed = text.replacen(sum, &"0".repeat(sum.len()), 1);
    if sum.len() != 64 || decoded(sum) != Some(Hash::hash(zeroed.as_bytes())) {
        return Err("it is damaged: its own checksum is another".to_owned());
    }
    Ok(())
}

fn range(node: Node<'_, '_>, block: u64, size: u64) -> Result<Range, String> {
    let text = node.text().unwrap_or_default().trim();
    let wrong = || format!("{text:?} is no range of blocks of the image");
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.trim().parse::<u64>().map_err(|_| wrong());
    let start = number(first)?.checked_mul(block).ok_or_else(wrong)?;
    let end = number(last)?
        .checked_add(1)
        .and_then(|end| end.checked_mul(block));
    // The last block may be cut off by the image's end.
    let end = end.ok_or_else(wrong)?.min(size);
    if start >= end {
        return Err(wrong());
    }
    let sum = match node.attribute("chksum") {
        Some(sum) => Some(decoded(sum).ok_or_else(|| format!("{sum:?} is no SHA-256"))?),
        None => None,
    };
    Ok(Range { start, end, sum })
}

fn child<'a, 'b>(node: Node<'a, 'b>, name: &str) -> Option<Node<'a, 'b>> {
    node.children().find(|child| child.has_tag_name(name))
}

fn element<'a>(root: Node<'a, '_>, name: &str) -> Result<&'a str, String> {
    let text = child(root, name).and_then(|node| node.text());
    Ok(text.ok_or_else(|| format!("there is no {name} in it"))?.trim())
}

fn decoded(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let digits = text.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUM: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn map(size: &str, ranges: &str) -> String {
        sealed(&format!(
            "<?xml version=\"1.0\" ?>\n<bmap version=\"2.0\">\n<ImageSize> {size} </ImageSize>\n<BlockSize> 4096 </BlockSize>\n\
             <ChecksumType> sha256 </ChecksumType>\n<BmapFileChecksum> {} </BmapFileChecksum>\n<BlockMap>\n{ranges}</BlockMap>\n\
             </bmap>\n",
            "0".repeat(64)
        ))
    }

    fn sealed(text: &str) -> String {
        let sum: String = Hash::hash(text.as_bytes())
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        text.replacen(&"0".repeat(64), &sum, 1)
    }

    #[test]
    fn ranges_are_read() {
        let text = map(
            "20000",
            &format!("<Range chksum=\"{SUM}\"> 0-1 </Range>\n<Range> 4 </Range>\n"),
        );
        let (size, block, ranges) = parse(&text).unwrap();
        assert_eq!((size, block), (20000, 4096));
        assert_eq!(
            ranges,
            [
                Range {
                    start: 0,
                    end: 8192,
                    sum: decoded(SUM)
                },
                Range {
                    start: 16384,
                    end: 20000,
                    sum: None
                }
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_told() {
        let good = map("20000", "<Range> 0 </Range>");
        let bad = [
            ("", "no XML"),
            ("<a/>", "no block map"),
            (&good.replace("2.0", "1.3"), "version"),
            (&good.replace("sha256", "sha1"), "sha1"),
            (&good.replace("20000", "20001"), "damaged"),
            (&map("20000", ""), "maps no block"),
            (&map("20000", "<Range> 5 </Range>"), "no range"),
            (&map("20000", "<Range> 2-1 </Range>"), "no range"),
            (&map("20000", "<Range> x </Range>"), "no range"),
            (&map("20000", "<Range> 18446744073709551615 </Range>"), "no range"),
            (&map("20000", "<Range chksum=\"1\"> 0 </Range>"), "no SHA-256"),
            (
                &map("20000", "<Range> 0-2 </Range><Range> 2 </Range>"),
                "not in order",
            ),
            (&map("x", "<Range> 0 </Range>"), "not a number"),
        ];
        for (text, hint) in bad {
            let why = parse(text).unwrap_err();
            assert!(why.contains(hint), "{text}: {why}");
        }
    }
}
