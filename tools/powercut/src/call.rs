//! One line of strace(1), taken apart.

use anyhow::{Context, Result, bail};

/// A system call that has returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its arguments as strace shows them.
    pub arguments: Vec<&'a str>,
    /// What it returned; negative if it failed.
    pub result: i64,
}

impl<'a> Call<'a> {
    /// Reads `name(arguments) = result …`; `None` for what is no call: a signal, the end of a process, a call that
    /// never returned.
    pub fn parse(line: &'a str) -> Result<Option<Self>> {
        if line.starts_with("---") || line.starts_with("+++") {
            return Ok(None);
        }
        let Some((name, rest)) = line.split_once('(') else {
            bail!("strace says what is no system call: {line}")
        };
        let (arguments, rest) = split(rest).with_context(|| format!("strace ends in the middle: {line}"))?;
        let result = rest.trim_start().strip_prefix('=').unwrap_or_default();
        let result = result.split_whitespace().next().unwrap_or("?");
        let Ok(result) = result.parse() else {
            return Ok(None);
        };
        Ok(Some(Self {
            name,
            arguments,
            result,
        }))
    }

    /// An argument.
    pub fn argument(&self, index: usize) -> Result<&'a str> {
        let argument = self.arguments.get(index).copied();
        argument.with_context(|| format!("{} has no argument {index}", self.name))
    }

    /// An argument that is a number.
    pub fn number(&self, index: usize) -> Result<i64> {
        let argument = self.argument(index)?;
        let number = argument.parse();
        number.with_context(|| format!("{}: {argument} is no number", self.name))
    }

    /// An argument that is a path.
    pub fn path(&self, index: usize) -> Result<String> {
        Ok(String::from_utf8(bytes(self.argument(index)?)?)?)
    }
}

/// Splits the arguments at the commas that stand outside brackets and quotes, as far as the closing parenthesis;
/// returns what comes after it too.
fn split(text: &str) -> Option<(Vec<&str>, &str)> {
    let mut arguments = Vec::new();
    let (mut depth, mut start, mut quoted) = (0, 0, false);
    for (at, character) in text.char_indices() {
        match character {
            '"' => quoted = !quoted,
            _ if quoted => {}
            '[' | '{' | '(' => depth += 1,
            ')' if depth == 0 => {
                let last = text[start..at].trim();
                if !last.is_empty() {
                    arguments.push(last);
                }
                return Some((arguments, &text[at + 1..]));
            }
            ']' | '}' | ')' => depth -= 1,
            ',' if depth == 0 => {
                arguments.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    None
}

/// All quoted strings of an argument, one after the other. strace was told to write every byte as `\x..`.
pub fn bytes(argument: &str) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut parts = argument.split('"').skip(1);
    while let Some(quoted) = parts.next() {
        for digits in quoted.split("\\x").skip(1) {
            all.push(u8::from_str_radix(digits, 16).with_context(|| format!("{digits} is no byte"))?);
        }
        if parts.next().is_some_and(|after| after.starts_with("...")) {
            bail!("strace shortened a string");
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_calls_apart() {
        let call = Call::parse(
            r#"writev(3, [{iov_base="\x61\x2c", iov_len=2}, {iov_base="\x62", iov_len=1}], 2) = 3"#,
        )
        .unwrap()
        .unwrap();
        assert_eq!((call.name, call.arguments.len(), call.result), ("writev", 3, 3));
        assert_eq!(bytes(call.arguments[1]).unwrap(), b"a,b");
        let failed =
            Call::parse(r#"openat(AT_FDCWD, "\x2f", O_WRONLY) = -1 EISDIR (Is a directory)"#).unwrap();
        assert_eq!(failed.unwrap().result, -1);
        for none in ["+++ exited with 0 +++", "--- SIGCHLD {} ---", "exit_group(0) = ?"] {
            assert_eq!(Call::parse(none).unwrap(), None);
        }
        assert!(bytes(r#""\x61"..."#).is_err());
    }
}
