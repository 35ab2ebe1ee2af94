//! What journald is told, so that the limit that was asked for is one.
//!
//! journald's own `SystemMaxUse=` is what it removes *archived* files down to when it has begun a new one. What it takes
//! in the meantime comes on top: the file that is written grows to its full size, and the next one is made before the
//! oldest is removed (`server_rotate_journal`, `journal_directory_vacuum` of systemd 257). So it gets a lower limit
//! than was asked for, by the two files that can come on top, and one file a folder: no user has files of his own.

use crate::config::JournalLimits;
use crate::value::{KeepFree, MaxUse, RateBurst, RateInterval, Retention, SyncInterval};

const MIB: u64 = 1024 * 1024;
const DAY: u64 = 24 * 3600;

/// Used when the product's defaults do not say it either; the same numbers as in its `fleet.toml`, where the reasons are.
const MAX_USE: u64 = 128 * MIB;
const KEEP_FREE: u64 = 64 * MIB;
const RETENTION: u64 = 0;
const RATE_INTERVAL: u64 = 30;
const RATE_BURST: u64 = 10_000;
const SYNC_INTERVAL: u64 = 300;

/// A file is this part of the limit: as many are kept at least, less two, so that removing the oldest costs an eighth.
const FILES: u64 = 8;
/// Sizes are whole pages (`journal_default_metrics`).
const PAGE: u64 = 4096;
/// What the folders of the journal take beside its files.
const FOLDERS: u64 = 16 * PAGE;
/// No file is larger, so that the 100 files that journald keeps (`SystemMaxFiles=`) are enough for the largest limit.
const LARGEST_FILE: u64 = 1024 * MIB;
/// How long a file is written at most when nothing is too old: journald's own, a month.
const LONGEST_FILE: u64 = 30 * DAY;

/// The limits and the pace of the journal, complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JournalSettings {
    /// Bytes.
    max_use: u64,
    /// Bytes.
    keep_free: u64,
    /// Seconds; 0: no limit.
    retention: u64,
    /// Seconds; 0: no limit.
    rate_interval: u64,
    /// Messages; 0: no limit.
    rate_burst: u64,
    /// Seconds.
    sync_interval: u64,
}

impl JournalSettings {
    /// What the configuration says, else the product, else this module.
    pub(crate) fn new(config: &JournalLimits, product: &JournalLimits) -> Self {
        fn number<T: Copy>(
            config: Option<T>,
            product: Option<T>,
            get: impl Fn(T) -> u64,
            built_in: u64,
        ) -> u64 {
            config.or(product).map_or(built_in, get)
        }
        Self {
            max_use: number(config.max_use, product.max_use, MaxUse::get, MAX_USE),
            keep_free: number(config.keep_free, product.keep_free, KeepFree::get, KEEP_FREE),
            retention: number(config.retention, product.retention, Retention::get, RETENTION),
            rate_interval: number(
                config.rate_interval,
                product.rate_interval,
                RateInterval::get,
                RATE_INTERVAL,
            ),
            rate_burst: number(config.rate_burst, product.rate_burst, RateBurst::get, RATE_BURST),
            sync_interval: number(
                config.sync_interval,
                product.sync_interval,
                SyncInterval::get,
                SYNC_INTERVAL,
            ),
        }
    }

    /// The largest that one file gets, in bytes.
    fn file_size(&self) -> u64 {
        (self.max_use / FILES / PAGE * PAGE).min(LARGEST_FILE)
    }

    /// How long one file is written, in seconds: what is removed goes by file, once the oldest record in it is too old.
    fn file_span(&self) -> u64 {
        match self.retention {
            0 => LONGEST_FILE,
            retention => (retention / FILES).min(LONGEST_FILE),
        }
    }

    /// For journald (journald.conf(5)).
    pub(crate) fn for_journald(&self) -> [(&'static str, u64); 8] {
        let file_size = self.file_size();
        [
            (
                "SystemMaxUse",
                self.max_use.saturating_sub(2 * file_size + FOLDERS),
            ),
            ("SystemMaxFileSize", file_size),
            // fleet-journal goes to RAM at the whole of it, before journald removes old files for the room of others.
            ("SystemKeepFree", self.keep_free / 2),
            ("MaxRetentionSec", self.retention),
            ("MaxFileSec", self.file_span()),
            ("RateLimitIntervalSec", self.rate_interval),
            ("RateLimitBurst", self.rate_burst),
            ("SyncIntervalSec", self.sync_interval),
        ]
    }

    /// What was asked for: for `fleet-journal`, and for the report.
    pub(crate) const fn asked_for(&self) -> [(&'static str, u64); 3] {
        [
            ("MaxUse", self.max_use),
            ("KeepFree", self.keep_free),
            ("Retention", self.retention),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::defaults::Defaults;

    fn settings(max_use: u64, retention: u64) -> JournalSettings {
        let config = JournalLimits {
            max_use: Some(MaxUse::try_from(&json!(max_use)).unwrap()),
            retention: Some(Retention::try_from(&json!(retention)).unwrap()),
            ..JournalLimits::default()
        };
        JournalSettings::new(&config, &JournalLimits::default())
    }

    fn told(settings: &JournalSettings, name: &str) -> u64 {
        let told = settings.for_journald();
        told.iter().find(|(listed, _)| *listed == name).unwrap().1
    }

    #[test]
    fn the_products_file_says_the_same_as_this_module() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist/usr/lib/fleet/fleet.toml");
        let (product, errors) = Defaults::load(&file);
        assert!(errors.is_empty(), "{errors:?}");
        let JournalLimits {
            max_use,
            keep_free,
            retention,
            rate_interval,
            rate_burst,
            sync_interval,
        } = product.journal;
        assert!(max_use.is_some() && keep_free.is_some() && retention.is_some() && sync_interval.is_some());
        assert!(rate_interval.is_some() && rate_burst.is_some() && product.sync_level.is_some());
        let none = JournalLimits::default();
        assert_eq!(
            JournalSettings::new(&none, &product.journal),
            JournalSettings::new(&none, &none)
        );
    }

    proptest! {
        /// What can come on top of journald's own limit fits into ours, and journald takes each number as it is
        /// (`journal_default_metrics`): a file of 512 KiB at least, two of them within the limit.
        #[test]
        fn two_files_more_are_within_the_limit(max_use in 8_388_608_u64..=68_719_476_736, retention in 3600_u64..=316_224_000) {
            let settings = settings(max_use, retention);
            let (limit, file) = (told(&settings, "SystemMaxUse"), told(&settings, "SystemMaxFileSize"));
            prop_assert!(limit + 2 * file + FOLDERS <= max_use);
            prop_assert!(file >= 1_044_480 && file % PAGE == 0 && 2 * file <= limit, "{}", file);
            prop_assert!(limit / file < 98, "{} files", limit / file);
            let span = told(&settings, "MaxFileSec");
            prop_assert!(span > 0 && FILES * span <= retention);
        }
    }

    #[test]
    fn the_sizes_of_the_ends_and_of_the_default() {
        let sizes = |max_use| {
            let settings = settings(max_use, 0);
            (
                (told(&settings, "SystemMaxUse") + FOLDERS) / MIB,
                told(&settings, "SystemMaxFileSize") / MIB,
            )
        };
        assert_eq!(sizes(8 * MIB), (6, 1));
        assert_eq!(sizes(128 * MIB), (96, 16));
        assert_eq!(sizes(64 * 1024 * MIB), (62 * 1024, 1024));
        assert_eq!(told(&settings(8 * MIB, 0), "MaxFileSec"), 30 * DAY);
    }
}
