//! A TCP connection on standard input and output.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use anyhow::{Context, Result};

/// Connects, and copies both ways until the other side has closed.
pub(super) fn connect(host: &str, port: u16) -> Result<()> {
    let mut socket =
        TcpStream::connect((host, port)).with_context(|| format!("cannot connect to {host}, port {port}"))?;
    let mut outgoing = socket.try_clone()?;
    thread::spawn(move || {
        let _ = copy(&mut io::stdin().lock(), &mut outgoing);
        let _ = outgoing.shutdown(Shutdown::Write);
    });
    copy(&mut socket, &mut io::stdout().lock()).context("the connection broke")
}

/// Every piece at once: it is a conversation.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut piece = [0; 16 * 1024];
    loop {
        match from.read(&mut piece)? {
            0 => return Ok(()),
            length => {
                to.write_all(&piece[..length])?;
                to.flush()?;
            }
        }
    }
}
