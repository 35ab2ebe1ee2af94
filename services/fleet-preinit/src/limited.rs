//! Other programs, with a time limit: nothing watches over this step, and a dying card must not hold the boot for ever.

use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Where the programs are; the kernel gives process 1 no `PATH`.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs a program to its end, without input or output. Returns its exit status.
///
/// # Errors
/// It could not be run, or did not end within `limit`; it is then killed, and left behind if even that does not help
/// (a process that waits for a broken disk).
pub(crate) fn status(command: &mut Command, limit: Duration) -> io::Result<ExitStatus> {
    let mut child = quiet(command).stdout(Stdio::null()).spawn()?;
    wait(&mut child, limit)
}

/// The same for a program that prints a line: returns that too.
pub(crate) fn line(command: &mut Command, limit: Duration) -> io::Result<(ExitStatus, String)> {
    let mut child = quiet(command).stdout(Stdio::piped()).spawn()?;
    let status = wait(&mut child, limit)?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout {
        // The pipe itself holds more than that, so that the program never waited for a reader.
        stdout.take(4096).read_to_string(&mut line)?;
    }
    Ok((status, line))
}

fn quiet(command: &mut Command) -> &mut Command {
    command
        .env("PATH", PATH)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
}

fn wait(child: &mut Child, limit: Duration) -> io::Result<ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            child.kill()?;
            let text = format!("no end after {} s", limit.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_status_and_output() {
        let mut command = Command::new("sh");
        let (status, output) =
            line(command.args(["-c", "echo label; exit 3"]), Duration::from_secs(9)).unwrap();
        assert_eq!((status.code(), output.as_str()), (Some(3), "label\n"));
    }

    #[test]
    fn does_not_wait_for_ever() {
        let error = status(Command::new("sleep").arg("60"), Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
