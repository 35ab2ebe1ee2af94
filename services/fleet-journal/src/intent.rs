//! What is wanted of the journal: what the configuration says, and for a time what a call says.
//!
//! It is kept on the state partition. The flag `persistent` is what the next boot does (the condition of
//! `systemd-journal-flush.service`); a file beside it holds the call, with its time, while there is one; and one in `/run`,
//! which no boot outlives, holds when it ends in this boot.
//!
//! **The time of a call counts while the device runs** (`CLOCK_BOOTTIME`), because logs are made only then, and because a
//! wall clock that is wrong or steps would end it at any moment. What is left is written down in steps, each taken off
//! before it has passed: so every start of the device costs at most one step, and a device that restarts for ever does
//! not log to its flash for ever. One write a step is all that it costs.

use std::path::{Path, PathBuf};
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

/// The files in which it is kept.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// Exists if the next boot stores persistently.
    pub(crate) flag: PathBuf,
    /// The call, while one is in force.
    pub(crate) call: PathBuf,
    /// The same as of this boot, and when it ends in it.
    pub(crate) until: PathBuf,
    /// Everything, in RAM, and why: the state partition could not be written.
    pub(crate) unkept: PathBuf,
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
    pub(crate) fn new(mode: Mode, seconds: u64, stricter: Stricter, now: Duration) -> Result<Self, String> {
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
            until: now + granted,
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
    pub(crate) fn take_time(&mut self, now: Duration) -> bool {
        let Some(call) = &mut self.temporary else {
            return false;
        };
        let remaining = call.remaining(now);
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

    /// Reads what is kept. A file that is damaged is no call.
    pub(crate) fn load(files: &Files, now: Duration) -> Self {
        let unkept = text(&files.unkept);
        if let Some(configured) = value(&unkept, "CONFIGURED").and_then(Mode::named) {
            let until = number(&unkept, "UNTIL").map(Duration::from_secs);
            return parse(&unkept, until, now).unwrap_or(Self {
                configured,
                temporary: None,
            });
        }
        let (call, this_boot) = (text(&files.call), text(&files.until));
        // Of another call, or from before its last step: then it costs a step.
        let until = this_boot
            .strip_prefix(&call)
            .and_then(|until| number(until, "UNTIL"));
        parse(&call, until.map(Duration::from_secs), now).unwrap_or_else(|| Self {
            configured: Mode::from(files.flag.exists()),
            temporary: None,
        })
    }

    /// Why it is not kept, but for this boot only; empty if it is.
    pub(crate) fn unkept(files: &Files) -> String {
        let unkept = text(&files.unkept);
        value(&unkept, "REASON").unwrap_or_default().to_owned()
    }

    /// Keeps it; durable when it returns. Returns whether anything had to be written. What cannot be kept holds until the
    /// power goes.
    ///
    /// A power cut in between leaves a call that was not acknowledged, or one that has ended in force again, and never
    /// a flag without its call: that would read as configured.
    ///
    /// # Errors
    /// A file could not be written or removed.
    pub(crate) fn save(&self, files: &Files) -> Result<bool, file::Error> {
        let saved = self.save_durably(files);
        let in_ram = match &saved {
            Ok(_) => file::remove(&files.unkept, Durability::Volatile),
            Err(error) => {
                let this_boot = match &self.temporary {
                    Some(call) => self.this_boot(call),
                    None => format!("CONFIGURED={}\n", self.configured),
                };
                let text = format!("{this_boot}REASON={}\n", error.to_string().replace('\n', " "));
                file::write(&files.unkept, text.as_bytes(), 0o644, Durability::Volatile)
            }
        };
        if let Err(error) = in_ram {
            log::warn!("what is wanted of the journal is forgotten when this service ends: {error}");
        }
        saved
    }

    fn save_durably(&self, files: &Files) -> Result<bool, file::Error> {
        let mut changed = false;
        if let Some(call) = &self.temporary {
            let text = self.text(call);
            changed |= file::write(&files.call, text.as_bytes(), 0o644, Durability::Synced)?;
            let this_boot = self.this_boot(call);
            file::write(&files.until, this_boot.as_bytes(), 0o644, Durability::Volatile)?;
        }
        changed |= match self.wanted() {
            Mode::Persistent if files.flag.exists() => false,
            Mode::Persistent => file::write(&files.flag, b"", 0o644, Durability::Synced)?,
            Mode::Volatile => file::remove(&files.flag, Durability::Synced)?,
        };
        if self.temporary.is_none() {
            changed |= file::remove(&files.call, Durability::Synced)?;
            file::remove(&files.until, Durability::Volatile)?;
        }
        Ok(changed)
    }

    /// A call, and when it ends in this boot.
    fn this_boot(&self, call: &Temporary) -> String {
        format!("{}UNTIL={}\n", self.text(call), call.until.as_secs())
    }

    fn text(&self, call: &Temporary) -> String {
        format!(
            "CONFIGURED={}\nMODE={}\nGRANTED={}\nLEFT={}\nMAX_USE={}\nKEEP_FREE={}\n",
            self.configured,
            call.mode,
            call.granted.as_secs(),
            call.left.as_secs(),
            call.stricter.max_use,
            call.stricter.keep_free,
        )
    }
}

/// A file; one that is not there is empty.
fn text(path: &Path) -> String {
    let bytes = file::read(path, MAX_BYTES).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads a call. What another release added is skipped.
fn parse(text: &str, until: Option<Duration>, now: Duration) -> Option<Intent> {
    let seconds = |name: &str| number(text, name).map(Duration::from_secs);
    let granted = seconds("GRANTED").filter(|granted| RANGE.contains(&granted.as_secs()))?;
    let left = seconds("LEFT")?.min(granted);
    let temporary = Temporary {
        mode: Mode::named(value(text, "MODE")?)?,
        stricter: Stricter {
            max_use: number(text, "MAX_USE").unwrap_or_default(),
            keep_free: number(text, "KEEP_FREE").unwrap_or_default(),
        },
        granted,
        // Never longer than it was granted, whatever the file says.
        until: until.unwrap_or(now + left).min(now + granted),
        left,
    };
    Some(Intent {
        configured: Mode::named(value(text, "CONFIGURED")?)?,
        temporary: Some(temporary),
    })
}

/// The value of a name, a line each.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.find_map(|(listed, value)| (listed == name).then_some(value))
}

fn number(text: &str, name: &str) -> Option<u64> {
    value(text, name)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3600;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn call(hours: u64, now: Duration) -> Intent {
        let call = Temporary::new(Mode::Persistent, hours * HOUR, Stricter::default(), now).unwrap();
        Intent {
            configured: Mode::Volatile,
            temporary: Some(call),
        }
    }

    fn kept() -> (tempfile::TempDir, Files) {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let files = Files {
            flag: path("flag"),
            call: path("call"),
            until: path("until"),
            unkept: path("unkept"),
        };
        (folder, files)
    }

    /// Loads as the service does when it starts: what is left is written down again.
    fn start(files: &Files, now: Duration) -> Intent {
        let mut intent = Intent::load(files, now);
        intent.take_time(now);
        intent.save(files).unwrap();
        intent
    }

    fn left(intent: &Intent, now: Duration) -> u64 {
        intent.temporary.as_ref().unwrap().remaining(now).as_secs()
    }

    #[test]
    fn lasts_as_long_as_it_was_asked_for() {
        let mut intent = call(24, at(100));
        let mut writes = 0;
        let mut time = 100;
        while intent.temporary.is_some() {
            let next = intent.next(at(time)).unwrap().as_secs();
            assert!(next > 0, "it does not spin at {time}");
            time += next;
            writes += u32::from(intent.take_time(at(time)));
        }
        assert_eq!(time, 100 + 24 * HOUR);
        assert!(writes <= STEPS + 1, "{writes}");
        assert_eq!(intent.wanted(), Mode::Volatile);
    }

    #[test]
    fn a_start_costs_a_step_and_a_restart_of_the_service_nothing() {
        let (_folder, files) = kept();
        let intent = call(24, at(10));
        assert!(intent.save(&files).unwrap());
        assert!(!intent.save(&files).unwrap(), "it is written already");
        assert!(files.flag.exists(), "the next boot goes on with it");
        for _ in 0..3 {
            assert_eq!(left(&start(&files, at(20)), at(20)), 24 * HOUR - 10);
        }
        // The power goes at once, again and again.
        for boot in 1..24 {
            std::fs::remove_file(&files.until).unwrap();
            assert_eq!(
                left(&start(&files, at(5)), at(5)),
                (24 - boot) * HOUR,
                "boot {boot}"
            );
        }
        std::fs::remove_file(&files.until).unwrap();
        let over = start(&files, at(5));
        assert_eq!((over.temporary, over.configured), (None, Mode::Volatile));
        assert!(!files.flag.exists() && !files.call.exists() && !files.until.exists());
    }

    #[test]
    fn what_is_known_of_this_boot_is_of_this_call() {
        let (_folder, files) = kept();
        call(24, at(0)).save(&files).unwrap();
        let old = std::fs::read(&files.until).unwrap();
        call(2, at(0)).save(&files).unwrap();
        // The service was killed before it wrote the second one.
        std::fs::write(&files.until, old).unwrap();
        assert_eq!(left(&start(&files, at(0)), at(0)), 2 * HOUR - 300);
    }

    #[test]
    fn ends_when_it_is_read_after_its_time() {
        let (_folder, files) = kept();
        call(1, at(0)).save(&files).unwrap();
        assert_eq!(start(&files, at(HOUR)).temporary, None);
    }

    #[test]
    fn a_damaged_file_is_no_call() {
        let (_folder, files) = kept();
        let now = at(0);
        call(1, now).save(&files).unwrap();
        let good = std::fs::read_to_string(&files.call).unwrap();
        assert_eq!(Intent::load(&files, now), call(1, now));
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
            std::fs::write(&files.call, damaged).unwrap();
            let loaded = Intent::load(&files, now);
            assert_eq!(
                (loaded.temporary, loaded.configured),
                (None, Mode::Persistent),
                "{damaged:?}"
            );
        }
        // Numbers that were tampered with do not make it longer.
        std::fs::write(&files.call, &good).unwrap();
        std::fs::write(&files.until, format!("{good}UNTIL=99999999\n")).unwrap();
        assert_eq!(left(&Intent::load(&files, now), now), HOUR);
    }

    #[test]
    fn what_cannot_be_kept_holds_for_this_boot() {
        let (folder, mut files) = kept();
        let (flag, call_file) = (files.flag.clone(), files.call.clone());
        let gone = |name: &str| folder.path().join("none").join(name);
        (files.flag, files.call) = (gone("flag"), gone("call"));
        let for_good = Intent {
            configured: Mode::Persistent,
            temporary: None,
        };
        for intent in [call(1, at(7)), for_good] {
            let error = intent.save(&files).unwrap_err().to_string();
            assert_eq!(Intent::load(&files, at(7)), intent);
            assert_eq!(Intent::unkept(&files), error);
        }
        // The partition takes writes again.
        (files.flag, files.call) = (flag, call_file);
        let intent = Intent::load(&files, at(7));
        intent.save(&files).unwrap();
        assert!(files.flag.exists() && !files.unkept.exists());
        assert_eq!(
            (Intent::load(&files, at(7)), Intent::unkept(&files)),
            (intent, String::new())
        );
    }

    #[test]
    fn absurd_times_are_refused() {
        for seconds in [1, 59, 31 * 24 * HOUR + 1, u64::MAX] {
            let refused = Temporary::new(Mode::Volatile, seconds, Stricter::default(), at(0)).unwrap_err();
            assert!(refused.contains("31 days"), "{refused}");
        }
        let day = Temporary::new(Mode::Volatile, 0, Stricter::default(), at(0)).unwrap();
        assert_eq!(day.remaining(at(0)).as_secs(), 24 * HOUR);
    }
}
