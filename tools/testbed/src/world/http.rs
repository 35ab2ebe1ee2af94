//! HTTP for the connectivity check: small answers, one request a connection, a thread each.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow};
use nix::sys::socket;

use crate::world::Http;
use crate::world::log::Log;
use crate::world::network::LIE;
use crate::world::serve::locked;

const PORT: u16 = 80;
/// A client that says nothing for so long is let go.
const PATIENCE: Duration = Duration::from_secs(10);
/// No request line or header of an honest client is longer.
const LONGEST_HEAD: u64 = 16 * 1024;
/// How far back [`Http::Past`] is.
const YEAR: Duration = Duration::from_secs(365 * 86_400);
const PORTAL: &str = "http://portal.example/login";

/// The HTTP server.
pub(super) struct Server {
    mode: Arc<Mutex<Http>>,
    /// The listening socket, to be shut down; none while connections are refused.
    listener: Option<TcpListener>,
    listeners: Sender<TcpListener>,
}

impl Server {
    /// Starts to serve.
    pub(super) fn start(directory: &Path) -> Result<Self> {
        let log = Arc::new(Log::open(directory, "http")?);
        let mode = Arc::new(Mutex::new(Http::Refuse));
        let (listeners, receiver) = channel();
        let shared = Arc::clone(&mode);
        thread::spawn(move || accept(&receiver, &shared, &log));
        let mut server = Self {
            mode,
            listener: None,
            listeners,
        };
        server.set(Http::Ok)?;
        Ok(server)
    }

    pub(super) fn mode(&self) -> Http {
        *locked(&self.mode)
    }

    /// Behaves like this from now on: when it returns, the next connection is met so.
    pub(super) fn set(&mut self, mode: Http) -> Result<()> {
        *locked(&self.mode) = mode;
        match (mode, &self.listener) {
            (Http::Refuse, Some(listener)) => {
                // Ends the listening for every copy of the socket, also for the thread that waits in accept().
                socket::shutdown(std::os::fd::AsRawFd::as_raw_fd(listener), socket::Shutdown::Both)
                    .context("cannot stop listening")?;
                self.listener = None;
            }
            (Http::Refuse, None) | (_, Some(_)) => {}
            (_, None) => {
                let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT))
                    .with_context(|| format!("cannot listen on port {PORT}"))?;
                let copy = listener.try_clone().context("cannot copy a socket")?;
                self.listeners
                    .send(copy)
                    .map_err(|_| anyhow!("the HTTP thread has ended"))?;
                self.listener = Some(listener);
            }
        }
        Ok(())
    }
}

fn accept(listeners: &Receiver<TcpListener>, mode: &Arc<Mutex<Http>>, log: &Arc<Log>) {
    for listener in listeners {
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    let (mode, log) = (Arc::clone(mode), Arc::clone(log));
                    thread::spawn(move || {
                        // A client that went away in the middle is no news.
                        let _ = answer(&stream, &mode, &log);
                    });
                }
                // EINVAL: it was shut down.
                Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => break,
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

fn answer(stream: &TcpStream, mode: &Mutex<Http>, log: &Log) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.take(LONGEST_HEAD));
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let (mut host, mut agent) = (String::new(), String::new());
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 && !line.trim().is_empty() {
        let (name, value) = line.split_once(':').unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "host" => value.trim().clone_into(&mut host),
            "user-agent" => value.trim().clone_into(&mut agent),
            _ => {}
        }
        line.clear();
    }
    let (client, address) = (stream.peer_addr()?.ip(), stream.local_addr()?.ip());
    let mode = match *locked(mode) {
        _ if address == LIE => Http::Redirect,
        mode => mode,
    };
    log.line(&format!(
        "{client} -> {address} {host} {:?} by {agent:?}: {mode}",
        request.trim()
    ));

    if mode == Http::Reset {
        // Closed at once, and with what is not sent yet thrown away (socket(7), SO_LINGER).
        let linger = nix::libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        return Ok(socket::setsockopt(&stream, socket::sockopt::Linger, &linger)?);
    }
    let mut stream = stream;
    match response(mode, &request, &host, SystemTime::now()) {
        Some(response) => stream.write_all(response.as_bytes())?,
        // Holds the line until the client hangs up.
        None => stream.set_read_timeout(None)?,
    }
    // The client closes first, so that nothing unread turns our close into a reset.
    if mode != Http::Silent {
        stream.shutdown(Shutdown::Write)?;
    }
    std::io::copy(&mut stream, &mut std::io::sink()).map(|_| ())
}

/// What is sent; nothing for silence.
fn response(mode: Http, request: &str, host: &str, now: SystemTime) -> Option<String> {
    let date = match mode {
        Http::Past => now - YEAR,
        _ => now,
    };
    let head = format!(
        "Connection: close\r\nCache-Control: no-store\r\nDate: {}\r\n",
        httpdate::fmt_http_date(date)
    );
    let page = |status: &str, extra: &str, body: &str| {
        let body_or_none = if request.starts_with("HEAD ") { "" } else { body };
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\n{head}{extra}Content-Type: text/html\r\nContent-Length: {length}\r\n\r\n{body_or_none}"
        )
    };
    match mode {
        // RFC 9110 15.3.5: a 204 has neither a body nor a Content-Length.
        Http::Ok | Http::Past => Some(format!("HTTP/1.1 204 No Content\r\n{head}\r\n")),
        Http::Redirect if host == "portal.example" => {
            Some(page("200 OK", "", "<html>Please log in.</html>\n"))
        }
        Http::Redirect => Some(page(
            "302 Found",
            &format!("Location: {PORTAL}\r\n"),
            "<html>Log in.</html>\n",
        )),
        Http::Wrong => Some(page(
            "200 OK",
            "",
            "<html>This is not the page you asked for.</html>\n",
        )),
        Http::Fault => Some(page("503 Service Unavailable", "", "<html>Later.</html>\n")),
        Http::Silent | Http::Reset | Http::Refuse => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_content_has_no_body_and_no_length() {
        let answer = response(Http::Ok, "GET / HTTP/1.1", "x", SystemTime::UNIX_EPOCH).unwrap();
        assert!(answer.starts_with("HTTP/1.1 204 No Content\r\n") && answer.ends_with("\r\n\r\n"));
        assert!(!answer.contains("Content-Length"));
    }

    #[test]
    fn portal_leads_to_its_own_page() {
        let answer = response(
            Http::Redirect,
            "GET / HTTP/1.1",
            "check.example",
            SystemTime::UNIX_EPOCH,
        )
        .unwrap();
        assert!(answer.contains("Location: http://portal.example/login\r\n"));
        assert!(
            response(
                Http::Redirect,
                "GET /login HTTP/1.1",
                "portal.example",
                SystemTime::UNIX_EPOCH
            )
            .unwrap()
            .contains("200 OK")
        );
    }

    #[test]
    fn head_gets_the_length_without_the_body() {
        let answer = response(Http::Wrong, "HEAD / HTTP/1.1", "x", SystemTime::UNIX_EPOCH).unwrap();
        assert!(answer.ends_with("\r\n\r\n") && answer.contains("Content-Length: 49\r\n"));
    }
}
