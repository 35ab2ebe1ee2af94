//! What a person, or a script, sees of a rollout while it runs.

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use super::course::{Course, Stop};
use super::hosts::Host;
use super::live::Live;
use super::outcome::{self, Change, Outcome, Step};
use crate::cli::failure::Failure;
use crate::cli::output;

/// Where every device is.
pub(super) struct Board {
    hosts: Arc<Vec<Host>>,
    marks: Vec<Mark>,
    /// How wide the names are.
    width: usize,
}

/// Where a device is.
#[derive(Clone, Debug)]
pub(super) enum Mark {
    Waiting,
    /// Since when.
    At(Step, Instant),
    Ended(Outcome),
}

/// The words for how devices ended, in the order in which they are counted; the good ones first.
pub(super) const WORDS: [&str; 8] = [
    "done",
    "unchanged",
    "unreachable",
    "refused",
    "not-applied",
    "reverted",
    "degraded",
    "lost",
];

impl Board {
    pub(super) fn new(hosts: Arc<Vec<Host>>) -> Self {
        Self {
            marks: vec![Mark::Waiting; hosts.len()],
            width: hosts.iter().map(|host| host.to_string().len()).max().unwrap_or(0),
            hosts,
        }
    }

    pub(super) fn step(&mut self, index: usize, step: Step) {
        self.set(index, Mark::At(step, Instant::now()));
    }

    pub(super) fn ended(&mut self, index: usize, outcome: Outcome) {
        self.set(index, Mark::Ended(outcome));
    }

    fn set(&mut self, index: usize, mark: Mark) {
        if let Some(place) = self.marks.get_mut(index) {
            *place = mark;
        }
    }

    /// Every device, in the order of the list.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&Host, &Mark)> {
        self.hosts.iter().zip(&self.marks)
    }

    /// How every device that has ended did so.
    pub(super) fn outcomes(&self) -> impl Iterator<Item = (&Host, &Outcome)> {
        self.rows().filter_map(|(host, mark)| match mark {
            Mark::Ended(outcome) => Some((host, outcome)),
            Mark::Waiting | Mark::At(..) => None,
        })
    }

    /// How many are how, in the words of [`WORDS`], then those that are under way and those that are not started.
    pub(super) fn counts(&self) -> Vec<(&'static str, usize)> {
        let ended = |word: &str| {
            self.outcomes()
                .filter(|(_, outcome)| outcome.word() == word)
                .count()
        };
        let count = |wanted: fn(&Mark) -> bool| self.marks.iter().filter(|mark| wanted(mark)).count();
        let mut counts: Vec<_> = WORDS.iter().map(|word| (*word, ended(word))).collect();
        counts.push(("under way", count(|mark| matches!(mark, Mark::At(..)))));
        counts.push(("not started", count(|mark| matches!(mark, Mark::Waiting))));
        counts.retain(|(_, count)| *count > 0);
        counts
    }

    /// A device's line: where it is, who it is, what is known.
    pub(super) fn line(&self, host: &Host, mark: &Mark, now: Instant) -> Option<(&'static str, String)> {
        let (word, sentence) = match mark {
            Mark::Waiting => return None,
            Mark::At(step, since) => {
                let seconds = now.saturating_duration_since(*since).as_secs();
                let change = step.change().map(|change| change.sentence() + ", ");
                (step.word(), format!("{}{seconds} s", change.unwrap_or_default()))
            }
            Mark::Ended(outcome) => (outcome.word(), outcome.sentence()),
        };
        Some((word, format!("{host:width$}  {sentence}", width = self.width)))
    }

    fn at(&self, index: usize) -> Option<(&Host, &Mark)> {
        self.hosts.get(index).zip(self.marks.get(index))
    }
}

/// How it is shown.
pub(super) enum View {
    /// A JSON object a line an event.
    Json,
    /// A line an event.
    Lines,
    /// A table that is drawn again in place.
    Live(Live),
}

impl View {
    /// What suits standard output.
    pub(super) fn new(json: bool) -> Self {
        if json {
            Self::Json
        } else if output::is_terminal() {
            Self::Live(Live::default())
        } else {
            Self::Lines
        }
    }

    /// The rollout begins.
    pub(super) fn start(&self, board: &Board, course: &Course, keys: &[String]) -> Result<(), Failure> {
        let sizes = course.sizes();
        let sentence = match self {
            Self::Json => json!({
                "event": "start",
                "devices": board.hosts.len(),
                "stages": sizes,
                "keys": keys,
            })
            .to_string(),
            Self::Lines | Self::Live(_) => {
                let stages: Vec<String> = sizes
                    .iter()
                    .filter(|&&size| size > 0)
                    .map(ToString::to_string)
                    .collect();
                let devices = board.hosts.len();
                let plural = if devices == 1 { "" } else { "s" };
                format!(
                    "{} for {devices} device{plural}, in stages of {}.",
                    keys.join(", "),
                    stages.join(", ")
                )
            }
        };
        output::line(&sentence).map(drop)
    }

    /// A device is a step further.
    pub(super) fn step(&mut self, board: &Board, course: &Course, index: usize) -> Result<(), Failure> {
        let Some((host, mark)) = board.at(index) else {
            return Ok(());
        };
        let Mark::At(step, _) = mark else { return Ok(()) };
        match self {
            Self::Json => device(host, step.word(), step.change(), ""),
            Self::Lines => {
                let change = step.change().map(Change::sentence).unwrap_or_default();
                let line = format!("{:12} {host:width$}  {change}", step.word(), width = board.width);
                output::line(line.trim_end()).map(drop)
            }
            Self::Live(live) => live.draw(board, course, &[]),
        }
    }

    /// A device has ended.
    pub(super) fn ended(&mut self, board: &Board, course: &Course, index: usize) -> Result<(), Failure> {
        let Some((host, mark)) = board.at(index) else {
            return Ok(());
        };
        match (self, mark) {
            (Self::Json, Mark::Ended(outcome)) => {
                device(host, outcome.word(), outcome.change(), outcome.reason())
            }
            (Self::Live(live), _) => live.draw(board, course, &[index]),
            (_, mark) => match board.line(host, mark, Instant::now()) {
                Some((word, line)) => output::line(&format!("{word:12} {line}")).map(drop),
                None => Ok(()),
            },
        }
    }

    /// A person pressed Ctrl-C.
    pub(super) fn interrupted(&mut self, board: &Board, course: &Course) -> Result<(), Failure> {
        match self {
            Self::Json => output::line(&json!({"event": "interrupted"}).to_string()).map(drop),
            Self::Lines => output::line(WAITING).map(drop),
            Self::Live(live) => live.draw(board, course, &[]),
        }
    }

    /// Time passes.
    pub(super) fn tick(&mut self, board: &Board, course: &Course) -> Result<(), Failure> {
        match self {
            Self::Live(live) => live.draw(board, course, &[]),
            Self::Json | Self::Lines => Ok(()),
        }
    }

    /// Nothing moves any more.
    pub(super) fn finish(&mut self, board: &Board) -> Result<(), Failure> {
        match self {
            Self::Live(live) => live.finish(board),
            Self::Json | Self::Lines => Ok(()),
        }
    }
}

const WAITING: &str =
    "interrupted: what is under way ends, nothing else is started. Ctrl-C again ends at once.";

/// Where the rollout is, in a line; what matters most comes first, because a terminal may be narrow.
pub(super) fn headline(board: &Board, course: &Course) -> String {
    let counts: Vec<String> = board
        .counts()
        .into_iter()
        .map(|(word, count)| format!("{count} {word}"))
        .collect();
    let counts = counts.join(", ");
    match course.stopped() {
        None => format!("{}: {counts}", course.stage().title()),
        Some(Stop::Interrupted) => format!("interrupted, Ctrl-C again ends at once: {counts}"),
        Some(Stop::Bad | Stop::FirstUnreachable) => format!("stopping, what is under way ends: {counts}"),
    }
}

fn device(host: &Host, state: &str, change: Option<Change>, reason: &str) -> Result<(), Failure> {
    let event = outcome::json(&host.to_string(), state, change, reason);
    output::line(&event.to_string()).map(drop)
}
