//! What a person sees: plain lines, for a serial console.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use fleet_base::size;
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
    /// The step that it is at, and the line for it.
    fn sentence(&self, elapsed: Duration) -> (u64, String) {
        let total = self.total.filter(|&total| total > 0);
        let (step, mut line) = match total {
            Some(total) => {
                let percent = self.done.saturating_mul(100) / total;
                (percent / STEP, format!("{:6} {percent:3} %", self.phase))
            }
            None => (self.done >> 26, self.phase.to_owned()),
        };
        // Before the first byte there is no rate.
        if self.done > 0 {
            let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
            let rate = self.done.saturating_mul(1000) / milliseconds.max(1);
            line += &format!("  {}  {}/s", size::bytes(self.done), size::bytes(rate));
            if let Some(total) = total {
                let left = total.saturating_sub(self.done) / rate.max(1);
                line += &format!("  {}:{:02} left", left / 60, left % 60);
            }
        }
        (step, line)
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
        let (step, line) = self.sentence(self.begun.elapsed());
        if self.shown == Some(step) {
            return Ok(());
        }
        self.shown = Some(step);
        self.say(&line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_a_line_with_percent_and_rate() {
        let mut lines = Lines {
            phase: "write",
            total: Some(100 << 20),
            ..Lines::default()
        };
        let second = Duration::from_secs(1);
        assert_eq!(lines.sentence(second), (0, "write    0 %".to_owned()));
        lines.done = 10 << 20;
        assert_eq!(
            lines.sentence(second),
            (2, "write   10 %  10.0 MiB  10.0 MiB/s  0:09 left".to_owned())
        );
        lines.total = None;
        assert_eq!(lines.sentence(second * 2).1, "write  10.0 MiB  5.0 MiB/s");
    }
}
