//! The table of a rollout on a terminal: what is under way, drawn again in place; what has ended scrolls away above it.

use std::io::{self, Write};
use std::time::Instant;

use super::course::Course;
use super::view::{Board, Mark, headline};
use crate::cli::failure::Failure;
use crate::cli::output;

/// What is drawn, if the terminal does not say how large it is.
const USUAL: Size = Size {
    columns: 80,
    rows: 24,
};

/// A terminal's.
#[derive(Clone, Copy, Debug)]
struct Size {
    columns: usize,
    rows: usize,
}

/// The table. Remembers how many lines it has to go up to draw again.
#[derive(Debug, Default)]
pub(super) struct Live {
    drawn: usize,
}

impl Live {
    /// Draws it; the devices of `ended` have ended just now.
    pub(super) fn draw(&mut self, board: &Board, course: &Course, ended: &[usize]) -> Result<(), Failure> {
        let size = size();
        let now = Instant::now();
        let mut text = self.up();
        for index in ended {
            let row = board.rows().nth(*index);
            if let Some((word, line)) = row.and_then(|(host, mark)| board.line(host, mark, now)) {
                // Whole, however long: this is what stays.
                text += &format!("{} {line}\n", painted(word));
            }
        }
        let frame = frame(board, course, size, now);
        self.drawn = frame.len();
        for line in frame {
            text += &line;
            text.push('\n');
        }
        put(&text)
    }

    /// Takes the table away; what has ended stays.
    pub(super) fn finish(&mut self, board: &Board) -> Result<(), Failure> {
        let mut text = self.up();
        self.drawn = 0;
        for (host, mark) in board.rows().filter(|(_, mark)| matches!(mark, Mark::At(..))) {
            if let Some((_, line)) = board.line(host, mark, Instant::now()) {
                text += &format!("{} {line}\n", painted("dropped"));
            }
        }
        put(&text)
    }

    /// To the table's first line, and everything from there on cleared.
    fn up(&self) -> String {
        match self.drawn {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\r\x1b[J"),
        }
    }
}

/// The table's lines: no wider and not more than the terminal has, or going up would miss.
fn frame(board: &Board, course: &Course, size: Size, now: Instant) -> Vec<String> {
    let under_way: Vec<_> = board
        .rows()
        .filter(|(_, mark)| matches!(mark, Mark::At(..)))
        .filter_map(|(host, mark)| board.line(host, mark, now))
        .collect();
    let width = size.columns.saturating_sub(1);
    // The head, the line of what is left out, and the cursor's.
    let room = size.rows.saturating_sub(3).max(1);
    let mut lines = vec![cut(&headline(board, course), width)];
    let shown = under_way.iter().take(room);
    lines.extend(shown.map(|(word, line)| cut(&format!("  {word:10} {line}"), width)));
    if let Some(more) = under_way.len().checked_sub(room).filter(|more| *more > 0) {
        lines.push(cut(&format!("  and {more} more"), width));
    }
    lines
}

/// At most so many characters.
fn cut(line: &str, width: usize) -> String {
    match line.char_indices().nth(width) {
        None => line.to_owned(),
        Some(_) => {
            let kept: String = line.chars().take(width.saturating_sub(1)).collect();
            kept + "…"
        }
    }
}

/// How a device ended, in its colour.
fn painted(word: &str) -> String {
    let colour = match word {
        "done" => "32",
        "unchanged" => "2",
        "unreachable" => "33",
        _ => "31",
    };
    if output::is_coloured() {
        format!("\x1b[{colour}m{word:12}\x1b[0m")
    } else {
        format!("{word:12}")
    }
}

fn size() -> Size {
    rustix::termios::tcgetwinsize(io::stdout())
        .ok()
        .filter(|size| size.ws_col > 0 && size.ws_row > 0)
        .map_or(USUAL, |size| Size {
            columns: size.ws_col.into(),
            rows: size.ws_row.into(),
        })
}

/// In one write, so that nothing flickers.
fn put(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Failure::other(format!("cannot write to the terminal: {error}")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::hosts;
    use super::super::outcome::{Change, Failed, Fault, Outcome, Step};
    use super::*;

    fn board() -> (Board, Course, Instant) {
        let hosts = hosts::parse_list("alpha\nbeta:22\nroot@gamma.example\ndelta\nepsilon\n").unwrap();
        let mut course = Course::new(hosts.len(), Some(3), 9);
        let mut board = Board::new(Arc::new(hosts));
        course.next();
        board.ended(
            0,
            Outcome::Done(Change {
                before: 4,
                after: Some(5),
            }),
        );
        course.ended(super::super::course::Ending::Well);
        board.step(1, Step::Asking);
        board.step(
            2,
            Step::Settling(Change {
                before: 7,
                after: Some(8),
            }),
        );
        let later = Instant::now() + Duration::from_millis(2500);
        (board, course, later)
    }

    #[test]
    fn shows_what_is_under_way() {
        let (board, course, now) = board();
        let size = Size {
            columns: 80,
            rows: 24,
        };
        assert_eq!(
            frame(&board, &course, size, now),
            [
                "a few: 1 done, 2 under way, 2 not started",
                "  asking     beta:22             2 s",
                "  settling   root@gamma.example  revision 7 → 8, 2 s",
            ]
        );
    }

    #[test]
    fn fits_the_terminal() {
        let (mut board, mut course, now) = board();
        board.step(3, Step::Sending);
        for rows in 1..10 {
            for columns in 1..60 {
                let frame = frame(&board, &course, Size { columns, rows }, now);
                assert!(frame.len() < rows.max(4), "{rows} rows: {frame:?}");
                assert!(
                    frame.iter().all(|line| line.chars().count() < columns.max(2)),
                    "{columns} columns: {frame:?}"
                );
            }
        }
        let few = frame(&board, &course, Size { columns: 30, rows: 4 }, now);
        assert_eq!(few.last().map(String::as_str), Some("  and 2 more"));
        assert!(few[0].ends_with('…'));
        course.interrupt();
        assert!(
            frame(&board, &course, USUAL, now)[0].starts_with("interrupted, Ctrl-C again ends at once: ")
        );
    }

    #[test]
    fn says_how_a_device_ended() {
        let (mut board, _, now) = board();
        let failed = Failed {
            fault: Fault::Lost,
            reason: "Connection timed out".into(),
            change: Some(Change {
                before: 7,
                after: None,
            }),
        };
        board.ended(2, Outcome::Failed(failed));
        board.ended(3, Outcome::Unreachable("No route to host".into()));
        let lines: Vec<_> = board
            .rows()
            .filter_map(|(host, mark)| board.line(host, mark, now))
            .collect();
        assert_eq!(
            lines,
            [
                ("done", "alpha               revision 4 → 5".to_owned()),
                ("asking", "beta:22             2 s".to_owned()),
                (
                    "lost",
                    "root@gamma.example  revision 7 → not known; Connection timed out".to_owned()
                ),
                ("unreachable", "delta               No route to host".to_owned()),
            ]
        );
    }
}
