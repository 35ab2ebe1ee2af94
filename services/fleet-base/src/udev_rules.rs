//! udev rules from outside: their names, their grammar, and what they may do on a device in production.
//!
//! Both sides of the bus judge by this: `fleet-config` key by key, the helper again because it is root. The grammar is
//! that of udev(7) and of systemd's `udev-rules.c`, and narrower where udev guesses: a line that is read here in
//! another way than udev reads it would be a way around the check, so whatever is not understood is refused.

mod grammar;
mod production;

use std::fmt;

pub use grammar::{Assignment, Operator, Token};

/// The most rule files that are taken.
pub const MAX_FILES: usize = 64;
/// The most bytes a rule file may have. A long real one has 10 KiB.
pub const MAX_BYTES: usize = 32 * 1024;
/// The most bytes of all together: `/run` is memory.
pub const MAX_TOTAL: usize = 256 * 1024;

/// What the files end in that hold rules of the configuration, behind the name that decides about the order in which
/// udev reads them. No package's file does.
pub const OURS: &str = ".fleet.rules";

const SUFFIX: &str = ".rules";

/// Why a rule file is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Its name breaks the rule.
    Name,
    /// It has more than [`MAX_BYTES`].
    Length,
    /// A line is not as udev(7) has it.
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        rule: &'static str,
    },
    /// A line does what only a device in development mode allows.
    Forbidden {
        /// The line, from 1.
        line: usize,
        /// The key that does it, as `RUN{program}`.
        key: String,
        /// Why not.
        why: &'static str,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str(
                "the name of a rule file has 1 to 64 letters, digits and _ . -, beginning with a letter or digit",
            ),
            Self::Length => write!(f, "a rule file has at most {} KiB", MAX_BYTES / 1024),
            Self::Syntax { line, rule } => write!(f, "line {line}: {rule} (udev(7))"),
            Self::Forbidden { line, key, why } => {
                write!(f, "line {line}: {key} is for developmentMode only: {why}")
            }
        }
    }
}

impl std::error::Error for Problem {}

/// The name of a rule file without its ending.
///
/// # Errors
/// [`Problem::Name`]: it is not `[A-Za-z0-9][A-Za-z0-9_.-]{0,63}`, with or without `.rules`.
pub fn stem(name: &str) -> Result<&str, Problem> {
    let stem = name.strip_suffix(SUFFIX).unwrap_or(name);
    let good = (1..=64).contains(&name.len())
        && stem
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric())
        && stem
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if good { Ok(stem) } else { Err(Problem::Name) }
}

/// Judges the text of a rule file.
///
/// # Errors
/// [`Problem`], the first one.
pub fn check(text: &str, development: bool) -> Result<(), Problem> {
    if text.len() > MAX_BYTES {
        return Err(Problem::Length);
    }
    for line in grammar::lines(text) {
        let (number, tokens) = line?;
        if !development {
            production::check(number, &tokens)?;
        }
    }
    Ok(())
}

/// The subsystems that the rules of a good text are about, as patterns of fnmatch(3); `None` if a rule of it does not
/// say one, and so may be about any device.
#[must_use]
pub fn subsystems(text: &str) -> Option<Vec<String>> {
    let mut all = Vec::new();
    for line in grammar::lines(text) {
        let (_, tokens) = line.ok()?;
        // What only jumps, or is jumped to, changes no device.
        let does = |token: &Token| {
            token.operator.is_assignment() && !["GOTO", "LABEL"].contains(&token.key.as_str())
        };
        if !tokens.iter().any(does) {
            continue;
        }
        let named = tokens
            .iter()
            .find(|token| token.key == "SUBSYSTEM" && token.operator == Operator::Match)?;
        for pattern in named.value.split('|') {
            if !all.iter().any(|listed| listed == pattern) {
                all.push(pattern.to_owned());
            }
        }
    }
    Some(all)
}

#[cfg(test)]
mod tests;
