//! Probes of our own, where NetworkManager gives no signal: whether the gateway answers, each resolver by itself, and why
//! the connectivity check has failed.
//!
//! Each is bound to its uplink's interface (SO_BINDTODEVICE, which needs no privilege since Linux 5.7) and asks a few
//! datagrams or one request. What comes back is hostile: it is compared with what was asked, and only judged.

mod dns;
mod gateway;
mod http;
mod resolver;

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use fleet_base::pending::Pending;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::check_uri::CheckUri;
use crate::finding::{Answer, Check, addresses};

/// What there is to probe on an uplink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) interface: String,
    pub(crate) gateways: Vec<IpAddr>,
    pub(crate) resolvers: Vec<IpAddr>,
    /// Those of the fallback, while it is in use.
    pub(crate) fallback: Vec<IpAddr>,
    /// What the connectivity check asks; `None` if it is off.
    pub(crate) check: Option<CheckUri>,
}

impl Target {
    /// What a round takes at least, headers included: a datagram and ARP for a gateway, a query and its answer for a
    /// resolver.
    pub(crate) fn least_bytes(&self) -> u64 {
        let bytes = self.gateways.len() * 178 + self.all_resolvers().count() * 120;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// The uplink's own and those of the fallback, each once.
    pub(crate) fn all_resolvers(&self) -> impl Iterator<Item = &IpAddr> {
        let more = (self.fallback.iter()).filter(|resolver| !self.resolvers.contains(resolver));
        self.resolvers.iter().chain(more)
    }
}

/// What a probe found.
#[derive(Debug)]
pub(crate) enum Found {
    /// Whether a gateway answers; `None`: the kernel does not know yet.
    Gateway(IpAddr, Option<bool>),
    Resolver(IpAddr, Answer),
    /// What the check's server answered, and the resolvers that led somewhere else.
    Check(Check, Vec<IpAddr>),
    /// That was all; so many bytes went over the link.
    End(u64),
}

/// Found in a round.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) round: u64,
    pub(crate) found: Found,
}

/// An interface by its name and number.
#[derive(Clone, Debug)]
struct Interface {
    name: String,
    index: u32,
}

impl Interface {
    /// It has to be there. Its number is read where the kernel shows it (sysfs-class-net).
    fn find(name: &str) -> io::Result<Self> {
        let text = std::fs::read_to_string(format!("/sys/class/net/{name}/ifindex"))?;
        let index = text.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
        Ok(Self {
            name: name.to_owned(),
            index,
        })
    }

    /// The address of a port; one that is of the link is of this interface's link.
    fn address(&self, ip: IpAddr, port: u16) -> SocketAddr {
        match ip {
            IpAddr::V6(v6) if v6.is_unicast_link_local() => SocketAddrV6::new(v6, port, 0, self.index).into(),
            ip => (ip, port).into(),
        }
    }
}

/// The number of an interface.
pub(crate) fn index(name: &str) -> Option<u32> {
    Interface::find(name).map(|interface| interface.index).ok()
}

/// Whether the link has neighbours that can be asked for (`IFF_NOARP`, netdevice(7)): a modem's has none.
pub(crate) fn has_neighbours(name: &str) -> bool {
    let flags = std::fs::read_to_string(format!("/sys/class/net/{name}/flags"));
    flags.map_or(true, |flags| !is_noarp(&flags))
}

/// From the kernel's flags of an interface, in its hexadecimal writing.
fn is_noarp(flags: &str) -> bool {
    const NOARP: u32 = 0x80;
    let digits = flags.trim().trim_start_matches("0x");
    u32::from_str_radix(digits, 16).is_ok_and(|flags| flags & NOARP != 0)
}

/// The size of an IP header.
const fn ip_header(address: &SocketAddr) -> u64 {
    match address {
        SocketAddr::V4(_) => 20,
        SocketAddr::V6(_) => 40,
    }
}

/// The size of a datagram on the link, from its IP header on.
fn datagram(address: &SocketAddr, length: usize) -> u64 {
    const UDP: u64 = 8;
    ip_header(address) + UDP + u64::try_from(length).unwrap_or(u64::MAX)
}

/// Probes an uplink once, all its gateways and resolvers together, and then, if NetworkManager's check has failed, its
/// server. Sends what it finds as it comes; dropping it ends it.
pub(crate) async fn round(target: Target, diagnose: bool, number: u64, messages: mpsc::Sender<Message>) {
    let send = async |found| {
        // Nobody there: the service ends.
        let _ = messages.send(Message { round: number, found }).await;
    };
    let Ok(interface) = Interface::find(&target.interface) else {
        // Gone; NetworkManager says so in a moment.
        return send(Found::End(0)).await;
    };
    let mut probes: JoinSet<(Found, u64)> = JoinSet::new();
    for gateway in target.gateways.clone() {
        let interface = interface.clone();
        let probe: Pending<'static, _> = Box::pin(async move {
            let (answers, bytes) = gateway::ask(&interface, gateway).await;
            (Found::Gateway(gateway, answers), bytes)
        });
        probes.spawn(probe);
    }
    let question = resolver::Question::new(target.check.as_ref(), &target.gateways);
    for resolver in target.all_resolvers().copied() {
        let (interface, question) = (interface.clone(), question.clone());
        let probe: Pending<'static, _> = Box::pin(async move {
            let (answer, bytes) = resolver::ask(&interface, resolver, &question).await;
            (Found::Resolver(resolver, answer), bytes)
        });
        probes.spawn(probe);
    }
    let mut spent = 0;
    let mut answers: Vec<(IpAddr, Answer)> = Vec::new();
    let mut is_gateway_silent = !target.gateways.is_empty();
    // Whether a silent resolver or the way to it is at fault is known when the gateways are: they come first.
    let mut gateways = target.gateways.len();
    let mut silent = Vec::new();
    while let Some(Ok((found, bytes))) = probes.join_next().await {
        spent += bytes;
        match &found {
            Found::Gateway(_, answers) => {
                is_gateway_silent &= *answers == Some(false);
                gateways -= 1;
            }
            Found::Resolver(resolver, answer) => answers.push((*resolver, answer.clone())),
            _ => {}
        }
        if gateways > 0 && matches!(found, Found::Resolver(_, Answer::Silent)) {
            silent.push(found);
            continue;
        }
        send(found).await;
        if gateways == 0 {
            for found in silent.drain(..) {
                send(found).await;
            }
        }
    }
    if let (true, false, Some(uri)) = (diagnose, is_gateway_silent, &target.check) {
        // In the order in which a program asks them.
        let answer_of = |resolver| answers.iter().find(|(asked, _)| asked == resolver);
        let ordered: Vec<_> = target.all_resolvers().filter_map(answer_of).collect();
        let (found, bytes) = check(&interface, uri, &ordered).await;
        spent += bytes;
        if let Some(found) = found {
            send(found).await;
        }
    }
    send(Found::End(spent)).await;
}

/// Asks the check's server: at the address that the first resolver to answer gives. If that leads to a portal, and another
/// resolver gives other addresses, one of those is asked as well: then it shows who of the two lies.
async fn check(interface: &Interface, uri: &CheckUri, answers: &[&(IpAddr, Answer)]) -> (Option<Found>, u64) {
    if let Some(address) = uri.address() {
        let (check, bytes) = http::ask(interface, address, uri).await;
        return (Some(Found::Check(check, Vec::new())), bytes);
    }
    let mut known = answers.iter().filter_map(|(resolver, answer)| {
        let first = addresses(answer).next()?;
        Some((resolver, answer, *first))
    });
    let Some((first, answer, address)) = known.next() else {
        return (None, 0);
    };
    let (check, mut bytes) = http::ask(interface, address, uri).await;
    let mut misleading = Vec::new();
    let other = known
        .find(|(_, other, _)| addresses(other).all(|address| !addresses(answer).any(|own| own == address)));
    if let (Check::Portal, Some((_, _, address))) = (check, other) {
        let (second, more) = http::ask(interface, address, uri).await;
        bytes += more;
        if second == Check::Expected {
            misleading.push(*first);
        }
    }
    (Some(Found::Check(check, misleading)), bytes)
}
