//! How far it is: a line that is written over on a terminal, a line each tenth elsewhere, JSON for programs.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use fleet_medium::failure::Failure;
use fleet_medium::writing::Follow;
use serde_json::json;

use crate::output;

const TICK: Duration = Duration::from_millis(200);
/// Where the size is not known, a line comes after so many bytes.
const STEP: u64 = 64 << 20;

/// How it is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Terminal,
    Lines,
    Json,
}

impl Style {
    /// The one for standard error, where progress of people goes.
    pub fn for_output(json: bool) -> Self {
        let is_dumb = std::env::var_os("TERM").is_some_and(|kind| kind == "dumb");
        match () {
            () if json => Self::Json,
            () if io::stderr().is_terminal() && !is_dumb => Self::Terminal,
            () => Self::Lines,
        }
    }
}

/// What is being done.
#[derive(Clone, Copy)]
pub enum Phase {
    Unpack,
    Clear,
    Write,
    Verify,
}

impl Phase {
    const fn word(self) -> &'static str {
        match self {
            Self::Unpack => "unpack",
            Self::Clear => "clear",
            Self::Write => "write",
            Self::Verify => "verify",
        }
    }
}

/// The progress of a phase.
pub struct Progress {
    style: Style,
    phase: Phase,
    total: Option<u64>,
    done: u64,
    begun: Instant,
    shown_at: Option<Instant>,
    /// The percent, tenth or step that was shown last.
    shown: u64,
}

impl Progress {
    /// Begins.
    pub fn new(style: Style, phase: Phase, total: Option<u64>) -> Self {
        Self {
            style,
            phase,
            total,
            done: 0,
            begun: Instant::now(),
            shown_at: None,
            shown: 0,
        }
    }

    /// Shows the end on a terminal.
    pub fn end(&mut self) {
        if self.style == Style::Terminal {
            self.shown_at = Some(Instant::now());
            eprint!("\r{}\x1b[K", self.sentence());
        }
    }

    fn percent(&self) -> Option<u64> {
        let total = self.total.filter(|&total| total > 0)?;
        Some(self.done.saturating_mul(100) / total)
    }

    /// Bytes a second.
    fn speed(&self) -> u64 {
        let milliseconds = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.done.saturating_mul(1000) / milliseconds.max(1)
    }

    fn sentence(&self) -> String {
        let speed = self.speed();
        let mut text = format!("{:6} ", self.phase.word());
        if let Some(percent) = self.percent() {
            text += &format!("{percent:3} %  ");
        }
        text += &format!(
            "{}  {}/s",
            fleet_base::size::bytes(self.done),
            fleet_base::size::bytes(speed)
        );
        if let Some(left) = self.total.and_then(|total| total.checked_sub(self.done))
            && left > 0
        {
            let seconds = left / speed.max(1);
            text += &format!("  {}:{:02} left", seconds / 60, seconds % 60);
        }
        text
    }

    fn json(&self) -> Result<(), Failure> {
        output::line(
            &json!({
                "phase": self.phase.word(),
                "done": self.done,
                "total": self.total,
                "bytes_per_second": self.speed(),
            })
            .to_string(),
        )
    }
}

impl Follow for Progress {
    /// So many bytes more.
    fn add(&mut self, bytes: usize) -> Result<(), Failure> {
        self.done += u64::try_from(bytes).unwrap_or_default();
        let step = match (self.style, self.percent()) {
            (Style::Terminal, _) => {
                if self.shown_at.is_none_or(|at| at.elapsed() >= TICK) {
                    self.shown_at = Some(Instant::now());
                    eprint!("\r{}\x1b[K", self.sentence());
                    let _ = io::stderr().flush();
                }
                return Ok(());
            }
            (Style::Lines, Some(percent)) => percent / 10,
            (Style::Json, Some(percent)) => percent,
            (_, None) => self.done / STEP,
        };
        if step == self.shown {
            return Ok(());
        }
        self.shown = step;
        match self.style {
            Style::Json => self.json(),
            _ => {
                eprintln!("{}", self.sentence());
                Ok(())
            }
        }
    }
}

impl Drop for Progress {
    /// Ends the line of a terminal, also where an error follows.
    fn drop(&mut self) {
        if self.style == Style::Terminal && self.shown_at.is_some() {
            eprintln!();
        }
    }
}

/// Says that all of it is written and verified.
pub fn done(style: Style, device: &Path, bytes: u64) -> Result<(), Failure> {
    match style {
        Style::Json => output::line(
            &json!({"phase": "done", "done": bytes, "device": device.to_string_lossy()}).to_string(),
        ),
        _ => output::line(&format!(
            "{}: {} are written, and read back as they were in the image.",
            device.display(),
            fleet_base::size::bytes(bytes)
        )),
    }
}
