//! How much room the journal may take.
//!
//! What the configuration says stands in the drop-in that is rendered for journald, in a section that journald skips
//! (systemd.syntax(7): sections whose name begins with `X-`): journald's own numbers there are smaller, because it
//! exceeds them by the files that it has open.

use std::path::Path;

use fleet_base::file;

const MIB: u64 = 1024 * 1024;

/// The section in the drop-in.
const SECTION: &str = "[X-Fleet]";
/// Far more than the drop-in has.
const MAX_BYTES: u64 = 64 * 1024;

/// The least that a journal takes: a full file and the one that is written.
const LEAST_USE: u64 = 8 * MIB;
/// The least that may be kept free.
const LEAST_FREE: u64 = MIB;

/// How much room the journal may take on the data partition, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// All files of the journal together.
    pub(crate) max_use: u64,
    /// What has to stay free beside it.
    pub(crate) keep_free: u64,
    /// Whether journald knows the first of them.
    pub(crate) journald_holds_max_use: bool,
    /// How large two files of journald's may be, of which one is open: what it needs beside what is there.
    pub(crate) two_files: u64,
}

impl Default for Limits {
    /// For a drop-in that is missing. The product's defaults are in `fleet.toml`.
    fn default() -> Self {
        Self {
            max_use: 128 * MIB,
            keep_free: 64 * MIB,
            journald_holds_max_use: true,
            two_files: 32 * MIB,
        }
    }
}

impl Limits {
    /// Reads the drop-in. What is missing or damaged in it is the default.
    pub(crate) fn read(drop_in: &Path) -> Self {
        let text = file::read(drop_in, MAX_BYTES).unwrap_or_default();
        Self::parse(&String::from_utf8_lossy(&text))
    }

    fn parse(text: &str) -> Self {
        let section = text
            .lines()
            .skip_while(|line| *line != SECTION)
            .skip(1)
            .take_while(|line| !line.starts_with('['));
        let mut limits = Self::default();
        for (name, number) in section.filter_map(|line| line.split_once('=')) {
            let Ok(number) = number.parse::<u64>() else {
                continue;
            };
            match name {
                "MaxUse" => {
                    limits.max_use = number.max(LEAST_USE);
                    limits.two_files = limits.max_use / 4;
                }
                "KeepFree" => limits.keep_free = number.max(LEAST_FREE),
                _ => {}
            }
        }
        limits
    }
}

/// Limits of a call: stricter than the configuration's for as long as the call is in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stricter {
    /// Bytes; 0: none.
    pub(crate) max_use: u64,
    /// Bytes; 0: none.
    pub(crate) keep_free: u64,
}

impl Stricter {
    /// Checks the numbers of a call.
    ///
    /// # Errors
    /// The rule that one of them breaks.
    pub(crate) fn new(max_use: u64, keep_free: u64, configured: Limits) -> Result<Self, String> {
        // journald's files have their size from the configuration; a few of them have to fit.
        let least = configured.max_use / 2;
        if max_use != 0 && !(least..=configured.max_use).contains(&max_use) {
            return Err(format!(
                "a maximum of {max_use} bytes is refused: {least} to {} bytes were expected, half of \
                 os.journal.maxUse to all of it",
                configured.max_use
            ));
        }
        // More than any card here has would be a journal that never comes.
        const MOST_FREE: u64 = 64 * 1024 * MIB;
        if keep_free != 0 && !(configured.keep_free..=MOST_FREE).contains(&keep_free) {
            return Err(format!(
                "{keep_free} bytes to keep free are refused: {}, which is what os.journal.keepFree wants, to {MOST_FREE} \
                 bytes (64G) were expected",
                configured.keep_free
            ));
        }
        Ok(Self { max_use, keep_free })
    }

    /// Whether there is any.
    pub(crate) fn is_some(self) -> bool {
        self != Self::default()
    }

    /// Both together.
    pub(crate) fn within(self, configured: Limits) -> Limits {
        let max_use = match self.max_use {
            0 => configured.max_use,
            // The configuration may have become stricter since.
            stricter => stricter.min(configured.max_use),
        };
        Limits {
            max_use,
            keep_free: self.keep_free.max(configured.keep_free),
            journald_holds_max_use: max_use == configured.max_use,
            ..configured
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_section_only() {
        let text = "[Journal]\nMaxUse=1\nSystemMaxUse=2\n[X-Fleet]\nMaxUse=67108864\nKeepFree=33554432\nRetention=0\n\
                    [X-Other]\nMaxUse=3\n";
        let limits = Limits {
            max_use: 64 * MIB,
            keep_free: 32 * MIB,
            journald_holds_max_use: true,
            two_files: 16 * MIB,
        };
        assert_eq!(Limits::parse(text), limits);
        for damaged in [
            "",
            "[X-Fleet]",
            "[X-Fleet]\nMaxUse=many\nKeepFree=-1\n",
            "MaxUse=67108864\n",
        ] {
            assert_eq!(Limits::parse(damaged), Limits::default(), "{damaged}");
        }
        assert_eq!(Limits::parse("[X-Fleet]\nMaxUse=0\n").max_use, LEAST_USE);
        assert_eq!(Limits::read(Path::new("/does/not/exist")), Limits::default());
    }

    #[test]
    fn a_call_is_stricter_or_refused() {
        let configured = Limits::default();
        for (max_use, keep_free, word) in [
            (64 * MIB - 1, 0, "os.journal.maxUse"),
            (129 * MIB, 0, "os.journal.maxUse"),
            (u64::MAX, 0, "os.journal.maxUse"),
            (0, 1, "os.journal.keepFree"),
            (0, u64::MAX, "64G"),
        ] {
            let refused = Stricter::new(max_use, keep_free, configured).unwrap_err();
            assert!(refused.contains(word), "{refused}");
        }
        let none = Stricter::new(0, 0, configured).unwrap();
        assert!(!none.is_some() && none.within(configured) == configured);
        let both = Stricter::new(64 * MIB, 100 * MIB, configured).unwrap();
        let limits = Limits {
            max_use: 64 * MIB,
            keep_free: 100 * MIB,
            journald_holds_max_use: false,
            ..configured
        };
        assert!(both.is_some() && both.within(configured) == limits);
    }
}
