//! QEMU's machine protocol (docs/interop/qmp-spec in its source): one JSON object a line.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

const TIMEOUT: Duration = Duration::from_secs(20);

/// A connection that has finished its greeting.
#[derive(Debug)]
pub(crate) struct Qmp {
    stream: BufReader<UnixStream>,
    events: Vec<String>,
}

impl Qmp {
    /// Connects; a server takes one client at a time.
    pub(crate) fn connect(socket: &Path) -> Result<Self> {
        let stream = connect(socket)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let mut qmp = Self {
            stream: BufReader::new(stream),
            events: Vec::new(),
        };
        ensure!(
            qmp.read()?.get("QMP").is_some(),
            "{} does not speak QMP",
            socket.display()
        );
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Executes a command and returns what it returns.
    pub(crate) fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let line = format!("{}\n", json!({"execute": command, "arguments": arguments}));
        self.stream
            .get_mut()
            .write_all(line.as_bytes())
            .context("cannot write to QEMU")?;
        loop {
            let mut answer = self.read()?;
            if let Some(result) = answer.get_mut("return") {
                return Ok(result.take());
            }
            if let Some(error) = answer.get("error") {
                bail!("QEMU refuses {command}: {error}");
            }
            self.keep(&answer);
        }
    }

    /// The names of the events since the last call.
    pub(crate) fn events(&mut self) -> Result<Vec<String>> {
        self.stream.get_ref().set_nonblocking(true)?;
        let mut line = String::new();
        let read = loop {
            match self.stream.read_line(&mut line) {
                // The end: QEMU has gone, which its process tells better.
                Ok(0) => break Ok(()),
                Ok(_) => {
                    if let Ok(message) = serde_json::from_str(&line) {
                        self.keep(&message);
                    }
                    line.clear();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        self.stream.get_ref().set_nonblocking(false)?;
        read.context("cannot read from QEMU")?;
        Ok(std::mem::take(&mut self.events))
    }

    fn keep(&mut self, message: &Value) {
        if let Some(event) = message.get("event").and_then(Value::as_str) {
            self.events.push(event.to_owned());
        }
    }

    fn read(&mut self) -> Result<Value> {
        let mut line = String::new();
        let length = self
            .stream
            .read_line(&mut line)
            .context("cannot read from QEMU")?;
        ensure!(length > 0, "QEMU hung up");
        serde_json::from_str(&line).with_context(|| format!("cannot understand QEMU: {}", line.trim()))
    }
}

/// Connects to a socket however long its path is: an address has room for 108 bytes (unix(7)), so it goes through
/// its open folder.
pub(crate) fn connect(socket: &Path) -> Result<UnixStream> {
    let describe = || format!("cannot connect to {}", socket.display());
    let (folder, name) = socket.parent().zip(socket.file_name()).with_context(describe)?;
    let folder = File::open(folder).with_context(describe)?;
    let short = Path::new("/proc/self/fd")
        .join(folder.as_raw_fd().to_string())
        .join(name);
    UnixStream::connect(short).with_context(describe)
}
