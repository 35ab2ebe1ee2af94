//! When an uplink is probed next. Pure: all times are given.
//!
//! Quick after a change, and after a round that was not well; with a back-off, so that a fault that lasts costs no more
//! than a network that works.

use std::time::Duration;

/// How long a change is left to settle: every activation comes in several.
const SETTLE: Duration = Duration::from_millis(500);
/// The first pause after a round that was not well; each later one is twice the last.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// When the next round is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    due: Duration,
    /// Rounds in a row that were not well.
    not_well: u32,
    /// A change came since the last round began.
    changed: bool,
}

impl Schedule {
    /// Of an uplink that is new.
    pub(crate) fn new(now: Duration) -> Self {
        Self {
            due: now + SETTLE,
            not_well: 0,
            changed: true,
        }
    }

    /// Something is not as it was.
    pub(crate) fn change(&mut self, now: Duration) {
        *self = Self::new(now);
    }

    /// Whether something has changed since the last round began.
    pub(crate) const fn is_changed(&self) -> bool {
        self.changed
    }

    pub(crate) const fn due(&self) -> Duration {
        self.due
    }

    /// A round begins.
    pub(crate) const fn begin(&mut self) {
        self.changed = false;
    }

    /// A round has ended; `well`: nothing is at fault or not known.
    pub(crate) fn end(&mut self, now: Duration, well: bool, interval: Duration) {
        if self.changed {
            return;
        }
        let pause = if well {
            self.not_well = 0;
            interval
        } else {
            let doubled = 2_u32
                .checked_pow(self.not_well)
                .and_then(|times| FIRST_PAUSE.checked_mul(times));
            self.not_well = self.not_well.saturating_add(1);
            doubled.map_or(interval, |pause| pause.min(interval))
        };
        self.due = now + pause;
    }

    /// Not now: not before `then`.
    pub(crate) fn put_off(&mut self, then: Duration) {
        self.due = self.due.max(then);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(300);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Plays rounds that take a second each; returns when each began, in whole seconds.
    fn play(schedule: &mut Schedule, start: Duration, rounds: &[bool]) -> Vec<u64> {
        let mut begun = Vec::new();
        for well in rounds {
            begun.push((schedule.due() - start).as_secs());
            schedule.begin();
            let end = schedule.due() + seconds(1);
            schedule.end(end, *well, INTERVAL);
        }
        begun
    }

    #[test]
    fn well_is_rare_and_not_well_backs_off() {
        let start = seconds(1000);
        for (story, rounds, begun) in [
            ("well", [true; 4], [0, 301, 602, 903]),
            ("not well", [false; 4], [0, 6, 17, 38]),
            ("gets well", [false, false, true, true], [0, 6, 17, 318]),
            ("falls ill", [true, false, false, true], [0, 301, 307, 318]),
        ] {
            let mut schedule = Schedule::new(start);
            assert_eq!(play(&mut schedule, start, &rounds), begun, "{story}");
        }
    }

    #[test]
    fn the_back_off_ends_at_the_interval() {
        let mut schedule = Schedule::new(seconds(0));
        let begun = play(&mut schedule, seconds(0), &[false; 40]);
        assert_eq!(begun[39] - begun[38], 301);
        // The first minute is the one that counts.
        assert!(begun.iter().filter(|at| **at < 60).count() >= 4, "{begun:?}");
    }

    #[test]
    fn a_change_is_looked_at_soon_even_in_the_middle_of_a_round() {
        let mut schedule = Schedule::new(seconds(0));
        play(&mut schedule, seconds(0), &[false; 9]);
        schedule.change(seconds(9000));
        assert_eq!(schedule.due(), seconds(9000) + SETTLE);
        schedule.begin();
        schedule.change(seconds(9001));
        schedule.end(seconds(9005), true, INTERVAL);
        assert_eq!(schedule.due(), seconds(9001) + SETTLE);
        schedule.put_off(seconds(20_000));
        assert_eq!(schedule.due(), seconds(20_000));
    }

    #[test]
    fn a_thousand_changes_are_one_round() {
        let mut schedule = Schedule::new(seconds(0));
        for flap in 0..1000 {
            schedule.change(Duration::from_millis(flap * 20));
            assert!(schedule.due() > Duration::from_millis(flap * 20));
        }
    }
}
