//! Printing.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use fleet_base::exit::Exit;
use fleet_medium::failure::Failure;

/// Prints a line to standard output. A reader that went away (`| head`) is not an error.
pub fn line(text: &str) -> Result<(), Failure> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(
            Exit::CannotWrite,
            format!("cannot write to standard output: {error}"),
        )),
        _ => Ok(()),
    }
}

/// Prints rows of cells, each column as wide as its widest cell.
pub fn table<const N: usize>(rows: &[[String; N]]) -> Result<(), Failure> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths);
        let text = cells.fold(String::new(), |text, (cell, width)| {
            format!("{text}{cell:width$}  ")
        });
        // The state is the first word, so that colour moves nothing.
        let state = row.first().map(String::as_str).unwrap_or_default();
        let rest = text.strip_prefix(state).unwrap_or_default();
        line(&format!("{}{}", painted(state), rest.trim_end()))?;
    }
    Ok(())
}

/// A state, in its colour where people see it: red for what is wrong, yellow for what deserves a look.
fn painted(state: &str) -> Cow<'_, str> {
    let colour = match state {
        "refused" => 31,
        "unknown" => 33,
        _ => return Cow::Borrowed(state),
    };
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|kind| kind == "dumb");
    if io::stdout().is_terminal() && !is_dumb && !is_set("NO_COLOR") {
        Cow::Owned(format!("\x1b[{colour}m{state}\x1b[0m"))
    } else {
        Cow::Borrowed(state)
    }
}

/// A text out of an image or file, on one line and without control characters.
pub fn shown(text: &str) -> String {
    text.escape_debug().to_string()
}

/// A number of things.
pub fn count(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}
