//! 128-bit identifiers: the machine-id and the device's uuid.

use std::fmt;
use std::io::Read;
use std::path::Path;

use fleet_base::file::{self, Durability};

/// An identifier of 128 bits, not all zero, shown as 32 lower-case hexadecimal digits (machine-id(5)).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Id(u128);

/// Where an identifier came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It was stored.
    Kept,
    /// There was none; it was made and stored.
    Made,
    /// What was stored was no identifier (a write that a power cut tore); it was made and stored.
    Replaced,
}

/// Why a text is no identifier.
#[derive(Debug, PartialEq, Eq)]
pub struct Invalid;

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an identifier is 32 hexadecimal digits, not all of them 0")
    }
}

impl std::error::Error for Invalid {}

impl Id {
    /// Reads 32 hexadecimal digits; upper case is accepted, hyphens are not.
    ///
    /// # Errors
    /// [`Invalid`].
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        // `from_str_radix` accepts a sign, which is no digit.
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Invalid);
        }
        match u128::from_str_radix(text, 16) {
            Ok(0) | Err(_) => Err(Invalid),
            Ok(bits) => Ok(Self(bits)),
        }
    }

    /// Makes a random identifier (a version 4 UUID, RFC 9562, without its hyphens).
    ///
    /// # Errors
    /// The kernel's random numbers cannot be read.
    pub fn random() -> std::io::Result<Self> {
        // Not /dev/urandom: at first boot it may not be seeded yet, and two devices flashed from one image would get
        // the same identity. /dev/random waits for the seed, and never after (random(4), Linux 5.6).
        let mut bytes = [0; 16];
        std::fs::File::open("/dev/random")?.read_exact(&mut bytes)?;
        let random = u128::from_be_bytes(bytes);
        let version = random & !(0xf << 76) | (0x4 << 76);
        Ok(Self(version & !(0b11 << 62) | (0b10 << 62)))
    }

    /// Reads the identifier stored at `path`, or makes one and stores it durably with permission bits `mode`.
    ///
    /// # Errors
    /// It could not be stored, or no random numbers could be had. A stored one that cannot be read is an error too,
    /// never a reason to make another.
    pub fn load_or_create(path: &Path, mode: u32) -> Result<(Self, Origin), file::Error> {
        // Longer than an identifier with its line end, so that something else is seen to be something else.
        let origin = match file::read(path, 64) {
            Ok(bytes) => match std::str::from_utf8(&bytes).map(str::trim_end).map(Self::parse) {
                Ok(Ok(id)) => return Ok((id, Origin::Kept)),
                _ => Origin::Replaced,
            },
            Err(error) if error.is_not_found() => Origin::Made,
            Err(file::Error::TooLarge(..)) => Origin::Replaced,
            Err(error) => return Err(error),
        };
        let id = Self::random().map_err(|error| file::Error::Write(path.to_owned(), error))?;
        file::write(path, format!("{id}\n").as_bytes(), mode, Durability::Synced)?;
        Ok((id, origin))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_32_digits_and_is_not_zero() {
        for ok in [
            "0123456789abcdef0123456789abcdef",
            "0123456789ABCDEF0123456789abcdef",
        ] {
            assert_eq!(Id::parse(ok).unwrap().to_string(), ok.to_lowercase());
        }
        let bad = [
            "",
            "00000000000000000000000000000000",
            "0123456789abcdef0123456789abcde",
            "0123456789abcdef0123456789abcdef0",
            "+123456789abcdef0123456789abcdef",
            "01234567-89ab-cdef-0123-456789abcdef",
            "0123456789abcdef0123456789abcdeg",
        ];
        for bad in bad {
            assert_eq!(Id::parse(bad), Err(Invalid), "{bad:?}");
        }
    }

    #[test]
    fn random_ones_are_version_4_and_differ() {
        let (one, other) = (Id::random().unwrap(), Id::random().unwrap());
        assert_ne!(one, other);
        let text = one.to_string();
        assert_eq!(&text[12..13], "4");
        assert!("89ab".contains(&text[16..17]));
    }

    #[test]
    fn is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("machine-id");
        let (made, origin) = Id::load_or_create(&path, 0o444).unwrap();
        assert_eq!(origin, Origin::Made);
        assert_eq!(Id::load_or_create(&path, 0o444).unwrap(), (made, Origin::Kept));
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "01234").unwrap();
        let (replaced, origin) = Id::load_or_create(&path, 0o444).unwrap();
        assert_eq!(origin, Origin::Replaced);
        assert_eq!(
            Id::load_or_create(&path, 0o444).unwrap(),
            (replaced, Origin::Kept)
        );
    }

    #[test]
    fn an_unreadable_one_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        assert!(
            Id::load_or_create(folder.path(), 0o444).is_err(),
            "a folder in its place"
        );
    }
}
