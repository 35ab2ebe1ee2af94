//! The control socket: one line in, an answer out. Its name is abstract (unix(7)) and so belongs to the network
//! namespace: whoever is in a run's world reaches that run's servers and no other's.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::world::serve::Servers;

const NAME: &[u8] = b"fleet-world";
const TIMEOUT: Duration = Duration::from_secs(10);

/// The servers' end.
pub(super) struct Socket {
    listener: UnixListener,
}

impl Socket {
    pub(super) fn bind() -> Result<Self> {
        let address = SocketAddr::from_abstract_name(NAME)?;
        Ok(Self {
            listener: UnixListener::bind_addr(&address).context("cannot bind the world's control socket")?,
        })
    }

    /// Answers one caller after the other.
    pub(super) fn serve(&self, servers: &Servers) -> Result<()> {
        for stream in self.listener.incoming() {
            if let Err(error) = stream
                .map_err(Into::into)
                .and_then(|stream| answer(stream, servers))
            {
                eprintln!("world: {error:#}");
            }
        }
        Ok(())
    }
}

fn answer(mut stream: UnixStream, servers: &Servers) -> Result<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    let answer = match servers.obey(line.trim()) {
        Ok(text) => format!("ok\n{text}"),
        Err(error) => format!("error\n{error:#}\n"),
    };
    stream
        .write_all(answer.as_bytes())
        .context("cannot answer on the control socket")
}

/// The caller's end: sends a line and returns the answer.
pub(super) fn ask(line: &str) -> Result<String> {
    let address = SocketAddr::from_abstract_name(NAME)?;
    let mut stream = UnixStream::connect_addr(&address)
        .context("there is no world here: this command works inside `cargo xtask vm --world '…'`")?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    writeln!(stream, "{line}")?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once('\n') {
        Some(("ok", text)) => Ok(text.to_owned()),
        Some((_, text)) => bail!("{}", text.trim()),
        None => bail!("the world hung up"),
    }
}
