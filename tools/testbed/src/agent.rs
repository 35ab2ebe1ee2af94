//! The guest agent (qemu-guest-agent) over its virtio-serial port: how commands get into a guest in QEMU without
//! its network. Protocol: docs/interop/qemu-ga-ref in QEMU's source.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Value, json};

use crate::guest::{ENVIRONMENT, Streams};
use crate::qmp::connect;

/// How long an agent that has just answered may take to answer again.
const ANSWER: Duration = Duration::from_secs(30);
/// How long to wait for an agent that may not be there yet.
const GREETING: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// Bytes a read.
const CHUNK: usize = 1 << 20;
/// Where the guest keeps the output of the command that runs. In files: there is then no limit but the guest's
/// memory, output is seen while the command runs, and a process left behind does not hold the answer back.
const FOLDER: &str = "/run/testbed";
/// `$1` is the folder, `$2` the command's number, `$3` the command, `$4` not empty if it is time to clean up.
/// Every process counts: emulated, one takes some 20 ms to start.
const WRAPPER: &str = r#"[ -d "$1" ] || mkdir -p -m 700 "$1"; [ -z "$4" ] || rm -f "$1"/*
exec </dev/null >"$1/$2.out" 2>"$1/$2.err" && cd / && exec /bin/sh -c "$3""#;
/// Bytes of output that may lie around in the guest.
const LITTER: usize = 1 << 20;

/// The host's end of the port.
pub(crate) struct Agent {
    socket: PathBuf,
    stream: Option<BufReader<UnixStream>>,
    /// Whether it has answered since the last silence.
    there: bool,
    number: u64,
    /// Bytes of output since the guest's last cleaning up.
    litter: usize,
}

impl Agent {
    /// An agent that is yet to be spoken to.
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            stream: None,
            there: false,
            number: 0,
            litter: 0,
        }
    }

    /// Forgets the conversation: the machine has been started again.
    pub(crate) fn forget(&mut self) {
        self.stream = None;
        self.there = false;
    }

    /// Runs a command with `sh -c`, its output going to `streams` as it comes; returns its exit code.
    pub(crate) fn exec(&mut self, command: &str, mut streams: Streams) -> Result<i32> {
        self.greet()?;
        let number = self.number;
        let environment: Vec<String> = ENVIRONMENT
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let clean = if self.litter > LITTER { "clean" } else { "" };
        let started = self.call(
            "guest-exec",
            json!({
                "path": "/bin/sh",
                "arg": ["-c", WRAPPER, "sh", FOLDER, number.to_string(), command, clean],
                "env": environment,
            }),
        )?;
        let process = started
            .get("pid")
            .and_then(Value::as_i64)
            .context("guest-exec gave no process number")?;

        let mut stdout = Tail::new(format!("{FOLDER}/{number}.out"));
        let mut stderr = Tail::new(format!("{FOLDER}/{number}.err"));
        let mut pause = Duration::from_millis(5);
        loop {
            let status = self.call("guest-exec-status", json!({"pid": process}))?;
            // Read after the question: what was written before the end is then read as well.
            stdout.forward(self, &mut streams.stdout)?;
            stderr.forward(self, &mut streams.stderr)?;
            if let Some(code) = exit_code(&status) {
                stdout.close(self)?;
                stderr.close(self)?;
                self.litter = if clean.is_empty() { self.litter } else { 0 } + stdout.passed + stderr.passed;
                return Ok(code);
            }
            thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Makes sure that the agent is there and that the next answer belongs to the next question.
    fn greet(&mut self) -> Result<()> {
        self.number += 1;
        if self.there {
            return Ok(());
        }
        let stream = match self.stream.take() {
            Some(stream) => stream,
            None => BufReader::new(connect(&self.socket)?),
        };
        let stream = self.stream.insert(stream);
        stream.get_ref().set_read_timeout(Some(GREETING))?;
        // Unique among all greetings, of which the agent may have several left to answer.
        let id = u64::from(std::process::id()) << 24 | self.number;
        let greeting = json!({"execute": "guest-sync-delimited", "arguments": {"id": id}});
        stream.get_mut().write_all(format!("{greeting}\n").as_bytes())?;
        let deadline = Instant::now() + GREETING;
        while Instant::now() < deadline {
            let mut line = Vec::new();
            stream
                .read_until(b'\n', &mut line)
                .context("the guest agent does not answer")?;
            let line = line.rsplit(|byte| *byte == 0xff).next().unwrap_or_default();
            let answer = serde_json::from_slice::<Value>(line).unwrap_or_default();
            if answer.get("return").and_then(Value::as_u64) == Some(id) {
                self.there = true;
                return Ok(());
            }
        }
        bail!("the guest agent answers other questions");
    }

    fn call(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let answer = self.converse(command, &arguments);
        // Whatever went wrong, the next answer might belong to this question.
        self.there = answer.is_ok();
        let mut answer = answer.with_context(|| format!("the guest agent has left in {command}"))?;
        match answer.get_mut("return") {
            Some(result) => Ok(result.take()),
            None => bail!("the guest agent refuses {command}: {answer}"),
        }
    }

    fn converse(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let stream = self.stream.as_mut().ok_or_else(|| anyhow!("not connected"))?;
        stream.get_ref().set_read_timeout(Some(ANSWER))?;
        let question = format!("{}\n", json!({"execute": command, "arguments": arguments}));
        stream.get_mut().write_all(question.as_bytes())?;
        let mut line = Vec::new();
        let length = stream
            .read_until(b'\n', &mut line)
            .with_context(|| format!("no answer in {ANSWER:?}; has the guest shut down?"))?;
        ensure!(length > 0, "QEMU hung up");
        serde_json::from_slice(&line).context("cannot understand it")
    }
}

/// A growing file in the guest.
struct Tail {
    path: String,
    handle: Option<i64>,
    /// Bytes so far.
    passed: usize,
}

impl Tail {
    fn new(path: String) -> Self {
        Self {
            path,
            handle: None,
            passed: 0,
        }
    }

    /// Passes on what is new.
    fn forward(&mut self, agent: &mut Agent, to: &mut impl Write) -> Result<()> {
        let handle = match self.handle {
            Some(handle) => handle,
            None => {
                // Not there until the command has begun; and never, if the guest has no memory left for it.
                let Ok(handle) = agent.call("guest-file-open", json!({"path": self.path, "mode": "r"}))
                else {
                    return Ok(());
                };
                *self
                    .handle
                    .insert(handle.as_i64().context("guest-file-open gave no handle")?)
            }
        };
        loop {
            let read = agent.call("guest-file-read", json!({"handle": handle, "count": CHUNK}))?;
            let count = read.get("count").and_then(Value::as_u64).unwrap_or(0);
            let text = read.get("buf-b64").and_then(Value::as_str).unwrap_or_default();
            let bytes = base64(text)?;
            self.passed += bytes.len();
            to.write_all(&bytes)
                .context("cannot pass on the command's output")?;
            if count == 0 || read.get("eof").and_then(Value::as_bool).unwrap_or(true) {
                return Ok(());
            }
        }
    }

    fn close(&self, agent: &mut Agent) -> Result<()> {
        let handle = self
            .handle
            .with_context(|| format!("the guest could not write {}", self.path))?;
        agent
            .call("guest-file-close", json!({"handle": handle}))
            .map(|_| ())
    }
}

/// The exit code in an answer to guest-exec-status, if the command has ended.
fn exit_code(status: &Value) -> Option<i32> {
    if !status.get("exited")?.as_bool()? {
        return None;
    }
    let number = |name| {
        status
            .get(name)
            .and_then(Value::as_i64)
            .and_then(|code| i32::try_from(code).ok())
    };
    number("exitcode")
        .or_else(|| number("signal").map(|signal| 128 + signal))
        .or(Some(255))
}

/// Decodes RFC 4648 4.
fn base64(text: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => bail!("the guest agent sent byte {letter} as base64"),
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (text, bytes) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYmE=", "fooba"),
        ] {
            assert_eq!(base64(text).unwrap(), bytes.as_bytes());
        }
        assert_eq!(base64("//79").unwrap(), [0xff, 0xfe, 0xfd]);
        assert!(base64("Zm 9").is_err());
    }

    #[test]
    fn a_command_ends_by_exit_or_signal() {
        assert_eq!(exit_code(&json!({"exited": false})), None);
        assert_eq!(exit_code(&json!({"exited": true, "exitcode": 3})), Some(3));
        assert_eq!(exit_code(&json!({"exited": true, "signal": 9})), Some(137));
    }
}
