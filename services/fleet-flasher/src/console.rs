//! What a person sees: plain lines, for a serial console.

use std::io::{self, Write};
use std::time::Instant;

use fleet_medium::failure::Failure;
use fleet_medium::writing::Follow;

/// A line comes after so many percent.
const STEP: u64 = 5;

/// Who is told what happens.
pub(crate) trait Console: Follow {
    /// One line.
    fn say(&mut self, line: &str) -> Result<(), Failure>;

    /// Something begins that takes its time: `total` bytes of it, if that is known.
    fn begin(&mut self, phase: &'static str, total: Option<u64>) -> Result<(), Failure>;
}

/// Lines on standard output, which is the console and the journal.
pub(crate) struct Lines {
    phase: &'static str,
    total: Option<u64>,
    done: u64,
    begun: Instant,
    /// The step that was shown last.
    shown: Option<u64>,
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            phase: "",
            total: None,
            done: 0,
            begun: Instant::now(),
            shown: None,
        }
    }
}

impl Lines {
    fn sentence(&self) -> (u64, String) {
        let milliseconds = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let speed = self.done.saturating_mul(1000) / milliseconds.max(1);
        let rate = format!(
            "{}  {}/s",
            fleet_base::size::bytes(self.done),
            fleet_base::size::bytes(speed)
        );
        match self.total.filter(|&total| total > 0) {
            Some(total) => {
                let percent = self.done.saturating_mul(100) / total;
                let left = total.saturating_sub(self.done) / speed.max(1);
                let time = format!("{}:{:02} left", left / 60, left % 60);
                (
                    percent / STEP,
                    format!("{:6} {percent:3} %  {rate}  {time}", self.phase),
                )
            }
            None => (self.done >> 26, format!("{:6} {rate}", self.phase)),
        }
    }
}

impl Console for Lines {
    fn say(&mut self, line: &str) -> Result<(), Failure> {
        // A console that is not there must not keep the board from being installed.
        let _ = writeln!(io::stdout().lock(), "{line}");
        Ok(())
    }

    fn begin(&mut self, phase: &'static str, total: Option<u64>) -> Result<(), Failure> {
        *self = Self {
            phase,
            total,
            ..Self::default()
        };
        self.add(0)
    }
}

impl Follow for Lines {
    fn add(&mut self, bytes: usize) -> Result<(), Failure> {
        self.done += u64::try_from(bytes).unwrap_or_default();
        let (step, line) = self.sentence();
        if self.shown == Some(step) {
            return Ok(());
        }
        self.shown = Some(step);
        self.say(&line)
    }
}
