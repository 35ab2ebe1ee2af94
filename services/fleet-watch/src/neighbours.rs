//! The kernel's neighbour table: who answers on a link (rtnetlink(7), linux/neighbour.h). Nothing here needs a privilege.
//!
//! The kernel says by itself when a neighbour does not answer any more, as soon as something is sent there. So a gateway
//! that falls silent is noticed without a probe; and as the kernel filters, a network that works wakes nobody up.

use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{NetlinkAddr, bind};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep_until};

// linux/neighbour.h, `NUD_*`.
pub(crate) const INCOMPLETE: u16 = 0x01;
pub(crate) const REACHABLE: u16 = 0x02;
pub(crate) const FAILED: u16 = 0x20;
pub(crate) const NOARP: u16 = 0x40;
pub(crate) const PERMANENT: u16 = 0x80;

// rtnetlink(7), netlink(7).
const AF_NETLINK: i32 = 16;
const NETLINK_ROUTE: i32 = 0;
/// `RTNLGRP_NEIGH`, as a bit of `nl_groups`.
const GROUP: u32 = 1 << 2;
const NLMSG_ERROR: u16 = 2;
const RTM_NEWNEIGH: u16 = 28;
const RTM_GETNEIGH: u16 = 30;
const NLM_F_REQUEST: u16 = 1;
const NDA_DST: u16 = 1;
const NDA_CACHEINFO: u16 = 3;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
/// Where the message's type is.
const TYPE: usize = 4;
/// Where `ndmsg` begins.
const HEADER: usize = 16;
/// Where its interface is.
const INTERFACE: usize = HEADER + 4;
/// Where its state is.
const STATE: usize = HEADER + 8;
/// Where its attributes begin.
const ATTRIBUTES: usize = HEADER + 12;
/// The unit of the table's times, everywhere (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);
/// Longer than any message about a neighbour.
const MESSAGE: usize = 1024;

/// How long nothing is heard after something was: a machine that is off, and is tried by some program all the time, shall
/// not wake us up each time.
const PAUSE: Duration = Duration::from_secs(5);

/// What the kernel knows of a neighbour.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Neighbour {
    /// `NUD_*`.
    pub(crate) state: u16,
    /// How long ago it was last known to answer.
    pub(crate) confirmed: Duration,
}

/// A neighbour on an interface's link.
///
/// # Errors
/// There is none, or netlink is closed to us.
pub(crate) fn lookup(interface: u32, address: IpAddr) -> io::Result<Neighbour> {
    let mut socket = open()?;
    socket.write_all(&request(interface, address))?;
    let mut answer = [0; MESSAGE];
    // The kernel answers while it is asked.
    let length = socket.read(&mut answer)?;
    parse(answer.get(..length).unwrap_or_default())
}

/// Whether a neighbour answers, which may be new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct News {
    /// The number of the interface on whose link it is.
    pub(crate) interface: u32,
    pub(crate) neighbour: IpAddr,
    pub(crate) answers: bool,
}

/// Hears of neighbours that fall silent, or answer again.
pub(crate) struct Neighbours {
    /// `None`: netlink is closed to us, and there are only the probes.
    news: Option<Subscription>,
    /// Those that answer again are heard of, too.
    both: bool,
    /// Nothing is heard before that, as something was just now.
    pause: Option<Instant>,
}

struct Subscription {
    socket: Socket,
    /// The same by a second descriptor, in what read(2) and epoll(7) work on.
    arrived: pipe::Receiver,
}

impl Neighbours {
    /// Hears of those that fall silent. Must be called inside a tokio runtime.
    pub(crate) fn listen() -> Self {
        let news = subscribe()
            .inspect_err(|error| log::warn!("cannot hear of gateways that fall silent: {error}"))
            .ok();
        Self {
            news,
            both: false,
            pause: None,
        }
    }

    /// Hears of those that answer again, too, while one is silent. What works says so at each turn, which nobody has to
    /// hear.
    pub(crate) fn expect(&mut self, silent: bool) {
        if let Some(news) = self.news.as_ref().filter(|_| silent != self.both) {
            match news.socket.attach_filter(&filter(silent)) {
                Ok(()) => self.both = silent,
                Err(error) => log::debug!("cannot filter what the kernel says of neighbours: {error}"),
            }
        }
    }

    /// Waits for news of a neighbour. Cancel-safe.
    pub(crate) async fn heard(&mut self) -> News {
        let Some(news) = &self.news else {
            return std::future::pending().await;
        };
        loop {
            if let Some(end) = self.pause {
                sleep_until(end).await;
                self.pause = None;
            }
            if news.arrived.readable().await.is_err() {
                return std::future::pending().await;
            }
            let mut message = [0; MESSAGE];
            match news.arrived.try_read(&mut message) {
                Ok(length) => {
                    if let Some(heard) = notice(message.get(..length).unwrap_or_default()) {
                        return heard;
                    }
                }
                // That was all, and enough for now.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.pause = Some(Instant::now() + PAUSE);
                }
                // There was more than the kernel keeps (ENOBUFS); the probes find out.
                Err(error) => log::debug!("cannot read what the kernel says of neighbours: {error}"),
            }
        }
    }
}

fn open() -> io::Result<Socket> {
    let protocol = Some(Protocol::from(NETLINK_ROUTE));
    let socket = Socket::new(Domain::from(AF_NETLINK), Type::DGRAM, protocol)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn subscribe() -> io::Result<Subscription> {
    let socket = open()?;
    socket.attach_filter(&filter(false))?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUP))?;
    let copy = OwnedFd::from(socket.try_clone()?);
    Ok(Subscription {
        arrived: pipe::Receiver::from_owned_fd_unchecked(copy)?,
        socket,
    })
}

/// A filter (linux/filter.h) that lets pass only what says that a neighbour has fallen silent; or, for `both`, that one
/// answers.
fn filter(both: bool) -> [SockFilter; 7] {
    // BPF_LD | BPF_H | BPF_ABS, BPF_JMP | BPF_JEQ | BPF_K, BPF_RET | BPF_K.
    const LOAD: u16 = 0x28;
    const IF: u16 = 0x15;
    const RETURN: u16 = 0x06;
    // It loads in the network's byte order what is in the machine's.
    let number = |number: u16| u32::from(u16::from_be_bytes(number.to_ne_bytes()));
    let load = |at: usize| SockFilter::new(LOAD, 0, 0, u32::try_from(at).unwrap_or(u32::MAX));
    // The jumps are over so many of the lines that follow.
    [
        load(TYPE),
        SockFilter::new(IF, 0, 4, number(RTM_NEWNEIGH)),
        load(STATE),
        SockFilter::new(IF, 1, 0, number(FAILED)),
        SockFilter::new(IF, 0, 1, number(if both { REACHABLE } else { FAILED })),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
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
    match number(answer, TYPE).ok_or_else(short)? {
        RTM_NEWNEIGH => Ok(Neighbour {
            state: number(answer, STATE).ok_or_else(short)?,
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

/// Who answers now, or does not any more.
fn notice(message: &[u8]) -> Option<News> {
    let state = parse(message).ok()?.state;
    let interface = message.get(INTERFACE..INTERFACE + 4)?;
    let bytes = attribute(message, NDA_DST)?;
    let neighbour = match bytes.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?),
        _ => IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?),
    };
    Some(News {
        interface: u32::from_ne_bytes(interface.try_into().ok()?),
        neighbour,
        answers: state == REACHABLE,
    })
}

fn number(message: &[u8], at: usize) -> Option<u16> {
    let bytes = message.get(at..at + 2)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

/// The first time of `nda_cacheinfo`.
fn confirmed(answer: &[u8]) -> Option<Duration> {
    let bytes = attribute(answer, NDA_CACHEINFO)?.get(..4)?;
    Some(TICK.saturating_mul(u32::from_ne_bytes(bytes.try_into().ok()?)))
}

/// What an attribute holds.
fn attribute(message: &[u8], kind: u16) -> Option<&[u8]> {
    let mut at = ATTRIBUTES;
    loop {
        let length = usize::from(number(message, at)?);
        if number(message, at + 2)? == kind {
            return message.get(at + 4..at + length);
        }
        // Attributes begin at multiples of four; one is at least as long as its header.
        at += length.max(4).next_multiple_of(4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATEWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    /// What the kernel says of a neighbour that does not answer.
    fn failed(address: IpAddr) -> Vec<u8> {
        let mut message = request(7, address);
        message[TYPE..TYPE + 2].copy_from_slice(&RTM_NEWNEIGH.to_ne_bytes());
        message[STATE..STATE + 2].copy_from_slice(&FAILED.to_ne_bytes());
        message
    }

    #[test]
    fn the_kernel_understands_the_request() {
        for address in ["127.9.9.9", "fe80::9"] {
            let error = lookup(1, address.parse().unwrap()).unwrap_err();
            // ENOENT: not in the table. What is malformed is EINVAL.
            assert_eq!(error.kind(), io::ErrorKind::NotFound, "{address}: {error}");
        }
    }

    #[test]
    fn answers_of_the_kernel() {
        let mut answer = failed(GATEWAY);
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
        for length in STATE + 2..answer.len() - 12 {
            assert_eq!(parse(&answer[..length]).unwrap(), unconfirmed);
        }
        answer[TYPE] = 99;
        assert!(parse(&answer).is_err());
    }

    #[test]
    fn who_it_is_about() {
        for address in [GATEWAY, "fe80::9".parse().unwrap()] {
            let mut message = failed(address);
            let mut news = News {
                interface: 7,
                neighbour: address,
                answers: false,
            };
            assert_eq!(notice(&message), Some(news));
            for length in 0..message.len() {
                assert_eq!(notice(&message[..length]), None);
            }
            message[STATE..STATE + 2].copy_from_slice(&REACHABLE.to_ne_bytes());
            news.answers = true;
            assert_eq!(notice(&message), Some(news));
            // An attribute that is shorter than its header, or longer than the message.
            for length in [0_u8, 3, 255] {
                message[ATTRIBUTES] = length;
                assert_eq!(notice(&message), None);
            }
        }
    }

    #[tokio::test]
    async fn the_kernel_takes_the_filters() {
        let mut neighbours = Neighbours::listen();
        assert!(neighbours.news.is_some());
        for silent in [true, false, false, true] {
            neighbours.expect(silent);
            assert_eq!(neighbours.both, silent);
        }
    }
}
