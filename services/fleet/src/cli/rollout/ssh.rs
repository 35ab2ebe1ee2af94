//! The system's ssh(1), so that a person's own keys, agent, jump hosts and known hosts apply.

use std::ffi::{OsStr, OsString};
use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::answer::printable;
use super::hosts::Host;

/// How long one command on a device may take, with all connecting. Its own calls end sooner.
const LIMIT: Duration = Duration::from_secs(180);

/// The longest answer that is read, in bytes; a status is some KiB.
const MAX_ANSWER: u64 = 4 * 1024 * 1024;

/// What ssh exits with when it could not do its part (ssh(1), EXIT STATUS).
const NOT_REACHED: i32 = 255;

/// Before the person's options, because the first one counts: without these nothing could be told from the answer.
const FIRST: [&str; 4] = [
    // Each command has a connection of its own, so that an answer shows that one can still be made.
    "ControlMaster=no",
    "ControlPath=none",
    // The command is ours, whatever is configured for the host.
    "RemoteCommand=none",
    "RequestTTY=no",
];

/// After the person's options: how it is unless a person wants it otherwise.
const DEFAULTS: [&str; 8] = [
    // Nobody is there to answer a question.
    "BatchMode=yes",
    "ConnectTimeout=10",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
    // A device gets nothing that it does not need.
    "ForwardAgent=no",
    "ForwardX11=no",
    "ClearAllForwardings=yes",
    "LogLevel=ERROR",
];

/// How ssh is called.
#[derive(Clone, Debug)]
pub(super) struct Ssh {
    configuration: Option<OsString>,
    options: Vec<String>,
}

/// What a command on a device answered.
#[derive(Debug)]
pub(super) struct Reply {
    /// Its exit code.
    pub(super) code: i32,
    pub(super) stdout: Vec<u8>,
    /// Standard error as one line.
    pub(super) complaint: String,
}

/// The device was not reached, or the connection broke: what ssh said.
#[derive(Debug)]
pub(super) struct NotReached(pub(super) String);

impl Ssh {
    /// With this file and these options of a person, as `ssh -F` and `ssh -o` take them.
    pub(super) fn new(configuration: Option<&OsStr>, options: &[String]) -> Self {
        Self {
            configuration: configuration.map(OsStr::to_owned),
            options: options.to_vec(),
        }
    }

    /// ssh's arguments for a command on a host. The command is one of ours and has nothing in it that a shell there
    /// would read otherwise.
    fn arguments(&self, host: &Host, command: &str) -> Vec<String> {
        let first = FIRST.iter().map(|&option| option.to_owned());
        let defaults = DEFAULTS.iter().map(|&option| option.to_owned());
        let options = first.chain(self.options.iter().cloned()).chain(defaults);
        let mut arguments: Vec<String> = options.flat_map(|option| ["-o".to_owned(), option]).collect();
        let port = host.port.to_string();
        arguments.extend(["-p", &port, "-l", &host.user, "--", &host.name, command].map(str::to_owned));
        arguments
    }

    /// Runs a command on a host over a new connection, and gives it `input`.
    pub(super) async fn run(
        &self,
        host: &Host,
        command: &str,
        input: Option<&str>,
    ) -> Result<Reply, NotReached> {
        let spoken = tokio::time::timeout(LIMIT, self.speak(host, command, input)).await;
        let (code, stdout, stderr) = match spoken {
            Ok(Ok(spoken)) => spoken,
            Ok(Err(error)) => return Err(NotReached(format!("ssh cannot be run: {error}"))),
            Err(_) => return Err(NotReached(format!("no answer in {} s", LIMIT.as_secs()))),
        };
        let complaint = printable(&String::from_utf8_lossy(&stderr));
        match code {
            Some(code) if code != NOT_REACHED => Ok(Reply {
                code,
                stdout,
                complaint,
            }),
            _ if complaint.is_empty() => Err(NotReached("the connection broke".to_owned())),
            _ => Err(NotReached(complaint)),
        }
    }

    async fn speak(
        &self,
        host: &Host,
        command: &str,
        input: Option<&str>,
    ) -> io::Result<(Option<i32>, Vec<u8>, Vec<u8>)> {
        let configuration = self.configuration.iter().map(OsString::as_os_str);
        let mut child = Command::new("ssh")
            .args(configuration.flat_map(|file| [OsStr::new("-F"), file]))
            .args(self.arguments(host, command))
            .stdin(if input.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C at the terminal is for us; what is under way ends in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let stdin = child.stdin.take();
        let feed = async move {
            if let (Some(mut stdin), Some(input)) = (stdin, input) {
                // One that does not read to the end says why by its exit code.
                let _ = stdin.write_all(input.as_bytes()).await;
            }
        };
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let ((), stdout, stderr) = tokio::join!(feed, all_of(stdout), all_of(stderr));
        Ok((child.wait().await?.code(), stdout?, stderr?))
    }
}

/// Reads to the end, but not more than an answer is long.
async fn all_of(stream: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        stream.take(MAX_ANSWER).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_s_options_come_after_what_must_be_and_before_what_may() {
        let ssh = Ssh::new(None, &["ConnectTimeout=3".to_owned(), "Port=22".to_owned()]);
        let host = Host::parse("me@[fe80::1%eth0]").unwrap();
        let arguments = ssh.arguments(&host, "fleet status --json").join(" ");
        let place = |part: &str| arguments.find(part).unwrap();
        assert!(place("ControlPath=none") < place("ConnectTimeout=3"));
        assert!(place("ConnectTimeout=3") < place("ConnectTimeout=10"));
        assert!(place("Port=22") < place("-p 22222"));
        assert!(
            arguments.ends_with("-p 22222 -l me -- fe80::1%eth0 fleet status --json"),
            "{arguments}"
        );
    }
}
