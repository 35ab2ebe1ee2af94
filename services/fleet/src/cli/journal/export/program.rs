//! A program of the image in a pipeline: ended and reaped when it is dropped.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use fleet_base::command;
use fleet_base::exit::Exit;
use tokio::net::unix::pipe;
use tokio::time::sleep;

use crate::cli::failure::Failure;

/// How much of what it complains of is kept: the end of it, which says why it ended.
const MAX_SAID: usize = 2048;

/// A program that runs.
pub(super) struct Program {
    name: String,
    child: Child,
    complaints: pipe::Receiver,
}

/// Where a program is.
pub(super) fn find(program: &str) -> Result<PathBuf, Failure> {
    command::find(program).ok_or_else(|| {
        let name = program.rsplit('/').next().unwrap_or(program);
        Failure::new(
            Exit::Unavailable,
            format!("{name} is not installed: without it there is no export"),
        )
    })
}

impl Program {
    /// Starts it, with an empty environment.
    pub(super) fn start(
        program: &str,
        arguments: &[OsString],
        input: Stdio,
        output: Stdio,
    ) -> Result<Self, Failure> {
        let path = find(program)?;
        let name = program.rsplit('/').next().unwrap_or(program).to_owned();
        let started = (|| {
            let (reader, writer) = io::pipe()?;
            let complaints = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
            let child = Command::new(path)
                .args(arguments)
                .env_clear()
                .env("LC_ALL", "C")
                .stdin(input)
                .stdout(output)
                .stderr(writer)
                .spawn()?;
            io::Result::Ok((child, complaints))
        })();
        let (child, complaints) = started.map_err(|error| cannot_run(&name, &error))?;
        Ok(Self {
            name,
            child,
            complaints,
        })
    }

    /// Waits for its end, and returns what it complained of, as one line.
    pub(super) async fn end(&mut self) -> Result<(ExitStatus, String), Failure> {
        let mut said = Vec::new();
        let mut buffer = [0; 512];
        loop {
            let read = match self.complaints.readable().await {
                Ok(()) => self.complaints.try_read(&mut buffer),
                Err(error) => Err(error),
            };
            match read {
                Ok(0) => break,
                Ok(length) => {
                    said.extend_from_slice(&buffer[..length]);
                    said.drain(..said.len().saturating_sub(MAX_SAID));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(cannot_run(&self.name, &error)),
            }
        }
        let said = String::from_utf8_lossy(&said);
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        // It closed its output, so it is ending; there is nothing to wait on but the time.
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Ok((status, said)),
                Ok(None) => sleep(Duration::from_millis(5)).await,
                Err(error) => return Err(cannot_run(&self.name, &error)),
            }
        }
    }
}

impl Drop for Program {
    /// Both fail only if it has ended already.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn cannot_run(name: &str, error: &io::Error) -> Failure {
    Failure::other(format!("cannot run {name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn says_how_it_ended_and_the_end_of_what_it_said() {
        let script = "i=0; while [ $i -lt 2000 ]; do echo 0123456789 >&2; i=$((i+1)); done; echo the reason >&2; exit 3";
        let mut program =
            Program::start("sh", &["-c".into(), script.into()], Stdio::null(), Stdio::null()).unwrap();
        let (status, said) = program.end().await.unwrap();
        assert_eq!(status.code(), Some(3));
        assert!(said.ends_with(" the reason") && said.len() <= MAX_SAID, "{said}");
    }

    #[tokio::test]
    async fn ends_with_its_owner() {
        let program = Program::start("sleep", &["60".into()], Stdio::null(), Stdio::null()).unwrap();
        let id = program.child.id();
        drop(program);
        assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
    }

    #[test]
    fn one_that_is_missing_is_named() {
        let failure = find("/usr/lib/systemd/no-such-program").unwrap_err();
        assert_eq!(failure.exit(), Exit::Unavailable);
        assert!(
            failure
                .to_string()
                .starts_with("no-such-program is not installed")
        );
    }
}
