//! The steps of a longer job: one line for each on standard error with the seconds since the start, the output of
//! its commands in a log file, and the end of that log when a command fails.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};

/// How many lines of a log are shown when its command failed.
const TAIL: usize = 25;

/// A job's clock and its log directory.
pub struct Steps {
    name: &'static str,
    started: Instant,
    logs: PathBuf,
}

impl Steps {
    /// Starts the clock of the job `name`; logs go to `logs`, which is made when the first command runs.
    pub fn new(name: &'static str, logs: PathBuf) -> Self {
        Self {
            name,
            started: Instant::now(),
            logs,
        }
    }

    /// Prints one line of progress.
    pub fn say(&self, text: &str) {
        eprintln!("{} {:4} s  {text}", self.name, self.started.elapsed().as_secs());
    }

    /// Runs `command` without standard input, its output appended to `<log>.log`. It ends when this process ends,
    /// whatever the reason.
    pub fn run(&self, log: &str, command: &Command) -> anyhow::Result<()> {
        let mut log = self.log(log)?;
        run_logged(&mut log, command, Stdio::null())
    }

    /// As [`Steps::run`], with the file `input` as standard input.
    pub fn run_with_input(&self, log: &str, command: &Command, input: &Path) -> anyhow::Result<()> {
        let mut log = self.log(log)?;
        let input = File::open(input).with_context(|| format!("cannot read {}", input.display()))?;
        run_logged(&mut log, command, Stdio::from(input))
    }

    /// Empties a log: at the start of the part of the job that writes it.
    pub fn clear(&self, log: &str) {
        // An absent log is as good as an empty one.
        let _ = fs::remove_file(self.logs.join(log).with_extension("log"));
    }

    fn log(&self, name: &str) -> anyhow::Result<Log> {
        fs::create_dir_all(&self.logs).with_context(|| format!("cannot make {}", self.logs.display()))?;
        let path = self.logs.join(name).with_extension("log");
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Log { path, file })
    }
}

struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// Read through the open file: another command may have begun a new log of this name.
    fn tail(&mut self) -> String {
        let mut text = Vec::new();
        if self
            .file
            .seek(SeekFrom::Start(0))
            .and_then(|_| self.file.read_to_end(&mut text))
            .is_err()
        {
            return String::new();
        }
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }
}

fn run_logged(log: &mut Log, command: &Command, input: Stdio) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = tethered(command)
        .stdin(input)
        .stdout(
            log.file
                .try_clone()
                .context("cannot duplicate the log's descriptor")?,
        )
        .stderr(
            log.file
                .try_clone()
                .context("cannot duplicate the log's descriptor")?,
        )
        .status()
        .with_context(|| format!("cannot run {name}"))?;
    if !status.success() {
        let tail = log.tail();
        bail!(
            "{name} failed ({status}); the end of {}:\n{tail}",
            log.path.display()
        );
    }
    Ok(())
}

/// The same command, tied to the life of this process: the kernel sends it SIGTERM when its parent dies, so that
/// nothing goes on building after an interrupt (`PR_SET_PDEATHSIG` of prctl(2), set by setpriv(1)).
pub fn tethered(command: &Command) -> Command {
    let mut tethered = Command::new("setpriv");
    tethered
        .args(["--pdeathsig", "TERM", "--"])
        .arg(command.get_program())
        .args(command.get_args());
    for (key, value) in command.get_envs() {
        set_environment(&mut tethered, key, value);
    }
    if let Some(directory) = command.get_current_dir() {
        tethered.current_dir(directory);
    }
    tethered
}

fn set_environment(command: &mut Command, key: &OsStr, value: Option<&OsStr>) {
    match value {
        Some(value) => command.env(key, value),
        None => command.env_remove(key),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_command_shows_the_end_of_its_log() {
        let logs = std::env::temp_dir().join(format!("fleet-steps-{}", std::process::id()));
        let steps = Steps::new("test", logs.clone());
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo two >&2; exit 3"]);
        let error = steps.run("failing", &command).unwrap_err().to_string();
        assert!(error.contains("one\ntwo"), "{error}");
        assert!(error.contains("exit status: 3"), "{error}");
        fs::remove_dir_all(logs).unwrap();
    }
}
