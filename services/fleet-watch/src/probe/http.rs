//! One request to the connectivity check's server, to see what is in the way.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::{Interface, ip_header};
use crate::check_uri::CheckUri;
use crate::finding::Check;

/// How long it may take, all in all.
const LIMIT: Duration = Duration::from_secs(10);
/// Of the answer only its first line is of interest.
const LONGEST: usize = 512;
/// The segments of a short connection that carry nothing, with TCP's options.
const SEGMENTS: u64 = 9;
const TCP: u64 = 32;

/// What came of it, and about how many bytes it took.
pub(super) async fn ask(interface: &Interface, address: IpAddr, uri: &CheckUri) -> (Check, u64) {
    let mut carried = 0;
    let asked = timeout(LIMIT, request(interface, address, uri, &mut carried)).await;
    let check = match asked {
        Ok(Ok(check)) => check,
        Ok(Err(error)) => fault(&error),
        Err(_) => Check::Timeout,
    };
    let header = ip_header(&interface.address(address, uri.port));
    (check, carried + SEGMENTS * (header + TCP))
}

fn fault(error: &io::Error) -> Check {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Check::Refused,
        io::ErrorKind::TimedOut => Check::Timeout,
        io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::PermissionDenied => Check::Unreachable,
        _ => Check::Reset,
    }
}

async fn request(
    interface: &Interface,
    address: IpAddr,
    uri: &CheckUri,
    carried: &mut u64,
) -> io::Result<Check> {
    let address = interface.address(address, uri.port);
    let socket = match address {
        std::net::SocketAddr::V4(_) => TcpSocket::new_v4()?,
        std::net::SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.bind_device(Some(interface.name.as_bytes()))?;
    let stream = socket.connect(address).await?;
    if uri.tls {
        // What is said inside is NetworkManager's to judge.
        return Ok(if is_clock_wrong() {
            Check::ClockWrong
        } else {
            Check::Expected
        });
    }
    let CheckUri { path, authority, .. } = uri;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: fleet-watch\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    *carried += u64::try_from(request.len()).unwrap_or(u64::MAX);
    write(&stream, request.as_bytes()).await?;
    let answer = first_line(&stream, carried).await?;
    // Nothing more is of interest, and no connection is left behind.
    Ok(judge(&answer))
}

/// Whether the clock is before the day on which this executable was made: then no certificate of today is valid yet.
/// Whether it is right otherwise, only time servers know.
fn is_clock_wrong() -> bool {
    let made = std::fs::metadata("/proc/self/exe").and_then(|executable| executable.modified());
    made.is_ok_and(|made| SystemTime::now() < made)
}

async fn write(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The beginning of the answer, as far as its first line.
async fn first_line(stream: &TcpStream, carried: &mut u64) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let mut piece = [0; LONGEST];
    while !answer.contains(&b'\n') && answer.len() < LONGEST {
        stream.readable().await?;
        match stream.try_read(&mut piece) {
            // Hung up without a word.
            Ok(0) if answer.is_empty() => return Err(io::ErrorKind::ConnectionReset.into()),
            Ok(0) => break,
            Ok(length) => {
                *carried += u64::try_from(length).unwrap_or(u64::MAX);
                answer.extend(piece.get(..length).unwrap_or_default());
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(answer)
}

/// What a first line says (RFC 9112 section 4). 511 asks for a login (RFC 6585 section 6); what is not HTTP is somebody
/// else's, like any answer but 204: what text is expected of a 200 is NetworkManager's to compare.
fn judge(answer: &[u8]) -> Check {
    let line = answer.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Ok(line) = std::str::from_utf8(line) else {
        return Check::Portal;
    };
    let mut words = line.split_ascii_whitespace();
    let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/1."));
    match words.next().map(str::parse::<u16>) {
        Some(Ok(204)) if is_http => Check::Expected,
        Some(Ok(511)) => Check::Portal,
        Some(Ok(500..=599)) if is_http => Check::ServerFault,
        _ => Check::Portal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines() {
        for (line, check) in [
            ("HTTP/1.1 204 No Content\r\n", Check::Expected),
            ("HTTP/1.0 204\r\n", Check::Expected),
            ("HTTP/1.1 302 Found\r\n", Check::Portal),
            ("HTTP/1.1 200 OK\r\n", Check::Portal),
            ("HTTP/1.1 404 Not Found\r\n", Check::Portal),
            ("HTTP/1.1 503 Service Unavailable\r\n", Check::ServerFault),
            ("HTTP/1.1 511 Network Authentication Required\r\n", Check::Portal),
            ("SSH-2.0-x 503\r\n", Check::Portal),
            ("", Check::Portal),
            ("HTTP/1.1", Check::Portal),
        ] {
            assert_eq!(judge(line.as_bytes()), check, "{line:?}");
        }
        assert_eq!(judge(&[0xff, 0xfe, b'\n']), Check::Portal);
    }
}
