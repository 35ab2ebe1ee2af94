//! The steps that were taken, and how many more may be.
//!
//! On the state partition, so that a reboot gives no new budget; written only when a step is taken. A clock that jumps gives
//! none either: what this run of the watcher did ages by the time that it runs, and no clock is asked. What earlier ones did
//! ages by the clock where that has gone further, because a device that is off at night would else never be done with
//! yesterday; a jump forward so frees each step once a start at most. A reboot always ages by running time alone.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fleet_base::file::{self, Durability};

use super::table::bounds;
use crate::ladder::{Outcome, Step};

/// More than a full day's file has.
const MAX_BYTES: u64 = 16 * 1024;
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// So many are kept to be shown, however old they are.
const SHOWN: usize = 8;

/// A step that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) step: Step,
    /// What it was for: an uplink, a VPN, a program.
    pub(crate) subject: String,
    /// The name of the fault.
    pub(crate) reason: String,
    pub(crate) outcome: Outcome,
    /// Why it could not be done. Not kept.
    pub(crate) detail: String,
    /// By the clock, seconds since 1970.
    pub(crate) wall: u64,
    /// Seconds that the watcher had run by then, all its runs together.
    ran: u64,
    /// An earlier run of the watcher did it.
    is_earlier: bool,
}

/// What time it is: by the clock, and by the seconds that the watcher has run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time {
    pub(crate) wall: u64,
    pub(crate) ran: u64,
}

/// All of them, the oldest first.
#[derive(Debug)]
pub(crate) struct Record {
    path: PathBuf,
    pub(crate) entries: Vec<Entry>,
    /// What the watcher had run before this run, as far as it is known, and when this one began.
    ran_before: u64,
    began: Duration,
}

impl Record {
    /// As the file has it; `now` by [`fleet_base::boot_clock`].
    pub(crate) fn read(path: &Path, now: Duration) -> Self {
        let text = file::read(path, MAX_BYTES).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let entries: Vec<Entry> = text.lines().filter_map(parse).collect();
        Self {
            path: path.to_owned(),
            ran_before: entries.iter().map(|entry| entry.ran).max().unwrap_or(0),
            entries,
            began: now,
        }
    }

    /// The time, at `now` of the boot clock.
    pub(crate) fn time(&self, now: Duration) -> Time {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Time {
            wall: since.map_or(0, |since| since.as_secs()),
            ran: self.ran_before + now.saturating_sub(self.began).as_secs(),
        }
    }

    /// How many seconds of running it takes until the step is within its bounds. 0: it is.
    pub(crate) fn seconds_until(&self, step: Step, time: Time) -> u64 {
        let ages: Vec<u64> = (self.entries.iter())
            .filter(|entry| entry.step == step)
            .map(|entry| entry.age(time))
            .collect();
        let (hour, day) = bounds(step);
        let mut until = 0;
        for (bound, span) in [(hour, HOUR), (day, DAY)] {
            // The last so many are what the bound is about: until the oldest of them is out of the span.
            let is_oldest = |age: &&u64| ages.iter().filter(|other| other <= age).count() >= bound;
            if let Some(oldest) = ages.iter().filter(is_oldest).min() {
                until = until.max(span.saturating_sub(*oldest));
            }
        }
        until
    }

    /// How many steps in a row did not repair this, within a day.
    pub(crate) fn in_vain(&self, subject: &str, time: Time) -> u32 {
        let mut in_vain = 0;
        for entry in self.entries.iter().rev().filter(|entry| entry.subject == subject) {
            if entry.outcome == Outcome::Repaired || entry.age(time) >= DAY {
                break;
            }
            in_vain += 1;
        }
        in_vain
    }

    /// The last step that was for this.
    pub(crate) fn last(&self, subject: &str) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.subject == subject)
    }

    /// The same, if nothing is known of its outcome yet.
    pub(crate) fn open(&mut self, subject: &str) -> Option<&mut Entry> {
        let last = self
            .entries
            .iter_mut()
            .rev()
            .find(|entry| entry.subject == subject);
        last.filter(|entry| entry.outcome == Outcome::Begun)
    }

    /// Those that are shown, the oldest first.
    pub(crate) fn shown(&self) -> &[Entry] {
        self.entries.split_at(self.entries.len().saturating_sub(SHOWN)).1
    }

    /// Adds a step that begins, and writes the file.
    ///
    /// # Errors
    /// It cannot be written; the step counts all the same, as long as the watcher runs.
    pub(crate) fn begin(
        &mut self,
        step: Step,
        subject: &str,
        reason: &str,
        time: Time,
    ) -> Result<(), file::Error> {
        let beyond = self.entries.len().saturating_sub(SHOWN);
        let mut index = 0;
        self.entries.retain(|entry| {
            index += 1;
            index > beyond || entry.age(time) < DAY
        });
        self.entries.push(Entry {
            step,
            subject: subject.to_owned(),
            reason: reason.to_owned(),
            outcome: Outcome::Begun,
            detail: String::new(),
            wall: time.wall,
            ran: time.ran,
            is_earlier: false,
        });
        let mut text = String::new();
        for entry in &self.entries {
            text += &entry.line();
        }
        file::write(&self.path, text.as_bytes(), 0o644, Durability::Synced).map(drop)
    }
}

impl Entry {
    fn age(&self, time: Time) -> u64 {
        let by_running = time.ran.saturating_sub(self.ran);
        if self.is_earlier && self.step != Step::Reboot {
            by_running.max(time.wall.saturating_sub(self.wall))
        } else {
            by_running
        }
    }

    fn line(&self) -> String {
        let Self {
            step,
            subject,
            reason,
            outcome,
            wall,
            ran,
            ..
        } = self;
        let (step, outcome) = (step.as_str(), outcome.as_str());
        format!("{wall} {ran} {step} {outcome} {reason} {subject}\n")
    }
}

/// A line of the file. One that is damaged is none.
fn parse(line: &str) -> Option<Entry> {
    let mut words = line.splitn(6, ' ');
    let mut word = || words.next();
    Some(Entry {
        wall: word()?.parse().ok()?,
        ran: word()?.parse().ok()?,
        step: Step::from_name(word()?)?,
        outcome: Outcome::from_name(word()?),
        reason: word()?.to_owned(),
        subject: word()?.to_owned(),
        detail: String::new(),
        is_earlier: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(50);
    const WALL: u64 = 1_800_000_000;

    struct Folder {
        folder: tempfile::TempDir,
    }

    impl Folder {
        fn new() -> Self {
            Self {
                folder: tempfile::tempdir().unwrap(),
            }
        }

        /// What the next run of the watcher reads.
        fn read(&self) -> Record {
            Record::read(&self.folder.path().join("repairs"), NOW)
        }
    }

    fn at(ran: u64, wall: u64) -> Time {
        Time { wall, ran }
    }

    fn take(record: &mut Record, step: Step, time: Time) {
        record.begin(step, "eth0", "no-lease", time).unwrap();
    }

    #[test]
    fn bounds_of_an_hour_and_of_a_day() {
        let folder = Folder::new();
        let mut record = folder.read();
        let (hour, day) = bounds(Step::Bounce);
        let mut taken = 0;
        let mut now = 0;
        while taken < day {
            for _ in 0..hour.min(day - taken) {
                assert_eq!(record.seconds_until(Step::Bounce, at(now, WALL)), 0, "{taken}");
                take(&mut record, Step::Bounce, at(now, WALL));
                taken += 1;
            }
            let until = record.seconds_until(Step::Bounce, at(now, WALL));
            assert_eq!(until, if taken < day { HOUR } else { DAY - now });
            assert!(record.seconds_until(Step::Bounce, at(now + until - 1, WALL)) == 1);
            assert_eq!(
                record.seconds_until(Step::Reactivate, at(now, WALL)),
                0,
                "others are others"
            );
            now += HOUR;
        }
        assert_eq!(
            record.seconds_until(Step::Bounce, at(DAY, WALL)),
            0,
            "as the first ones go"
        );
    }

    #[test]
    fn a_reboot_gives_no_new_budget() {
        let folder = Folder::new();
        let mut record = folder.read();
        for ran in [1, 2] {
            take(&mut record, Step::RestartNetworkManager, at(ran, WALL + ran));
        }
        let again = folder.read();
        assert_eq!(again.entries.len(), 2);
        assert_eq!(again.time(NOW).ran, 2, "it goes on from there");
        for (story, time, until) in [
            ("at once", at(2, WALL + 10), HOUR - 9),
            ("the clock has gone back", at(2, WALL - 1_000_000), HOUR - 1),
            ("it was never set", at(2, 0), HOUR - 1),
            ("it was off for the night", at(2, WALL + 8 * HOUR), 0),
            ("it ran for an hour without a clock", at(HOUR + 2, 0), 0),
        ] {
            assert_eq!(
                again.seconds_until(Step::RestartNetworkManager, time),
                until,
                "{story}"
            );
        }
        assert_eq!(again.in_vain("eth0", again.time(NOW)), 2);
    }

    #[test]
    fn no_clock_gives_a_new_budget_to_who_has_it_spent_now_and_none_to_a_reboot() {
        let folder = Folder::new();
        let mut record = folder.read();
        for _ in 0..bounds(Step::Reactivate).0 {
            take(&mut record, Step::Reactivate, at(5, WALL));
        }
        take(&mut record, Step::Reboot, at(5, WALL));
        let years_later = WALL + 10_000 * DAY;
        assert_eq!(
            record.seconds_until(Step::Reactivate, at(6, years_later)),
            HOUR - 1
        );
        assert_eq!(record.seconds_until(Step::Reboot, at(6, years_later)), HOUR - 1);
        let mut again = folder.read();
        assert_eq!(again.seconds_until(Step::Reactivate, at(6, years_later)), 0);
        assert_eq!(again.seconds_until(Step::Reboot, at(6, years_later)), HOUR - 1);
        // Once: what is taken now is this run's again.
        for _ in 0..bounds(Step::Reactivate).0 {
            take(&mut again, Step::Reactivate, at(7, years_later));
        }
        assert_eq!(
            again.seconds_until(Step::Reactivate, at(7, years_later + DAY)),
            HOUR
        );
    }

    #[test]
    fn what_is_damaged_costs_its_own_line() {
        let folder = Folder::new();
        let mut record = folder.read();
        take(&mut record, Step::Reactivate, at(1, WALL));
        let path = folder.folder.path().join("repairs");
        let mut text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{WALL} 1 reactivate begun no-lease eth0\n"));
        text += "\n1 2 dance begun no-lease eth0\n7 8 bounce\n9 10 reboot failed no-device device\n";
        std::fs::write(&path, text).unwrap();
        let steps: Vec<Step> = folder.read().entries.iter().map(|entry| entry.step).collect();
        assert_eq!(steps, [Step::Reactivate, Step::Reboot]);
    }

    #[test]
    fn the_file_stays_small() {
        let folder = Folder::new();
        let mut record = folder.read();
        for hour in 0..1000 {
            take(&mut record, Step::Reactivate, at(hour * HOUR, WALL));
        }
        assert!(record.entries.len() <= 25, "{}", record.entries.len());
        assert_eq!(record.shown().len(), SHOWN);
    }
}
