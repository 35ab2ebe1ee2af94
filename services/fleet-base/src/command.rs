//! Runs a program of the image with an argument vector, no shell, an empty environment, and a time limit.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::pending::Pending;
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep, timeout_at};

/// The only folders in which a program is looked for.
const FOLDERS: [&str; 4] = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];
/// How much of what a program says is kept.
const MAX_SAID: usize = 1024;
/// How much of an answer is kept.
const MAX_ANSWER: usize = 64 * 1024;

/// Why a program did not do what it was started for.
#[derive(Debug)]
pub enum Error {
    /// It is not part of this image.
    Missing(String),
    /// It could not be started or waited for.
    Run(PathBuf, io::Error),
    /// It said this and failed.
    Failed(PathBuf, ExitStatus, String),
    /// It did not end in time, and was killed.
    TimedOut(PathBuf, Duration),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(program) => {
                write!(f, "cannot run {program}: this image does not have it")
            }
            Self::Run(path, error) => write!(f, "cannot run {}: {error}", path.display()),
            Self::Failed(path, status, said) if said.is_empty() => {
                write!(f, "{} failed with {status}", path.display())
            }
            Self::Failed(path, status, said) => write!(f, "{} failed with {status}: {said}", path.display()),
            Self::TimedOut(path, limit) => {
                write!(
                    f,
                    "{} was killed: it took longer than {} s",
                    path.display(),
                    limit.as_secs()
                )
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Run(_, error) => Some(error),
            Self::Missing(_) | Self::Failed(..) | Self::TimedOut(..) => None,
        }
    }
}

/// Runs `program` (a name, or an absolute path) and waits for its successful end.
///
/// # Errors
/// See [`Error`]; what the program wrote (standard error and standard output) is part of it.
#[inline(never)]
pub fn run<'a>(
    program: &'a str,
    arguments: &'a [&'a str],
    limit: Duration,
) -> Pending<'a, Result<(), Error>> {
    Box::pin(async move { ask(program, arguments, b"", limit).await.map(drop) })
}

/// The same, with `input` on its standard input. Returns what it wrote, at most 64 KiB of it.
///
/// # Errors
/// As of [`run`].
#[inline(never)]
pub fn ask<'a>(
    program: &'a str,
    arguments: &'a [&'a str],
    input: &'a [u8],
    limit: Duration,
) -> Pending<'a, Result<String, Error>> {
    Box::pin(run_until(program, arguments, input, limit))
}

/// Where a program is: a name, or an absolute path.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    // An absolute path takes the place of the folder it is joined to.
    FOLDERS
        .iter()
        .map(|folder| Path::new(folder).join(program))
        .find(|path| path.is_file())
}

async fn run_until(
    program: &str,
    arguments: &[&str],
    input: &[u8],
    limit: Duration,
) -> Result<String, Error> {
    let path = find(program).ok_or_else(|| Error::Missing(program.to_owned()))?;
    let deadline = Instant::now() + limit;
    let failed = |error| Error::Run(path.clone(), error);
    let (child, mut said, told) = start(&path, arguments, input.is_empty()).map_err(failed)?;
    let mut child = Running(child);
    let ended = timeout_at(deadline, async {
        let (said, ()) = tokio::join!(read_all(&mut said), write_all(told, input));
        let said = said?;
        // It closed its output, so it is ending; there is nothing to wait on but the time.
        loop {
            if let Some(status) = child.0.try_wait()? {
                return Ok((status, said));
            }
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    match ended {
        Ok(Ok((status, said))) if status.success() => Ok(said),
        Ok(Ok((status, said))) => Err(Error::Failed(path, status, sentence(&said))),
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => Err(Error::TimedOut(path, limit)),
    }
}

/// Starts it with one pipe for all that it says, and one for what it is told unless that is nothing.
fn start(
    path: &Path,
    arguments: &[&str],
    nothing: bool,
) -> io::Result<(Child, pipe::Receiver, Option<pipe::Sender>)> {
    let (input, told) = if nothing {
        (Stdio::null(), None)
    } else {
        let (reader, writer) = io::pipe()?;
        let told = pipe::Sender::from_owned_fd(OwnedFd::from(writer))?;
        (Stdio::from(reader), Some(told))
    };
    let (reader, writer) = io::pipe()?;
    let said = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
    let child = Command::new(path)
        .args(arguments)
        .env_clear()
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(input)
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()?;
    Ok((child, said, told))
}

/// Writes all, and closes. A program that ends before it has read all says why by itself.
async fn write_all(told: Option<pipe::Sender>, mut input: &[u8]) {
    let Some(told) = told else { return };
    while !input.is_empty() && told.writable().await.is_ok() {
        match told.try_write(input) {
            Ok(length) => input = &input[length..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// Reads to the end, and keeps the first [`MAX_ANSWER`] bytes.
async fn read_all(said: &mut pipe::Receiver) -> io::Result<String> {
    let mut kept = Vec::new();
    let mut buffer = [0; 256];
    loop {
        said.readable().await?;
        match said.try_read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                let room = MAX_ANSWER.saturating_sub(kept.len()).min(length);
                kept.extend_from_slice(&buffer[..room]);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8_lossy(&kept).into_owned())
}

/// One line of the beginning of what a program said.
fn sentence(said: &str) -> String {
    let start: String = said.chars().take(MAX_SAID).collect();
    start.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A program that does not outlive who waits for it: who asked may give up at any time.
struct Running(Child);

impl Drop for Running {
    /// Kills and reaps; both do nothing if it was seen to end.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn runs_with_arguments_as_they_are() {
        run("test", &["$(id) ; *", "=", "$(id) ; *"], SECOND)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn does_not_outlive_who_asked() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let script = format!("echo $$ >{}; exec sleep 60", pid.display());
        let arguments = ["-c", script.as_str()];
        assert!(
            tokio::time::timeout(SECOND, run("sh", &arguments, SECOND * 60))
                .await
                .is_err()
        );
        let pid = std::fs::read_to_string(pid).unwrap();
        assert!(
            !Path::new("/proc").join(pid.trim()).exists(),
            "it runs, or nobody reaped it"
        );
    }

    #[tokio::test]
    async fn says_what_the_program_said() {
        let error = run(
            "sh",
            &["-c", "echo out; echo 'no such thing' >&2; exit 3"],
            SECOND,
        )
        .await
        .unwrap_err();
        let text = error.to_string();
        assert!(
            text.ends_with("sh failed with exit status: 3: out no such thing"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn does_not_fill_its_memory_with_what_is_said() {
        let script = "i=0; while [ $i -lt 5000 ]; do echo 0123456789; i=$((i+1)); done; exit 1";
        let error = run("sh", &["-c", script], SECOND * 20).await.unwrap_err();
        assert!(error.to_string().len() < MAX_SAID + 100);
    }

    #[tokio::test]
    async fn passes_on_what_it_is_told() {
        let long = "x".repeat(300_000);
        assert_eq!(
            ask("/usr/bin/wc", &["-c"], long.as_bytes(), SECOND * 20)
                .await
                .unwrap(),
            "300000\n"
        );
        // One that does not listen.
        ask("true", &[], long.as_bytes(), SECOND * 20).await.unwrap();
        assert_eq!(ask("cat", &[], b"", SECOND).await.unwrap(), "");
    }

    #[tokio::test]
    async fn kills_what_does_not_end() {
        let before = Instant::now();
        let error = run("sleep", &["60"], SECOND / 10).await.unwrap_err();
        assert!(matches!(error, Error::TimedOut(..)), "{error}");
        let closed_its_output = run("sh", &["-c", "exec >&- 2>&-; exec sleep 60"], SECOND / 10).await;
        assert!(matches!(closed_its_output, Err(Error::TimedOut(..))));
        assert!(before.elapsed() < SECOND * 10);
    }

    #[tokio::test]
    async fn has_no_environment_and_no_other_folders() {
        run("sh", &["-c", "test -z \"$HOME\" && test \"$LC_ALL\" = C"], SECOND)
            .await
            .unwrap();
        assert!(matches!(
            run("no-such-program", &[], SECOND).await,
            Err(Error::Missing(_))
        ));
    }
}
