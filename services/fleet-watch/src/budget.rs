//! The data that probes may take in a month on uplinks that are paid by volume.
//!
//! It is kept over reboots, and written at most once a day: what is written is what was used so far and the whole share
//! of the day that begins, a 31st of the month's. So no more than that share is used in a day, nothing that was used is
//! forgotten at a reboot, and a reboot costs no more than the rest of that share.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use fleet_base::file::{self, Durability};

/// Far more than the file has.
const MAX_BYTES: u64 = 256;
const SECONDS_A_DAY: u64 = 86_400;
const DAYS: u64 = 31;

/// What is used, and what is left.
#[derive(Debug)]
pub(crate) struct Budget {
    path: PathBuf,
    limit: u64,
    /// Since 1970; of the day that the rest is about. Never goes back, whatever the clock does.
    day: u64,
    /// In the month of this day, before it.
    used_before: u64,
    used_today: u64,
    /// Whether this day's share is on the state partition.
    written: bool,
}

impl Budget {
    /// What was used, as it is in the file.
    pub(crate) fn read(path: &Path, limit: u64) -> Self {
        let text = file::read(path, MAX_BYTES).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let mut numbers = text.split_ascii_whitespace().map(str::parse::<u64>);
        let (day, used, written) = match (numbers.next(), numbers.next()) {
            (Some(Ok(day)), Some(Ok(used))) => (day, used, true),
            _ => (0, 0, false),
        };
        Self {
            path: path.to_owned(),
            limit,
            day,
            used_before: used,
            used_today: 0,
            written,
        }
    }

    pub(crate) const fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    /// Whether there is something left, of the month and of today.
    pub(crate) fn allows(&mut self) -> bool {
        self.allows_on(today())
    }

    fn allows_on(&mut self, today: u64) -> bool {
        self.turn_to(today);
        self.used_today < self.share() && self.used_before + self.used_today < self.limit
    }

    /// Counts what was used.
    pub(crate) fn spend(&mut self, bytes: u64) {
        self.spend_on(bytes, today());
    }

    fn spend_on(&mut self, bytes: u64, today: u64) {
        self.turn_to(today);
        self.used_today += bytes;
        if self.written || bytes == 0 {
            return;
        }
        self.written = true;
        let line = format!("{} {}\n", self.day, self.used_before + self.share());
        if let Err(error) = file::write(&self.path, line.as_bytes(), 0o644, Durability::Synced) {
            log::warn!("what probes used is forgotten at a reboot: {error}");
        }
    }

    const fn share(&self) -> u64 {
        self.limit / DAYS
    }

    fn turn_to(&mut self, today: u64) {
        if today <= self.day {
            return;
        }
        self.used_before = if month(today) == month(self.day) {
            self.used_before + self.used_today
        } else {
            0
        };
        self.used_today = 0;
        self.day = today;
        self.written = false;
    }
}

/// The day by the clock, since 1970.
fn today() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() / SECONDS_A_DAY)
}

/// The month of a day, counted from some March: years that begin in March end with the odd day (the algorithm of
/// `civil_from_days`, H. Hinnant).
const fn month(day: u64) -> u64 {
    let day = day + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    (era * 400 + year) * 12 + (5 * of_year + 2) / 153
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1 November 2026.
    const FIRST: u64 = 20_758;
    const LIMIT: u64 = 31_000;

    fn in_file(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap_or_default()
    }

    #[test]
    fn months() {
        // 1 January 1970, 29 February and 1 March 2024, the last of October and the first of November 2026.
        assert_eq!(month(58), month(31));
        assert_ne!(month(59), month(58));
        assert_ne!(month(19_782), month(19_783));
        assert_eq!(month(19_783), month(19_813));
        assert_ne!(month(FIRST - 1), month(FIRST));
        assert_eq!(month(FIRST), month(FIRST + 29));
        assert_ne!(month(FIRST), month(FIRST + 30));
    }

    #[test]
    fn a_day_has_its_share_and_one_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("budget");
        let mut budget = Budget::read(&path, LIMIT);
        for _ in 0..5 {
            assert!(budget.allows_on(FIRST));
            budget.spend_on(200, FIRST);
        }
        assert!(!budget.allows_on(FIRST), "the day's share is used up");
        assert_eq!(in_file(&path), format!("{FIRST} 1000\n"));
        std::fs::remove_file(&path).unwrap();
        budget.spend_on(1, FIRST);
        assert_eq!(in_file(&path), "", "written once");
        assert!(budget.allows_on(FIRST + 1));
        budget.spend_on(10, FIRST + 1);
        assert_eq!(in_file(&path), format!("{} 2001\n", FIRST + 1));
    }

    #[test]
    fn nothing_is_forgotten_at_a_reboot() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("budget");
        let mut spent = 0;
        for day in FIRST..FIRST + 30 {
            let mut budget = Budget::read(&path, LIMIT);
            while budget.allows_on(day) {
                budget.spend_on(100, day);
                spent += 100;
            }
        }
        assert!(spent <= LIMIT && spent > LIMIT * 9 / 10, "{spent}");
        let mut next_month = Budget::read(&path, LIMIT);
        assert!(next_month.allows_on(FIRST + 30));
        next_month.spend_on(1, FIRST + 30);
        assert_eq!(in_file(&path), format!("{} 1000\n", FIRST + 30));
    }

    #[test]
    fn a_clock_that_is_not_set_begins_no_month() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("budget");
        std::fs::write(&path, format!("{FIRST} {LIMIT}\n")).unwrap();
        let mut budget = Budget::read(&path, LIMIT);
        assert!(!budget.allows_on(0));
        assert!(!budget.allows_on(FIRST + 5));
        std::fs::write(&path, "damaged").unwrap();
        assert!(Budget::read(&path, LIMIT).allows_on(FIRST));
    }

    #[test]
    fn a_budget_of_nothing_allows_nothing() {
        assert!(!Budget::read(Path::new("/nonexistent"), 0).allows_on(FIRST));
    }
}
