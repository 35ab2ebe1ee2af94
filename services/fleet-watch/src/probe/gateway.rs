//! Whether a gateway answers on the link: the kernel's own neighbour table, after a datagram that makes it ask.
//!
//! Nothing here needs a privilege, and a gateway that answers no ping is found all the same: one that speaks IP has to
//! answer ARP (RFC 826) or neighbour solicitations (RFC 4861).

use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::resolver::bound;
use super::{Interface, datagram};

/// Nobody answers there; all that counts is that the kernel has to find the neighbour.
const DISCARD: u16 = 9;
/// When the table is looked at. The kernel asks thrice, once a second, a neighbour that it does not know. One that it has
/// known it believes for a while first: with our settings (`dist/usr/lib/sysctl.d`) at most 4.5 s, and one more until it
/// asks (arp(7), `base_reachable_time_ms`, `delay_first_probe_time`).
const LOOKS: [Duration; 8] = [
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_millis(1500),
    Duration::from_millis(3500),
    Duration::from_millis(4700),
    Duration::from_millis(6500),
    Duration::from_millis(8000),
    Duration::from_millis(9000),
];
/// What ARP or neighbour discovery add, there and back.
const DISCOVERY: u64 = 150;

/// Whether the gateway answers (`None`: not known), and the bytes that it took.
pub(super) async fn ask(interface: &Interface, gateway: IpAddr) -> (Option<bool>, u64) {
    let address = interface.address(gateway, DISCARD);
    let mut bytes = DISCOVERY;
    let start = Instant::now();
    let Ok(socket) = bound(interface, &address).await else {
        return (None, 0);
    };
    if socket.connect(address).await.is_err() {
        return (None, 0);
    }
    let mut last = None;
    for look in LOOKS {
        // The kernel asks for a neighbour while something is sent to it. An error of before is not one of this.
        if last != Some(INCOMPLETE) && socket.send(&[]).await.is_ok() {
            bytes += datagram(&address, 0);
        }
        // That its port is closed is an answer of the gateway's as well. Any other error is the kernel's, and in its table.
        match timeout_at(start + look, socket.recv(&mut [0; 1])).await {
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return (Some(true), bytes + 28);
            }
            Ok(_) => sleep_until(start + look).await,
            Err(_) => {}
        }
        let neighbour = match neighbour(interface, gateway) {
            Ok(neighbour) => neighbour,
            Err(error) => {
                log::debug!("{gateway} on {}: {error}", interface.name);
                return (None, bytes);
            }
        };
        match neighbour.state {
            // That it answered before we asked says nothing of now.
            REACHABLE if neighbour.confirmed <= start.elapsed() => return (Some(true), bytes),
            PERMANENT => return (Some(true), bytes),
            FAILED => return (Some(false), bytes),
            // A link without neighbours: nothing to be asked.
            NOARP => return (None, bytes),
            state => last = Some(state),
        }
    }
    match last {
        // A kernel with other settings believes it for longer.
        Some(REACHABLE) => (Some(true), bytes),
        // Asked for nine seconds, and never known.
        Some(INCOMPLETE) => (Some(false), bytes),
        _ => (None, bytes),
    }
}

// linux/neighbour.h, `NUD_*`.
const INCOMPLETE: u16 = 0x01;
const REACHABLE: u16 = 0x02;
const FAILED: u16 = 0x20;
const NOARP: u16 = 0x40;
const PERMANENT: u16 = 0x80;

// rtnetlink(7), netlink(7).
const AF_NETLINK: i32 = 16;
const NETLINK_ROUTE: i32 = 0;
const NLMSG_ERROR: u16 = 2;
const RTM_NEWNEIGH: u16 = 28;
const RTM_GETNEIGH: u16 = 30;
const NLM_F_REQUEST: u16 = 1;
const NDA_DST: u16 = 1;
const NDA_CACHEINFO: u16 = 3;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// Where `ndmsg` begins.
const HEADER: usize = 16;
/// Where its attributes begin.
const ATTRIBUTES: usize = HEADER + 12;
/// The unit of the table's times, everywhere (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// What the kernel knows of a neighbour.
#[derive(Debug, PartialEq, Eq)]
struct Neighbour {
    /// `NUD_*`.
    state: u16,
    /// How long ago it was last known to answer.
    confirmed: Duration,
}

/// A neighbour in the kernel's table.
///
/// # Errors
/// There is none, or netlink is closed to us.
fn neighbour(interface: &Interface, address: IpAddr) -> io::Result<Neighbour> {
    let protocol = Some(Protocol::from(NETLINK_ROUTE));
    let mut socket = Socket::new(Domain::from(AF_NETLINK), Type::DGRAM, protocol)?;
    // The kernel answers while it is asked.
    socket.set_nonblocking(true)?;
    socket.write_all(&request(interface.index, address))?;
    let mut answer = [0; 1024];
    let length = socket.read(&mut answer)?;
    parse(answer.get(..length).unwrap_or_default())
}

/// `RTM_GETNEIGH` for one neighbour.
fn request(index: u32, address: IpAddr) -> Vec<u8> {
    let (family, octets): (u8, Vec<u8>) = match address {
        IpAddr::V4(v4) => (AF_INET, v4.octets().into()),
        IpAddr::V6(v6) => (AF_INET6, v6.octets().into()),
    };
    let mut body = vec![family, 0, 0, 0];
    body.extend(index.to_ne_bytes());
    // State, flags, type.
    body.extend([0; 4]);
    let attribute = if family == AF_INET { 8_u16 } else { 20 };
    body.extend(attribute.to_ne_bytes());
    body.extend(NDA_DST.to_ne_bytes());
    body.extend(octets);
    let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(RTM_GETNEIGH.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    // Sequence, port.
    message.extend([0; 8]);
    message.append(&mut body);
    message
}

/// The neighbour in the answer.
fn parse(answer: &[u8]) -> io::Result<Neighbour> {
    let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
    match number(answer, 4).ok_or_else(short)? {
        RTM_NEWNEIGH => Ok(Neighbour {
            state: number(answer, HEADER + 8).ok_or_else(short)?,
            confirmed: confirmed(answer).unwrap_or(Duration::MAX),
        }),
        NLMSG_ERROR => {
            let bytes = answer.get(HEADER..HEADER + 4).ok_or_else(short)?;
            let code = i32::from_ne_bytes(bytes.try_into().map_err(|_| short())?);
            Err(io::Error::from_raw_os_error(code.saturating_neg()))
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn number(answer: &[u8], at: usize) -> Option<u16> {
    let bytes = answer.get(at..at + 2)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

/// The first time of `nda_cacheinfo`.
fn confirmed(answer: &[u8]) -> Option<Duration> {
    let mut at = ATTRIBUTES;
    loop {
        let length = usize::from(number(answer, at)?);
        if number(answer, at + 2)? == NDA_CACHEINFO {
            let bytes = answer.get(at + 4..at + 8)?;
            return Some(TICK.saturating_mul(u32::from_ne_bytes(bytes.try_into().ok()?)));
        }
        // Attributes begin at multiples of four; one is at least as long as its header.
        at += length.max(4).next_multiple_of(4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_understands_the_request() {
        let loopback = Interface {
            name: "lo".to_owned(),
            index: 1,
        };
        for address in ["127.9.9.9", "fe80::9"] {
            let error = neighbour(&loopback, address.parse().unwrap()).unwrap_err();
            // ENOENT: not in the table. What is malformed is EINVAL.
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{address}: {error}");
        }
    }

    #[test]
    fn answers_of_the_kernel() {
        let mut answer = request(7, IpAddr::from([192, 0, 2, 1]));
        answer[4..6].copy_from_slice(&RTM_NEWNEIGH.to_ne_bytes());
        answer[HEADER + 8..HEADER + 10].copy_from_slice(&FAILED.to_ne_bytes());
        let unconfirmed = Neighbour {
            state: FAILED,
            confirmed: Duration::MAX,
        };
        assert_eq!(parse(&answer).unwrap(), unconfirmed);
        answer.extend(20_u16.to_ne_bytes());
        answer.extend(NDA_CACHEINFO.to_ne_bytes());
        answer.extend(150_u32.to_ne_bytes());
        answer.extend([0; 12]);
        assert_eq!(parse(&answer).unwrap().confirmed, Duration::from_millis(1500));
        for length in 0..HEADER {
            assert!(parse(&answer[..length]).is_err());
        }
        for length in HEADER + 10..answer.len() - 12 {
            assert_eq!(parse(&answer[..length]).unwrap(), unconfirmed);
        }
        answer[4] = 99;
        assert!(parse(&answer).is_err());
    }
}
