//! What is wanted of the journal: what the configuration says, and for a time what a call says.
//!
//! It is kept on the state partition. The flag `persistent` is what the next boot does (the condition of
//! `systemd-journal-flush.service`); a file beside it holds the call, with its time, while there is one.
//!
//! **The time of a call counts while the device runs** (`CLOCK_BOOTTIME`), because logs are made only then, and because a
//! wall clock that is wrong or steps would end it at any moment. What is left is written down in steps, each taken off
//! before it has passed: so every start of the device costs at most one step, and a device that restarts for ever does
//! not log to its flash for ever. One write a step is all that it costs.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use fleet_base::file::{self, Durability};

use crate::limits::Stricter;
use crate::mode::Mode;

/// How many steps a call's time has.
const STEPS: u32 = 24;
/// The shortest step.
const LEAST_STEP: Duration = Duration::from_secs(60);
/// How long a call may be in force.
const RANGE: std::ops::RangeInclusive<u64> = 60..=31 * 24 * 3600;
/// How long it is if it does not say.
const DEFAULT: Duration = Duration::from_secs(24 * 3600);
/// Far more than the file has.
const MAX_BYTES: u64 = 4096;

/// A moment of this boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// The boot (`/proc/sys/kernel/random/boot_id`).
    pub(crate) boot: String,
    /// `CLOCK_BOOTTIME`.
    pub(crate) time: Duration,
}

/// What a call asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Temporary {
    /// Where to.
    pub(crate) mode: Mode,
    /// Limits of its own.
    pub(crate) stricter: Stricter,
    /// For how long it was asked.
    granted: Duration,
    /// When it ends, in this boot.
    until: Duration,
    /// What is written down as left: what holds if the power goes now.
    left: Duration,
}

impl Temporary {
    /// From now on, for so many seconds; 0: for a day.
    ///
    /// # Errors
    /// The rule that the number breaks.
    pub(crate) fn new(mode: Mode, seconds: u64, stricter: Stricter, now: &Moment) -> Result<Self, String> {
        let granted = match seconds {
            0 => DEFAULT,
            seconds if RANGE.contains(&seconds) => Duration::from_secs(seconds),
            _ => {
                return Err(format!(
                    "{seconds} s are refused: {} s to {} s (31 days) were expected; the key persistentLogging is for good",
                    RANGE.start(),
                    RANGE.end()
                ));
            }
        };
        Ok(Self {
            mode,
            stricter,
            granted,
            until: now.time + granted,
            left: granted.saturating_sub(step(granted)),
        })
    }

    /// How long it is still in force.
    pub(crate) fn remaining(&self, now: Duration) -> Duration {
        self.until.saturating_sub(now)
    }
}

fn step(granted: Duration) -> Duration {
    (granted / STEPS).max(LEAST_STEP)
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Intent {
    /// What the key `persistentLogging` says.
    pub(crate) configured: Mode,
    /// What a call says instead.
    pub(crate) temporary: Option<Temporary>,
}

impl Intent {
    /// Where the journal shall be.
    pub(crate) fn wanted(&self) -> Mode {
        self.temporary.as_ref().map_or(self.configured, |call| call.mode)
    }

    /// The limits of the call.
    pub(crate) fn stricter(&self) -> Stricter {
        self.temporary
            .as_ref()
            .map_or(Stricter::default(), |call| call.stricter)
    }

    /// Takes the time: ends a call whose time is over, writes a step of it down. Returns whether that is to be saved.
    pub(crate) fn take_time(&mut self, now: &Moment) -> bool {
        let Some(call) = &mut self.temporary else {
            return false;
        };
        let remaining = call.remaining(now.time);
        if remaining.is_zero() {
            self.temporary = None;
            return true;
        }
        if remaining > call.left {
            return false;
        }
        call.left = remaining.saturating_sub(step(call.granted));
        true
    }

    /// When to take the time again; `None` without a call.
    pub(crate) fn next(&self, now: Duration) -> Option<Duration> {
        let call = self.temporary.as_ref()?;
        let remaining = call.remaining(now);
        Some(remaining.min(remaining.saturating_sub(call.left)))
    }

    /// Reads what is kept: whether the flag is there, and the call. A file that is damaged is no call.
    pub(crate) fn load(flag: &Path, call: &Path, now: &Moment) -> Self {
        let flag = Mode::from(flag.exists());
        let text = file::read(call, MAX_BYTES).unwrap_or_default();
        parse(&String::from_utf8_lossy(&text), now).unwrap_or(Self {
            configured: flag,
            temporary: None,
        })
    }

    /// Keeps it; durable when it returns. Returns whether anything had to be written.
    ///
    /// A power cut in between leaves a call that was not acknowledged, or one that has ended in force again, and never
    /// a flag without its call: that would read as configured.
    ///
    /// # Errors
    /// A file could not be written or removed.
    pub(crate) fn save(&self, flag: &Path, call: &Path, now: &Moment) -> Result<bool, file::Error> {
        let mut changed = false;
        if let Some(text) = self.text(now) {
            changed |= file::write(call, text.as_bytes(), 0o644, Durability::Synced)?;
        }
        changed |= match self.wanted() {
            Mode::Persistent if flag.exists() => false,
            Mode::Persistent => file::write(flag, b"", 0o644, Durability::Synced)?,
            Mode::Volatile => file::remove(flag, Durability::Synced)?,
        };
        if self.temporary.is_none() {
            changed |= file::remove(call, Durability::Synced)?;
        }
        Ok(changed)
    }

    fn text(&self, now: &Moment) -> Option<String> {
        let call = self.temporary.as_ref()?;
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "CONFIGURED={}\nMODE={}\nGRANTED={}\nLEFT={}\nBOOT={}\nUNTIL={}\nMAX_USE={}\nKEEP_FREE={}\n",
            self.configured,
            call.mode,
            call.granted.as_secs(),
            call.left.as_secs(),
            now.boot,
            call.until.as_secs(),
            call.stricter.max_use,
            call.stricter.keep_free,
        );
        Some(text)
    }
}

/// Reads the file of a call. What another release added is skipped.
fn parse(text: &str, now: &Moment) -> Option<Intent> {
    let value = |name: &str| {
        text.lines()
            .filter_map(|line| line.split_once('='))
            .find_map(|(listed, value)| (listed == name).then_some(value))
    };
    let number = |name: &str| value(name)?.parse::<u64>().ok();
    let seconds = |name: &str| number(name).map(Duration::from_secs);
    let granted = seconds("GRANTED").filter(|granted| RANGE.contains(&granted.as_secs()))?;
    let left = seconds("LEFT")?.min(granted);
    let until = match value("BOOT")? == now.boot {
        // Never longer than it was granted, whatever the file says.
        true => seconds("UNTIL")?.min(now.time + granted),
        false => now.time + left,
    };
    let temporary = Temporary {
        mode: Mode::named(value("MODE")?)?,
        stricter: Stricter {
            max_use: number("MAX_USE").unwrap_or_default(),
            keep_free: number("KEEP_FREE").unwrap_or_default(),
        },
        granted,
        until,
        left,
    };
    Some(Intent {
        configured: Mode::named(value("CONFIGURED")?)?,
        temporary: Some(temporary),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;

    fn at(boot: &str, seconds: u64) -> Moment {
        Moment {
            boot: boot.to_owned(),
            time: Duration::from_secs(seconds),
        }
    }

    fn call(hours: u64, now: &Moment) -> Intent {
        Intent {
            configured: Mode::Volatile,
            temporary: Some(
                Temporary::new(Mode::Persistent, hours * HOUR, Stricter::default(), now).unwrap(),
            ),
        }
    }

    /// Loads as the service does when it starts: what is left is written down again.
    fn start(folder: &Path, now: &Moment) -> Intent {
        let (flag, file) = (folder.join("flag"), folder.join("call"));
        let mut intent = Intent::load(&flag, &file, now);
        if intent.take_time(now) {
            intent.save(&flag, &file, now).unwrap();
        }
        intent
    }

    #[test]
    fn lasts_as_long_as_it_was_asked_for() {
        let mut intent = call(24, &at("a", 100));
        let mut writes = 0;
        let mut time = 100;
        while intent.temporary.is_some() {
            let next = intent.next(Duration::from_secs(time)).unwrap().as_secs();
            assert!(next > 0, "it does not spin at {time}");
            time += next;
            writes += u32::from(intent.take_time(&at("a", time)));
        }
        assert_eq!(time, 100 + 24 * HOUR);
        assert!(writes <= STEPS + 1, "{writes}");
        assert_eq!(intent.wanted(), Mode::Volatile);
    }

    #[test]
    fn a_start_costs_a_step_and_a_restart_of_the_service_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (flag, file) = (folder.path().join("flag"), folder.path().join("call"));
        let intent = call(24, &at("a", 10));
        assert!(intent.save(&flag, &file, &at("a", 10)).unwrap());
        assert!(
            !intent.save(&flag, &file, &at("a", 10)).unwrap(),
            "it is written already"
        );
        assert!(flag.exists(), "the next boot goes on with it");
        for _ in 0..3 {
            let again = start(folder.path(), &at("a", 20));
            assert_eq!(
                again
                    .temporary
                    .unwrap()
                    .remaining(Duration::from_secs(20))
                    .as_secs(),
                24 * HOUR - 10
            );
        }
        // The power goes at once, again and again.
        for boot in 1..24 {
            let again = start(folder.path(), &at(&boot.to_string(), 5));
            let left = again
                .temporary
                .unwrap()
                .remaining(Duration::from_secs(5))
                .as_secs();
            assert_eq!(left, (24 - boot) * HOUR, "boot {boot}");
        }
        let over = start(folder.path(), &at("last", 5));
        assert_eq!((over.temporary, over.configured), (None, Mode::Volatile));
        assert!(!flag.exists() && !file.exists());
    }

    #[test]
    fn ends_when_it_is_read_after_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let (flag, file) = (folder.path().join("flag"), folder.path().join("call"));
        call(1, &at("a", 0)).save(&flag, &file, &at("a", 0)).unwrap();
        assert_eq!(start(folder.path(), &at("a", HOUR)).temporary, None);
    }

    #[test]
    fn a_damaged_file_is_no_call() {
        let folder = tempfile::tempdir().unwrap();
        let (flag, file) = (folder.path().join("flag"), folder.path().join("call"));
        let now = at("a", 0);
        call(1, &now).save(&flag, &file, &now).unwrap();
        let good = std::fs::read_to_string(&file).unwrap();
        assert_eq!(Intent::load(&flag, &file, &now), call(1, &now));
        for damaged in [
            "",
            "\0\0\0",
            "MODE=persistent\n",
            &good.replace("MODE=persistent", "MODE=maybe"),
            &good.replace("GRANTED=3600", "GRANTED=99999999999"),
            &good.replace("GRANTED=3600", "GRANTED=0"),
            &good.replace("LEFT=", "LEFT=-"),
            &good.replace("CONFIGURED=volatile", "CONFIGURED="),
        ] {
            std::fs::write(&file, damaged).unwrap();
            let loaded = Intent::load(&flag, &file, &now);
            assert_eq!(
                (loaded.temporary, loaded.configured),
                (None, Mode::Persistent),
                "{damaged:?}"
            );
        }
        // Numbers that were tampered with do not make it longer.
        std::fs::write(&file, good.replace("UNTIL=3600", "UNTIL=99999999")).unwrap();
        let loaded = Intent::load(&flag, &file, &now);
        assert_eq!(
            loaded.temporary.unwrap().remaining(Duration::ZERO).as_secs(),
            HOUR
        );
    }

    #[test]
    fn absurd_times_are_refused() {
        let now = at("a", 0);
        for seconds in [1, 59, 31 * 24 * HOUR + 1, u64::MAX] {
            let refused = Temporary::new(Mode::Volatile, seconds, Stricter::default(), &now).unwrap_err();
            assert!(refused.contains("31 days"), "{refused}");
        }
        let day = Temporary::new(Mode::Volatile, 0, Stricter::default(), &now).unwrap();
        assert_eq!(day.remaining(Duration::ZERO).as_secs(), 24 * HOUR);
    }
}
