//! What a command left behind, and the few things that a test says about it.

use std::fmt;

use anyhow::{Result, ensure};

/// A command that has ended: its text as it was given, exit code and output.
#[derive(Debug, Clone)]
pub struct Output {
    /// The command as it was given to `sh -c`.
    pub command: String,
    /// Exit code; 128 + the signal's number if a signal ended it.
    pub code: i32,
    /// Standard output, byte for byte.
    pub stdout: Vec<u8>,
    /// Standard error, byte for byte.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Standard output as text, without white space at its ends.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().to_owned()
    }

    /// Standard output is `wanted`, but for white space at its ends; and the exit code is 0.
    pub fn says(self, wanted: &str) -> Result<Self> {
        ensure!(
            self.code == 0 && self.text() == wanted,
            "expected it to say {wanted:?}\n{self}"
        );
        Ok(self)
    }

    /// Standard output contains `part`, whatever the exit code.
    pub fn mentions(self, part: &str) -> Result<Self> {
        ensure!(
            self.text().contains(part),
            "expected it to mention {part:?}\n{self}"
        );
        Ok(self)
    }

    /// Standard error contains `part`, whatever the exit code.
    pub fn complains(self, part: &str) -> Result<Self> {
        ensure!(
            String::from_utf8_lossy(&self.stderr).contains(part),
            "expected it to complain of {part:?}\n{self}"
        );
        Ok(self)
    }

    /// The exit code is 0.
    pub fn succeeds(self) -> Result<Self> {
        self.exits(0)
    }

    /// The exit code is anything but 0.
    pub fn fails(self) -> Result<Self> {
        ensure!(self.code != 0, "expected it to fail\n{self}");
        Ok(self)
    }

    /// The exit code is `code`.
    pub fn exits(self, code: i32) -> Result<Self> {
        ensure!(self.code == code, "expected exit code {code}\n{self}");
        Ok(self)
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "$ {}\nexit code {}", self.command, self.code)?;
        for (name, bytes) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !bytes.is_empty() {
                write!(f, "\n{name}: {}", String::from_utf8_lossy(bytes).trim_end())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(code: i32, stdout: &str) -> Output {
        Output {
            command: "true".into(),
            code,
            stdout: stdout.into(),
            stderr: b"oh".to_vec(),
        }
    }

    #[test]
    fn sentences_hold_or_tell_everything() {
        assert!(output(0, "running\n").says("running").is_ok());
        assert!(output(1, "running\n").says("running").is_err());
        assert!(output(1, "x").fails().is_ok());
        assert!(output(0, "x").complains("oh").is_ok());
        let error = output(3, "degraded\n").says("running").unwrap_err().to_string();
        for part in [
            "\"running\"",
            "$ true",
            "exit code 3",
            "stdout: degraded",
            "stderr: oh",
        ] {
            assert!(error.contains(part), "{part} is missing in {error}");
        }
    }
}
