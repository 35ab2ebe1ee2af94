//! A line of directives as OpenVPN parts it into words (`parse_line` in options_parse.c), as far as it is unambiguous.

use super::{Refusal, on_line};

/// OpenVPN takes 16 words a line (`MAX_PARMS`), the directive among them.
const MAX: usize = 16;

/// The words of a line; none for a comment. A backslash is refused, and a quote that does not stand around a whole word.
pub(super) fn split(number: usize, line: &str) -> Result<Vec<&str>, Refusal> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        if matches!(first, '#' | ';') {
            break;
        }
        let end = match first {
            '"' | '\'' => {
                let inner = &rest[1..];
                let end = inner.find(first);
                let end = end.ok_or_else(|| on_line(number, "a quote has no end"))?;
                words.push(&inner[..end]);
                end + 2
            }
            _ => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                words.push(&rest[..end]);
                end
            }
        };
        let quoted = matches!(first, '"' | '\'');
        let word = words.last().copied().unwrap_or_default();
        let (_, after) = rest.split_at(end);
        if word.contains(['\\', '"']) || (!quoted && word.contains('\'')) {
            return Err(on_line(
                number,
                "a backslash, and a quote that does not stand around a whole word, are not taken",
            ));
        }
        if !after.is_empty() && !after.starts_with(char::is_whitespace) {
            return Err(on_line(number, "there is no space behind a quoted word"));
        }
        rest = after.trim_start();
    }
    if words.len() > MAX {
        return Err(on_line(number, "it has more than 16 words"));
    }
    Ok(words)
}

/// Writes a word so that OpenVPN reads it as this one.
pub(super) fn quote(text: &mut String, word: &str) {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._:/+,=@%!".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        text.push_str(word);
    } else {
        text.push('"');
        text.push_str(word);
        text.push('"');
    }
}
