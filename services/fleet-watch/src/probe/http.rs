//! One request to the connectivity check's server, to see what is in the way; and if that is inside TLS, one for what time
//! it has, and a handshake for its certificate.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use fleet_base::{command, paths};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::{Interface, ip_header};
use crate::check_uri::CheckUri;
use crate::finding::Check;

/// How long it may take, all in all.
const LIMIT: Duration = Duration::from_secs(10);
/// How long for a look at its certificate, in a process of its own.
const TLS_LIMIT: Duration = Duration::from_secs(12);
/// What a handshake carries, mostly certificates.
const HANDSHAKE: u64 = 6000;
/// Of the answer only its first line is of interest, or its head.
const LONGEST: usize = 2048;
/// The segments of a short connection that carry nothing, with TCP's options.
const SEGMENTS: u64 = 9;
const TCP: u64 = 32;
const PORT: u16 = 80;
/// Further from the server's time than this, a clock is wrong enough for certificates. Other servers are less exact.
const FAR: Duration = Duration::from_secs(86_400);

/// What came of it, and about how many bytes it took.
pub(super) async fn ask(interface: &Interface, address: IpAddr, uri: &CheckUri) -> (Check, u64) {
    let mut carried = 0;
    let asked = timeout(LIMIT, request(interface, address, uri, &mut carried)).await;
    let check = match asked {
        // That was the connection only.
        Ok(Ok(_)) if uri.tls => inside_tls(interface, address, uri, &mut carried).await,
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
    let stream = connect(interface, address, uri.port).await?;
    if uri.tls {
        return Ok(Check::Expected);
    }
    let CheckUri { path, authority, .. } = uri;
    let answer = answer(&stream, &["GET ", path], authority, b"\n", carried).await?;
    // Nothing more is of interest, and no connection is left behind.
    Ok(judge(&answer))
}

async fn connect(interface: &Interface, address: IpAddr, port: u16) -> io::Result<TcpStream> {
    let address = interface.address(address, port);
    let socket = match address {
        std::net::SocketAddr::V4(_) => TcpSocket::new_v4()?,
        std::net::SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.bind_device(Some(interface.name.as_bytes()))?;
    socket.connect(address).await
}

/// Sends a request and returns the answer's beginning, as far as `end`.
async fn answer(
    stream: &TcpStream,
    what: &[&str; 2],
    host: &str,
    end: &[u8],
    carried: &mut u64,
) -> io::Result<Vec<u8>> {
    let [method, path] = what;
    let request = format!(
        "{method}{path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: fleet-watch\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    *carried += u64::try_from(request.len()).unwrap_or(u64::MAX);
    write(stream, request.as_bytes()).await?;
    read_to(stream, end, carried).await
}

/// What is said inside is NetworkManager's to judge, and did not please it. That the certificate is not valid for our
/// clock can be told by the clock alone; else whose it is is looked at.
async fn inside_tls(interface: &Interface, address: IpAddr, uri: &CheckUri, carried: &mut u64) -> Check {
    let now = SystemTime::now();
    if is_before_image(now) {
        return Check::ClockWrong;
    }
    let port = interface.address(address, uri.port).to_string();
    let arguments = [
        "server",
        uri.host.as_str(),
        port.as_str(),
        interface.name.as_str(),
    ];
    let (theirs, word) = tokio::join!(
        timeout(LIMIT, time_of(interface, address, uri, carried)),
        command::ask(paths::CERTIFICATE_CHECKER, &arguments, b"", TLS_LIMIT),
    );
    *carried += SEGMENTS * (ip_header(&interface.address(address, uri.port)) + TCP) + HANDSHAKE;
    match (theirs, word) {
        (Ok(Ok(Some(theirs))), _) if is_far(now, theirs) => Check::ClockWrong,
        (_, Ok(word)) => shown(word.trim_end()),
        (_, Err(error)) => {
            log::debug!("cannot look at the certificate of the check's server: {error}");
            Check::Expected
        }
    }
}

/// What the server's certificate says.
fn shown(word: &str) -> Check {
    match word {
        "untrusted" | "other-name" => Check::Intercepted,
        "expired" => Check::ServerFault,
        "not-yet-valid" => Check::ClockWrong,
        "broken-off" => Check::Reset,
        _ => Check::Expected,
    }
}

/// Whether the clocks are so far apart that certificates are not valid by one of them.
fn is_far(ours: SystemTime, theirs: SystemTime) -> bool {
    let apart = ours.duration_since(theirs);
    apart.unwrap_or_else(|error| error.duration()) > FAR
}

/// Whether the clock is before the day on which this executable was made: then no certificate of today is valid yet.
fn is_before_image(now: SystemTime) -> bool {
    let made = std::fs::metadata("/proc/self/exe").and_then(|executable| executable.modified());
    made.is_ok_and(|made| now < made)
}

/// The time that the server says it is, where it speaks HTTP too: on its ordinary port, because few servers say anything
/// but that they want TLS on the other.
async fn time_of(
    interface: &Interface,
    address: IpAddr,
    uri: &CheckUri,
    carried: &mut u64,
) -> io::Result<Option<SystemTime>> {
    *carried += SEGMENTS * (ip_header(&interface.address(address, PORT)) + TCP);
    let stream = connect(interface, address, PORT).await?;
    let head = answer(&stream, &["HEAD ", "/"], &uri.host, b"\r\n\r\n", carried).await?;
    Ok(date(&head))
}

/// The time in an answer's `Date` (RFC 9110 section 5.6.7).
fn date(head: &[u8]) -> Option<SystemTime> {
    let mut lines = head.split(|byte| *byte == b'\n');
    let line = lines.find(|line| {
        line.get(..5)
            .is_some_and(|name| name.eq_ignore_ascii_case(b"date:"))
    })?;
    let value = std::str::from_utf8(line.get(5..)?).ok()?;
    httpdate::parse_http_date(value.trim()).ok()
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

/// The beginning of the answer, as far as `end`.
async fn read_to(stream: &TcpStream, end: &[u8], carried: &mut u64) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let mut piece = [0; 512];
    while !answer.windows(end.len()).any(|piece| piece == end) && answer.len() < LONGEST {
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

    #[test]
    fn dates() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        for (line, time) in [
            ("Date: Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("date:Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("DATE: Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777)),
            ("Date: Sun, 06 Nov", None),
            ("Date: Sun, 06 Nov 99999 08:49:37 GMT", None),
            ("Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT", None),
        ] {
            let head = format!("HTTP/1.1 400 Bad Request\r\nServer: x\r\n{line}\r\n\r\n");
            assert_eq!(date(head.as_bytes()), time.map(at), "{line}");
        }
        assert_eq!(date(b"Date: \xff"), None);
        assert_eq!(date(b""), None);
    }

    #[test]
    fn a_day_apart_is_far() {
        let at = |days: f64| SystemTime::UNIX_EPOCH + Duration::from_secs_f64(days * 86_400.0);
        for (ours, theirs, far) in [
            (9.0, 9.9, false),
            (9.9, 9.0, false),
            (9.0, 10.1, true),
            (10.1, 9.0, true),
        ] {
            assert_eq!(is_far(at(ours), at(theirs)), far, "{ours} {theirs}");
        }
    }
}
