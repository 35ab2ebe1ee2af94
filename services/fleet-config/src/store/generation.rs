//! One generation of the store as it is in its file: a header line, the body, and blanks.
//!
//! ```text
//! fleet-config 1 1 42 17 1834 ba7816bf…20015ad
//! {"revision":17,…}
//! ```
//!
//! The header is the magic word, the format version of the body, the oldest reader's version that can read it, the
//! sequence number of the generation, the revision in it, the length of the body in bytes, and the SHA-256 of all of
//! these and the body. A file that a power cut tore, or in which a bit changed, is told by that sum.

use super::hash::Hash;

/// The first word of the file.
const MAGIC: &str = "fleet-config";
/// What this release writes, and the newest it understands. A release that only adds fields does not raise it: fields
/// that are not known are kept.
pub(super) const FORMAT: u64 = 1;
/// The oldest reader that can read what this release writes. Raised one release after the one that can read it, so that
/// going back a slot works.
const OLDEST_READER: u64 = 1;
/// The file grows by this much, so that writing into it changes nothing but its data; what a page of ext4 has.
const STEP: usize = 4096;

/// What a whole generation says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Counts writes of the store. The higher one of two is the newer one.
    pub(super) sequence: u64,
    /// The revision of the configuration in it.
    pub(super) revision: u64,
    /// Whether this release can read the body.
    pub(super) is_readable: bool,
}

/// The bytes of a file for this body, with blanks up to a multiple of [`STEP`], and over everything that is in the
/// first `used` bytes of the file now: what was removed must not stay readable behind the end.
pub(super) fn encode(sequence: u64, revision: u64, body: &[u8], used: usize) -> Vec<u8> {
    let fields = fields(FORMAT, OLDEST_READER, sequence, revision, body.len());
    let sum = Hash::of_parts(&[fields.as_bytes(), body]);
    let mut bytes = format!("{fields}{sum}\n").into_bytes();
    bytes.extend_from_slice(body);
    bytes.push(b'\n');
    let length = bytes.len().max(used).next_multiple_of(STEP);
    bytes.resize(length, b' ');
    bytes
}

/// A file without a generation.
pub(super) fn blank(length: usize) -> Vec<u8> {
    vec![b' '; length]
}

/// How much of a file is not blank at its end.
pub(super) fn used(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .rposition(|byte| *byte != b' ')
        .map_or(0, |last| last + 1)
}

/// The header and the body, if the generation is whole.
pub(super) fn decode(bytes: &[u8]) -> Option<(Header, &[u8])> {
    let end = bytes.iter().take(256).position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut words = line.split(' ');
    if words.next() != Some(MAGIC) {
        return None;
    }
    let mut number = || words.next()?.parse::<u64>().ok();
    let (format, oldest_reader, sequence, revision) = (number()?, number()?, number()?, number()?);
    let length = usize::try_from(number()?).ok()?;
    let sum = Hash::parse(words.next()?)?;
    let body = bytes.get(end + 1..)?.get(..length)?;
    // Made again and compared as text, so that there is one way to write a header.
    let fields = fields(format, oldest_reader, sequence, revision, length);
    if line != format!("{fields}{sum}") || Hash::of_parts(&[fields.as_bytes(), body]) != sum {
        return None;
    }
    let header = Header {
        sequence,
        revision,
        is_readable: oldest_reader <= FORMAT,
    };
    Some((header, body))
}

fn fields(format: u64, oldest_reader: u64, sequence: u64, revision: u64, length: usize) -> String {
    format!("{MAGIC} {format} {oldest_reader} {sequence} {revision} {length} ")
}

/// The same for a body that only a newer release can read.
#[cfg(test)]
pub(super) fn encode_for_newer(sequence: u64, revision: u64, body: &[u8]) -> Vec<u8> {
    let fields = fields(FORMAT + 1, FORMAT + 1, sequence, revision, body.len());
    let sum = Hash::of_parts(&[fields.as_bytes(), body]);
    [fields.as_bytes(), format!("{sum}\n").as_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_damage_is_told() {
        let bytes = encode(3, 2, br#"{"a":1}"#, 0);
        let (header, body) = decode(&bytes).unwrap();
        assert_eq!(
            (header.sequence, header.revision, body),
            (3, 2, &br#"{"a":1}"#[..])
        );
        let whole = used(&bytes) - 1;
        for length in 0..whole {
            assert_eq!(decode(&bytes[..length]), None, "cut at {length}");
        }
        for at in 0..whole {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert_eq!(decode(&damaged), None, "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn nothing_of_a_longer_one_stays() {
        let long = encode(1, 1, &[b'x'; 9000], 0);
        assert_eq!(long.len(), 12288);
        let short = encode(2, 2, b"{}", used(&long));
        assert_eq!(short.len(), 12288);
        assert_eq!(encode(3, 3, b"{}", used(&short)).len(), 4096);
    }
}
