//! DNS that knows one answer. Written here rather than left to dnsmasq because it has to answer from the very
//! address that was asked, misbehave at once when told to, and log which address a resolver asked.

use std::collections::HashMap;
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::libc::{in_addr, in_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt, sockopt,
};

use crate::world::log::Log;
use crate::world::network::LIE;
use crate::world::serve::locked;
use crate::world::{ADDRESS, Dns};

const PORT: u16 = 53;
const PATIENCE: Duration = Duration::from_secs(10);
/// Seconds: short, so that a change of mode is seen at once.
const TIME_TO_LIVE: u32 = 1;
/// RFC 1035 4.1.1.
const HEADER: usize = 12;
const TYPE_A: u16 = 1;

/// How the server behaves: at each of these addresses, and at all others.
#[derive(Debug)]
pub(super) struct Behaviour {
    pub(super) at: HashMap<Ipv4Addr, Dns>,
    pub(super) elsewhere: Dns,
}

impl Behaviour {
    fn at(&self, address: IpAddr) -> Dns {
        let own = match address {
            IpAddr::V4(address) => self.at.get(&address),
            IpAddr::V6(_) => None,
        };
        own.copied().unwrap_or(self.elsewhere)
    }
}

/// Starts to serve, over UDP and TCP.
pub(super) fn start(directory: &Path, mode: Arc<Mutex<Behaviour>>) -> Result<()> {
    let log = Arc::new(Log::open(directory, "dns")?);
    let udp = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).context("cannot serve DNS over UDP")?;
    setsockopt(&udp, sockopt::Ipv4PacketInfo, &true).context("cannot ask for the address that was asked")?;
    let tcp = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).context("cannot serve DNS over TCP")?;
    let (tcp_mode, tcp_log) = (Arc::clone(&mode), Arc::clone(&log));
    thread::spawn(move || {
        loop {
            // An error is one query that gets no answer, which is what resolvers are made for.
            let _ = datagram(&udp, &mode, &log);
        }
    });
    thread::spawn(move || {
        for stream in tcp.incoming().flatten() {
            let (mode, log) = (Arc::clone(&tcp_mode), Arc::clone(&tcp_log));
            thread::spawn(move || connection(stream, &mode, &log));
        }
    });
    Ok(())
}

/// Receives one query and answers it from the address that it was sent to.
fn datagram(udp: &UdpSocket, mode: &Mutex<Behaviour>, log: &Log) -> nix::Result<()> {
    let mut query = [0; 4096];
    let mut parts = [IoSliceMut::new(&mut query)];
    let mut control = vec![0; 64];
    let socket = udp.as_raw_fd();
    let received = recvmsg::<SockaddrIn>(socket, &mut parts, Some(&mut control), MsgFlags::empty())?;
    let (length, client) = (received.bytes, received.address);
    let asked = received.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(info.ipi_addr),
        _ => None,
    });
    let (Some(client), Some(asked)) = (client, asked) else {
        return Ok(());
    };
    let address = Ipv4Addr::from(u32::from_be(asked.s_addr));
    let mode = locked(mode).at(address.into());
    let names = format!("{} -> {address}", client.ip());
    if let Some(answer) = answered(&query[..length], mode, &names, log) {
        let source = in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: asked,
            ipi_addr: in_addr { s_addr: 0 },
        };
        let control = [ControlMessage::Ipv4PacketInfo(&source)];
        sendmsg(
            socket,
            &[IoSlice::new(&answer)],
            &control,
            MsgFlags::empty(),
            Some(&client),
        )?;
    }
    Ok(())
}

/// Queries and answers over TCP, each with its length before it (RFC 1035 4.2.2).
fn connection(mut stream: TcpStream, mode: &Mutex<Behaviour>, log: &Log) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let names = format!(
        "{} -> {} tcp",
        stream.peer_addr()?.ip(),
        stream.local_addr()?.ip()
    );
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut query)?;
        let mode = locked(mode).at(stream.local_addr()?.ip());
        if let Some(answer) = answered(&query, mode, &names, log) {
            let length = u16::try_from(answer.len()).unwrap_or(u16::MAX);
            stream.write_all(&length.to_be_bytes())?;
            stream.write_all(&answer)?;
        }
    }
}

fn answered(query: &[u8], mode: Dns, names: &str, log: &Log) -> Option<Vec<u8>> {
    let question = Question::parse(query)?;
    log.line(&format!(
        "{names} type {} {}: {mode}",
        question.kind, question.name
    ));
    answer(query, &question, mode)
}

/// The first question of a query.
#[derive(Debug, PartialEq, Eq)]
struct Question {
    name: String,
    kind: u16,
    /// Where the question ends in the message.
    end: usize,
}

impl Question {
    /// Reads it; `None` for anything that is not a query with a plain name.
    fn parse(message: &[u8]) -> Option<Self> {
        let response = message.get(2)? & 0x80 != 0;
        let questions = u16::from_be_bytes([*message.get(4)?, *message.get(5)?]);
        if response || questions == 0 {
            return None;
        }
        let mut at = HEADER;
        let mut labels = Vec::new();
        loop {
            let length = usize::from(*message.get(at)?);
            at += 1;
            match length {
                0 => break,
                1..=63 => labels.push(String::from_utf8_lossy(message.get(at..at + length)?).into_owned()),
                // A compressed name has nothing to point at in a question.
                _ => return None,
            }
            at += length;
        }
        let kind = u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]);
        message.get(at + 3)?;
        Some(Self {
            name: labels.join("."),
            kind,
            end: at + 4,
        })
    }
}

/// The whole answer; nothing for silence.
fn answer(query: &[u8], question: &Question, mode: Dns) -> Option<Vec<u8>> {
    let code = match mode {
        Dns::Ok | Dns::Lie => 0,
        Dns::Servfail => 2,
        Dns::Wrong => 3,
        Dns::Refuse => 5,
        Dns::Silent => return None,
    };
    let known = code == 0 && question.kind == TYPE_A;
    let mut message = query.get(..2)?.to_vec();
    // A response, with the query's opcode and "recursion desired"; recursion is available.
    message.extend([
        0x80 | (query[2] & 0x79),
        0x80 | code,
        0,
        1,
        0,
        u8::from(known),
        0,
        0,
        0,
        0,
    ]);
    message.extend(query.get(HEADER..question.end)?);
    if known {
        // The name is the question's (a pointer to it), class IN.
        message.extend([0xc0, 0x0c, 0, 1, 0, 1]);
        message.extend(TIME_TO_LIVE.to_be_bytes());
        message.extend([0, 4]);
        let address = if mode == Dns::Lie { LIE } else { ADDRESS };
        message.extend(address.octets());
    }
    Some(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `check.example`, class IN, with an EDNS record that is not to be echoed.
    fn query(kind: u16) -> Vec<u8> {
        let mut message = vec![0xbe, 0xef, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        message.extend(b"\x05check\x07example\x00");
        message.extend(kind.to_be_bytes());
        message.extend([0, 1]);
        message.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
        message
    }

    #[test]
    fn every_name_leads_to_the_world() {
        let query = query(TYPE_A);
        let question = Question::parse(&query).unwrap();
        assert_eq!(
            question,
            Question {
                name: "check.example".into(),
                kind: TYPE_A,
                end: 31
            }
        );
        let answer = answer(&query, &question, Dns::Ok).unwrap();
        assert_eq!(answer[..8], [0xbe, 0xef, 0x81, 0x80, 0, 1, 0, 1]);
        assert_eq!(answer[answer.len() - 4..], ADDRESS.octets());
    }

    #[test]
    fn other_types_exist_but_are_empty() {
        let query = query(28);
        let question = Question::parse(&query).unwrap();
        assert_eq!(
            answer(&query, &question, Dns::Ok).unwrap()[3..8],
            [0x80, 0, 1, 0, 0]
        );
    }

    #[test]
    fn modes_are_response_codes() {
        let query = query(TYPE_A);
        let question = Question::parse(&query).unwrap();
        for (mode, code) in [(Dns::Servfail, 2), (Dns::Wrong, 3), (Dns::Refuse, 5)] {
            assert_eq!(answer(&query, &question, mode).unwrap()[3] & 0xf, code);
        }
        assert_eq!(answer(&query, &question, Dns::Silent), None);
    }

    #[test]
    fn what_is_no_query_gets_no_answer() {
        let good = query(TYPE_A);
        for bad in [&[][..], &good[..20], &good[..30], &[0xff; 40]] {
            assert_eq!(Question::parse(bad), None, "{bad:?}");
        }
        let mut response = good.clone();
        response[2] |= 0x80;
        assert_eq!(Question::parse(&response), None);
    }
}
