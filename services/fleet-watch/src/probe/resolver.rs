//! Asks one resolver, over UDP from a port that the kernel picks at random, with a number that nobody can guess.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::{Interface, datagram};
use crate::check_uri::CheckUri;
use crate::finding::Answer;

const PORT: u16 = 53;
/// How long each try may take. Two: one datagram in a hundred is lost on a bad link.
const TRIES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(4)];
/// The longest answer without an extension of ours (RFC 1035 section 4.2.1); of a longer one the beginning is enough.
const LONGEST: usize = 512;

pub(super) use super::dns::Question;

impl Question {
    /// The connectivity check's host, since its answer can be compared; else what every resolver knows.
    pub(super) fn new(check: Option<&CheckUri>, gateways: &[IpAddr]) -> Self {
        // A link with IPv6 alone is asked for IPv6.
        let ipv4 = gateways.is_empty() || gateways.iter().any(IpAddr::is_ipv4);
        match check {
            Some(uri) if uri.address().is_none() => Self::host(&uri.host, ipv4).unwrap_or_else(Self::root),
            _ => Self::root(),
        }
    }
}

/// The resolver's answer, and the bytes that it took.
pub(super) async fn ask(interface: &Interface, resolver: IpAddr, question: &Question) -> (Answer, u64) {
    let address = interface.address(resolver, PORT);
    let mut bytes = 0;
    for limit in TRIES {
        let asked = try_once(interface, address, question, limit, &mut bytes).await;
        match asked {
            Ok(Some(answer)) => return (answer, bytes),
            // An ICMP message: nobody listens there.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return (Answer::Fails, bytes),
            // No route, no neighbour; in a moment there may be one.
            Err(error) => log::debug!("{resolver} on {}: {error}", interface.name),
            Ok(None) => {}
        }
    }
    (Answer::Silent, bytes)
}

/// `None`: no answer in time.
async fn try_once(
    interface: &Interface,
    address: SocketAddr,
    question: &Question,
    limit: Duration,
    bytes: &mut u64,
) -> io::Result<Option<Answer>> {
    let deadline = Instant::now() + limit;
    let socket = bound(interface, &address).await?;
    // From then on the kernel lets nobody else's datagrams through.
    socket.connect(address).await?;
    let id = random();
    let query = question.query(id);
    let sent = socket.send(&query).await;
    if let Err(error) = sent {
        // At once; a second try has to wait all the same.
        tokio::time::sleep_until(deadline).await;
        return Err(error);
    }
    *bytes += datagram(&address, query.len());
    let mut answer = [0; LONGEST];
    loop {
        let length = match timeout_at(deadline, socket.recv(&mut answer)).await {
            Ok(received) => received?,
            Err(_) => return Ok(None),
        };
        *bytes += datagram(&address, length);
        if let Some(answer) = answer.get(..length).and_then(|answer| question.read(answer, id)) {
            return Ok(Some(answer));
        }
    }
}

/// A datagram socket on the interface, for an address of this family.
pub(super) async fn bound(interface: &Interface, address: &SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.bind_device(Some(interface.name.as_bytes()))?;
    Ok(socket)
}

/// A number that cannot be guessed: std's hash tables have their keys from the kernel.
fn random() -> u16 {
    let [first, second, ..] = RandomState::new().hash_one(0).to_ne_bytes();
    u16::from_ne_bytes([first, second])
}
