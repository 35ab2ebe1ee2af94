//! Time zones.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::Refusal;

/// Where the image has the time zones (tzset(3), tzfile(5)).
pub(crate) const ZONEINFO: &str = "/usr/share/zoneinfo";

/// The name of a time zone as IANA's database has it: `Europe/Berlin`. A path below [`ZONEINFO`] that stays there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timezone(String);

impl Timezone {
    const MAX: usize = 64;

    /// UTC, which holds where none is named.
    #[must_use]
    pub fn utc() -> Self {
        Self("UTC".to_owned())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the image has it: a file with the magic of tzfile(5).
    ///
    /// # Errors
    /// [`Refusal`]: it does not.
    pub(crate) fn exists_in(&self, zoneinfo: &Path) -> Result<(), Refusal> {
        let mut magic = [0; 4];
        let read = File::open(zoneinfo.join(&self.0)).and_then(|mut file| file.read_exact(&mut magic));
        match read {
            Ok(()) if &magic == b"TZif" => Ok(()),
            _ => Err(Refusal::of(
                &self.0,
                "this image has no such time zone (`ls /usr/share/zoneinfo` on the device shows those it has)",
            )),
        }
    }
}

impl TryFrom<&str> for Timezone {
    type Error = Refusal;

    fn try_from(text: &str) -> Result<Self, Refusal> {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-".contains(&byte);
        let segment = |segment: &str| !segment.is_empty() && segment.bytes().all(inner);
        if text.len() <= Self::MAX && text.split('/').all(segment) {
            return Ok(Self(text.to_owned()));
        }
        Err(Refusal::of(
            text,
            "the name of a time zone, such as Europe/Berlin, was expected: letters, digits, _ + - and single slashes \
             between them, at most 64 characters",
        ))
    }
}

impl fmt::Display for Timezone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_below_the_folder() {
        for ok in [
            "UTC",
            "Europe/Berlin",
            "America/Argentina/Buenos_Aires",
            "Etc/GMT+5",
            "GMT-0",
        ] {
            assert!(Timezone::try_from(ok).is_ok(), "{ok}");
        }
        let long = "a".repeat(65);
        for bad in [
            "",
            "/",
            "/etc/shadow",
            "../../etc/shadow",
            "Europe/../x",
            "Europe//Berlin",
            "Europe/",
            ".",
            "Europe/Berlin\n",
            "Europe/B\0",
            "Ünited",
            "CET-1CEST,M3.5.0",
            ":UTC",
            &long,
        ] {
            assert!(Timezone::try_from(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_image_must_have_it() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("Europe")).unwrap();
        std::fs::write(folder.path().join("Europe/Berlin"), "TZif2...").unwrap();
        std::fs::write(folder.path().join("leapseconds"), "# leap").unwrap();
        std::fs::write(folder.path().join("short"), "TZ").unwrap();
        let exists = |name| Timezone::try_from(name).unwrap().exists_in(folder.path()).is_ok();
        assert!(exists("Europe/Berlin"));
        for bad in ["Europe", "Europe/Nowhere", "leapseconds", "short"] {
            assert!(!exists(bad), "{bad}");
        }
    }
}
