//! What every kind of guest can do, and how a command's output is carried.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::output::Output;

/// The environment of every command in a guest, whatever the tier.
pub(crate) const ENVIRONMENT: [(&str, &str); 6] = [
    (
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ),
    ("HOME", "/root"),
    ("USER", "root"),
    ("LOGNAME", "root"),
    ("LANG", "C.UTF-8"),
    // No colours and no pager: the output is for a program or a log.
    ("TERM", "dumb"),
];

/// Where a command's standard output and standard error go, byte for byte and as they come.
#[derive(Debug)]
pub struct Streams {
    /// Standard output.
    pub stdout: File,
    /// Standard error.
    pub stderr: File,
}

impl Streams {
    /// The caller's own.
    pub fn inherited() -> Result<Self> {
        let copy = |stream: std::os::fd::BorrowedFd<'_>| stream.try_clone_to_owned().map(File::from);
        Ok(Self {
            stdout: copy(std::io::stdout().as_fd()).context("cannot copy standard output")?,
            stderr: copy(std::io::stderr().as_fd()).context("cannot copy standard error")?,
        })
    }
}

/// A machine or a container that boots the image.
pub(crate) trait Guest {
    /// Boots; returns before the guest has.
    fn start(&mut self) -> Result<()>;

    /// Whether the guest is there, or has gone through a reboot of its own and was started again. An error if it
    /// is off.
    fn check(&mut self) -> Result<Presence>;

    /// Runs a command with `sh -c` as root; returns its exit code. An error means that the command could not be
    /// run, for example because the guest is still booting.
    fn exec(&mut self, command: &str, streams: Streams) -> Result<i32>;

    /// Asks for an orderly reboot and returns when the guest boots again.
    fn reboot(&mut self, deadline: Instant) -> Result<()>;

    /// Takes the power away and gives it back.
    fn cut(&mut self) -> Result<()>;

    /// The file that holds what the guest printed on its console.
    fn console(&self) -> PathBuf;

    /// How long to wait before asking a booting guest the same thing again.
    fn patience(&self) -> Duration;
}

/// See [`Guest::check`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// It is there, as it was.
    Same,
    /// It has been started again just now, and is booting.
    Again,
}

/// Runs a command with its streams going to files below `folder`, and reads them.
pub(crate) fn captured(
    folder: &Path,
    command: &str,
    run: impl FnOnce(Streams) -> Result<i32>,
) -> Result<Output> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let paths = ["out", "err"].map(|end| folder.join(format!("{number}.{end}")));
    let create =
        |path: &Path| File::create(path).with_context(|| format!("cannot create {}", path.display()));
    // Files, not pipes: a process that the command leaves behind cannot keep us waiting.
    let code = run(Streams {
        stdout: create(&paths[0])?,
        stderr: create(&paths[1])?,
    });
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let (stdout, stderr) = (read(&paths[0])?, read(&paths[1])?);
    for path in &paths {
        let _ = fs::remove_file(path);
    }
    Ok(Output {
        command: command.to_owned(),
        code: code?,
        stdout,
        stderr,
    })
}

/// Waits for an nsenter(1), which stops itself when the process that it started is stopped, as systemd does with
/// all processes when it shuts down: left alone it would stay so, and keep the guest from ending.
pub(crate) fn wait(nsenter: &mut Child) -> Result<i32> {
    let process = Pid::from_raw(i32::try_from(nsenter.id()).context("process number out of range")?);
    loop {
        match waitpid(process, Some(WaitPidFlag::WUNTRACED)) {
            Ok(WaitStatus::Exited(_, code)) => return Ok(code),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(128 + signal as i32),
            Ok(WaitStatus::Stopped(..)) => {
                kill(process, Signal::SIGCONT).context("cannot continue nsenter")?
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("cannot wait for nsenter"),
        }
    }
}

/// The exit code as a shell has it: 128 + the number of the signal that ended it.
pub(crate) fn code(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .unwrap_or(255)
}

/// The last lines of a console without its colours and cursor movements.
pub(crate) fn tail(console: &Path, lines: usize) -> String {
    let text = fs::read(console).unwrap_or_default();
    let text = plain(&String::from_utf8_lossy(&text));
    let all: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty() && !is_spinner(line))
        .collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// systemd's moving star beside a job that takes its time.
fn is_spinner(line: &str) -> bool {
    let star = line.strip_prefix('[').and_then(|line| line.split_once(']'));
    star.is_some_and(|(star, _)| star.contains('*') && star.trim_matches([' ', '*']).is_empty())
}

/// The text without escape sequences (ECMA-48 5.4) and carriage returns.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\x1b' if characters.next_if_eq(&'[').is_some() => {
                while characters
                    .next_if(|character| !('@'..='~').contains(character))
                    .is_some()
                {}
                characters.next();
            }
            '\x1b' => {
                characters.next();
            }
            '\r' => {}
            _ => plain.push(character),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn console_is_shown_without_colours() {
        assert_eq!(
            plain("[\x1b[0;32m  OK  \x1b[0m] Started\r\n\x1b[?7hx\x1b7y"),
            "[  OK  ] Started\nxy"
        );
    }

    #[test]
    fn spinners_are_no_news() {
        assert!(is_spinner(
            "[ ***  ] (1 of 2) Job fleet-watch.service/start running (57s / 1min 31s)"
        ));
        assert!(!is_spinner(
            "[  OK  ] Started ssh.service - OpenBSD Secure Shell server."
        ));
    }

    #[test]
    fn signals_are_codes_as_in_a_shell() {
        assert_eq!(code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(code(ExitStatus::from_raw(9)), 137);
    }
}
