//! Printing.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use fleet_base::exit::Exit;
use serde_json::Value;

use super::failure::Failure;

/// Prints a line to standard output. A reader that went away (`| head`) is not an error.
pub(super) fn line(text: &str) -> Result<Exit, Failure> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(
            Exit::CannotWrite,
            format!("cannot write to standard output: {error}"),
        )),
        _ => Ok(Exit::Done),
    }
}

/// Text from elsewhere, such as a profile's name, on its one line: whoever wrote it neither forges another line nor drives
/// the terminal.
pub(super) fn plain(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

/// Prints one JSON value, indented.
pub(super) fn json(value: &Value) -> Result<Exit, Failure> {
    line(&format!("{value:#}"))
}

/// Prints names and sentences in two columns.
pub(super) fn rows(rows: &[(&str, String)]) -> Result<Exit, Failure> {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, sentence) in rows {
        // Further lines of a sentence stand below its first.
        let sentence = sentence.replace('\n', &format!("\n{:width$}  ", ""));
        line(&format!("{name:width$}  {sentence}"))?;
    }
    Ok(Exit::Done)
}

/// Rows of cells as lines, each column as wide as its widest cell.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths);
        let line = cells.fold(String::new(), |line, (cell, width)| {
            format!("{line}{cell:width$}  ")
        });
        line.trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// A state, in its colour where people see it: red for what is wrong, yellow for what is not done yet.
pub(super) fn painted(state: &str) -> Cow<'_, str> {
    let colour = match state {
        "refused" => 31,
        "pending-reboot" => 33,
        _ => return Cow::Borrowed(state),
    };
    if is_coloured() {
        Cow::Owned(format!("\x1b[{colour}m{state}\x1b[0m"))
    } else {
        Cow::Borrowed(state)
    }
}

/// Whether standard output is a terminal that shows colours, and the person wants them (<https://no-color.org>).
pub(super) fn is_coloured() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    is_terminal() && !is_set("NO_COLOR")
}

/// Whether standard output is a terminal that can more than print line after line.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal() && std::env::var_os("TERM").is_none_or(|kind| kind != "dumb")
}

/// A time span for people, in its two largest units.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_forges_no_line_and_paints_nothing() {
        assert_eq!(
            plain("x\u{1b}[31mRED\u{7}\nfoo é"),
            "x\u{fffd}[31mRED\u{fffd}\u{fffd}foo é"
        );
    }

    #[test]
    fn spans_have_two_units() {
        for (seconds, text) in [
            (5, "5 s"),
            (61, "1 min 1 s"),
            (3660, "1 h 1 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}
