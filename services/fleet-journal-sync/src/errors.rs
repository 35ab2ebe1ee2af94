//! The journal's errors as they come: that there is one, not what it says.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use tokio::net::unix::pipe;

/// What follows the journal (journalctl(1)). All transports, the kernel's too, on whichever side of a switch it is.
const JOURNALCTL: &str = "/usr/bin/journalctl";
/// Of each record only its priority is written. The newest one is, too, when it starts: whatever comes after it has looked
/// cannot be missed then.
const ARGUMENTS: [&str; 6] = [
    "--follow",
    "--lines=1",
    "--priority=err",
    "--output=cat",
    "--output-fields=PRIORITY",
    "--quiet",
];

/// Errors and worse, from the newest one on.
pub(crate) struct Errors {
    journalctl: Child,
    said: pipe::Receiver,
}

impl Errors {
    /// Begins to follow. Must be called inside a tokio runtime.
    pub(crate) fn follow() -> io::Result<Self> {
        Self::of(Command::new(JOURNALCTL).args(ARGUMENTS))
    }

    fn of(command: &mut Command) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let said = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
        let journalctl = command
            .env_clear()
            .env("LC_ALL", "C")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(writer)
            .spawn()?;
        Ok(Self { journalctl, said })
    }

    /// Waits until there is at least one that was not heard of yet. Cancel-safe: it waits for nothing once it has read.
    ///
    /// # Errors
    /// Nothing follows any more.
    pub(crate) async fn heard(&self) -> io::Result<()> {
        let mut some = false;
        let mut buffer = [0; 512];
        loop {
            match self.said.try_read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => some = true,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Err(_) if some => return Ok(()),
                Err(_) => self.said.readable().await?,
            }
        }
    }
}

impl Drop for Errors {
    /// Both fail only if it has ended already.
    fn drop(&mut self) {
        let _ = self.journalctl.kill();
        let _ = self.journalctl.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn saying(script: &str) -> Errors {
        Errors::of(Command::new("/bin/sh").args(["-c", script])).unwrap()
    }

    #[tokio::test]
    async fn many_are_heard_of_once_and_the_end_is_an_error() {
        let errors = saying("seq 3 100000; exec sleep 0.5");
        let mut times = 0;
        let ended = loop {
            match errors.heard().await {
                Ok(()) => times += 1,
                Err(error) => break error,
            }
            // As long as a sync takes: the rest has come meanwhile.
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        assert_eq!(ended.kind(), io::ErrorKind::UnexpectedEof);
        assert!((1..50).contains(&times), "{times}");
    }

    #[tokio::test]
    async fn silence_is_waited_through() {
        let errors = saying("echo 3; exec sleep 60");
        errors.heard().await.unwrap();
        let more = timeout(Duration::from_millis(100), errors.heard()).await;
        assert!(more.is_err());
    }
}
