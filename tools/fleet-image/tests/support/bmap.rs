//! Block maps, made as bmaptool makes them: of the blocks that are not all zeros.

use std::fmt::Write;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::path::Path;

use anyhow::Result;
use sha2::{Digest, Sha256};

const BLOCK: u64 = 4096;

/// The block map of an image, as text.
pub fn of(image: &Path) -> Result<String> {
    let file = File::open(image)?;
    let size = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let mut ranges: Vec<(u64, u64, Sha256)> = Vec::new();
    let mut block = vec![0; usize::try_from(BLOCK)?];
    let mut mapped = 0;
    for number in 0..size.div_ceil(BLOCK) {
        let length = usize::try_from(BLOCK.min(size - number * BLOCK))?;
        match reader.read_exact(&mut block[..length]) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
            other => other?,
        }
        if block[..length].iter().all(|&byte| byte == 0) {
            continue;
        }
        mapped += 1;
        match ranges.last_mut() {
            Some((_, last, sum)) if *last + 1 == number => {
                *last = number;
                sum.update(&block[..length]);
            }
            _ => ranges.push((number, number, Sha256::new_with_prefix(&block[..length]))),
        }
    }
    let mut map = String::new();
    for (first, last, sum) in ranges {
        let span = if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        };
        writeln!(
            map,
            "        <Range chksum=\"{}\"> {span} </Range>",
            hex(sum.finalize().as_slice())
        )?;
    }
    let zeros = "0".repeat(64);
    let text = format!(
        "<?xml version=\"1.0\" ?>\n<!-- made by a test -->\n<bmap version=\"2.0\">\n    <ImageSize> {size} </ImageSize>\n    \
         <BlockSize> {BLOCK} </BlockSize>\n    <BlocksCount> {} </BlocksCount>\n    <MappedBlocksCount> {mapped} \
         </MappedBlocksCount>\n    <ChecksumType> sha256 </ChecksumType>\n    <BmapFileChecksum> {zeros} \
         </BmapFileChecksum>\n    <BlockMap>\n{map}    </BlockMap>\n</bmap>\n",
        size.div_ceil(BLOCK)
    );
    let sum = hex(Sha256::digest(&text).as_slice());
    Ok(text.replacen(&zeros, &sum, 1))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
