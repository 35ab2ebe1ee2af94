//! What our own probes found, beside what NetworkManager says. Pure data, an uplink at a time.

use std::net::IpAddr;

#[cfg(test)]
use serde::Deserialize;

use crate::ladder::Reason;

/// What is known of every uplink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(Deserialize), serde(transparent))]
pub(crate) struct Findings(pub(crate) Vec<Found>);

impl Findings {
    /// What is known of an uplink.
    pub(crate) fn of(&self, interface: &str) -> Option<&Found> {
        self.0.iter().find(|found| found.interface == interface)
    }
}

/// What is known of one uplink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    test,
    derive(Deserialize),
    serde(default, deny_unknown_fields, rename_all = "kebab-case")
)]
pub(crate) struct Found {
    pub(crate) interface: String,
    /// Whether a gateway answers on the link.
    pub(crate) gateways: Vec<(IpAddr, bool)>,
    /// That they are silent is newer than NetworkManager's check, and counts more than its answer.
    pub(crate) silence_counts: bool,
    /// What a resolver answered when it was asked for the check's host.
    pub(crate) resolvers: Vec<(IpAddr, Answer)>,
    /// What the check's server answered us. Asked only after NetworkManager's check has failed.
    pub(crate) check: Option<Check>,
    /// The resolvers whose answer led to a portal, while that of another led to the check's server.
    pub(crate) misleading: Vec<IpAddr>,
    /// The probes' data budget of this month is used up, so that nothing above is looked at.
    pub(crate) budget_spent: bool,
}

/// A resolver's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Deserialize), serde(rename_all = "kebab-case"))]
pub(crate) enum Answer {
    /// These addresses; none if the name has none of the kind, or was asked for something else.
    Addresses(Vec<IpAddr>),
    /// There is no such name (NXDOMAIN).
    NoSuchName,
    /// It cannot or will not: SERVFAIL, REFUSED, nobody listens there.
    Fails,
    /// None.
    Silent,
}

impl Answer {
    /// Whether a program that asks takes this as the answer, and does not go on to the next resolver.
    pub(crate) const fn is_final(&self) -> bool {
        matches!(self, Self::Addresses(_) | Self::NoSuchName)
    }
}

/// What the check's server answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Deserialize), serde(rename_all = "kebab-case"))]
pub(crate) enum Check {
    /// What it should; or, over TLS, it took the connection, and nothing was found wrong with it.
    Expected,
    /// Over TLS: it took the connection, and the clock is before the day on which the system was made, or far from what the
    /// server says.
    ClockWrong,
    /// Over TLS: its certificate is of no authority that is known here, or for another name.
    Intercepted,
    /// Something else.
    Portal,
    /// That it has a fault (HTTP 5xx); or, over TLS, a certificate that has expired.
    ServerFault,
    Refused,
    Reset,
    Timeout,
    Unreachable,
}

impl Found {
    /// Whether no gateway is known that answers, and at least one that does not.
    pub(crate) fn gateway_fault(&self, configured: &[IpAddr]) -> Option<Reason> {
        let is_silent = |gateway: &IpAddr| self.gateways.contains(&(*gateway, false));
        (!configured.is_empty() && configured.iter().all(is_silent)).then_some(Reason::GatewaySilent)
    }

    /// What is wrong with the resolvers as a whole, if no name can be resolved by them: none answers, or the first that
    /// does lies. `None` while one of them was not asked yet.
    pub(crate) fn resolver_fault(&self, configured: &[IpAddr]) -> Option<Reason> {
        let mut all_silent = true;
        for resolver in configured {
            let answer = self.answer(resolver)?;
            if answer.is_final() {
                return self.lies(resolver, configured).then_some(Reason::ResolverLying);
            }
            all_silent &= *answer == Answer::Silent;
        }
        match (configured.is_empty(), all_silent) {
            (true, _) => None,
            (_, true) => Some(Reason::ResolverSilent),
            (_, false) => Some(Reason::ResolverFailing),
        }
    }

    /// What is wrong with one resolver.
    pub(crate) fn fault_of(&self, resolver: &IpAddr, configured: &[IpAddr]) -> Option<Reason> {
        match self.answer(resolver)? {
            Answer::Silent => Some(Reason::ResolverSilent),
            Answer::Fails => Some(Reason::ResolverFailing),
            _ => self.lies(resolver, configured).then_some(Reason::ResolverLying),
        }
    }

    /// Whether all resolvers that answer say that the check's host does not exist.
    pub(crate) fn is_name_unknown(&self, configured: &[IpAddr]) -> bool {
        let mut answers = self
            .answers(configured)
            .filter(|answer| answer.is_final())
            .peekable();
        answers.peek().is_some() && answers.all(|answer| *answer == Answer::NoSuchName)
    }

    /// Whether a resolver tells what is not so (`docs/connectivity.md`, "A resolver that lies").
    fn lies(&self, resolver: &IpAddr, configured: &[IpAddr]) -> bool {
        let others = || self.answers(configured);
        match self.answer(resolver) {
            Some(Answer::NoSuchName) => others().any(|other| addresses(other).next().is_some()),
            // Where it was tried out, that counts.
            Some(Answer::Addresses(_)) if !self.misleading.is_empty() => self.misleading.contains(resolver),
            Some(answer @ Answer::Addresses(own)) if !own.is_empty() => {
                !addresses(answer).any(is_public) && others().any(|other| addresses(other).any(is_public))
            }
            _ => false,
        }
    }

    /// What a resolver answered, if it was asked.
    pub(crate) fn answer(&self, resolver: &IpAddr) -> Option<&Answer> {
        let found = self.resolvers.iter().find(|(asked, _)| asked == resolver);
        found.map(|(_, answer)| answer)
    }

    fn answers(&self, configured: &[IpAddr]) -> impl Iterator<Item = &Answer> {
        configured.iter().filter_map(|resolver| self.answer(resolver))
    }
}

/// The addresses in an answer.
pub(crate) fn addresses(answer: &Answer) -> impl Iterator<Item = &IpAddr> {
    match answer {
        Answer::Addresses(addresses) => addresses.as_slice(),
        _ => &[],
    }
    .iter()
}

/// Whether an address is of the public internet, as far as it can be told without a list of all that is assigned: not
/// private (RFC 1918, RFC 4193, RFC 6598), of the link, of this host, or of nobody.
fn is_public(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let shared = a == 100 && (64..128).contains(&b);
            !(v4.is_private() || v4.is_link_local() || v4.is_loopback() || shared || a == 0 || a >= 224)
        }
        IpAddr::V6(v6) => {
            !(v6.is_unique_local()
                || v6.is_unicast_link_local()
                || v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn found(answers: &[Answer]) -> (Found, Vec<IpAddr>) {
        let resolvers: Vec<_> = (1..).map(ip).zip(answers.iter().cloned()).collect();
        let configured = resolvers.iter().map(|(resolver, _)| *resolver).collect();
        let found = Found {
            resolvers,
            ..Found::default()
        };
        (found, configured)
    }

    #[test]
    fn resolvers_together() {
        use Answer::{Addresses, Fails, NoSuchName, Silent};
        let public = || Addresses(vec![IpAddr::from([192, 0, 2, 1])]);
        let private = || Addresses(vec![ip(9)]);
        for (answers, fault) in [
            (vec![public()], None),
            (vec![private()], None),
            (vec![NoSuchName], None),
            (vec![Silent], Some(Reason::ResolverSilent)),
            (vec![Silent, Silent], Some(Reason::ResolverSilent)),
            (vec![Silent, Fails], Some(Reason::ResolverFailing)),
            (vec![Silent, public()], None),
            (vec![Fails, NoSuchName], None),
            (vec![NoSuchName, public()], Some(Reason::ResolverLying)),
            (vec![public(), NoSuchName], None),
            (vec![private(), public()], Some(Reason::ResolverLying)),
            (vec![Addresses(vec![]), public()], None),
        ] {
            let (found, configured) = found(&answers);
            assert_eq!(found.resolver_fault(&configured), fault, "{answers:?}");
        }
    }

    #[test]
    fn what_was_tried_out_counts_more_than_how_it_looks() {
        let own = |address: [u8; 4]| Answer::Addresses(vec![IpAddr::from(address)]);
        let (mut found, configured) = found(&[own([192, 0, 2, 1]), own([10, 0, 0, 9])]);
        assert_eq!(found.fault_of(&ip(2), &configured), Some(Reason::ResolverLying));
        found.misleading.push(ip(1));
        assert_eq!(found.fault_of(&ip(1), &configured), Some(Reason::ResolverLying));
        assert_eq!(found.fault_of(&ip(2), &configured), None);
    }

    #[test]
    fn what_was_not_asked_is_no_fault() {
        let (mut found, configured) = found(&[Answer::Silent, Answer::Silent]);
        found.resolvers.pop();
        assert_eq!(found.resolver_fault(&configured), None);
        assert_eq!(found.resolver_fault(&[]), None);
        assert_eq!(found.gateway_fault(&[]), None);
        assert_eq!(found.gateway_fault(&[ip(1)]), None);
    }

    #[test]
    fn public_addresses() {
        for no in [
            "10.1.2.3",
            "192.168.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "0.0.0.0",
            "169.254.1.1",
            "fd00::1",
            "::1",
        ] {
            assert!(!is_public(&no.parse().unwrap()), "{no}");
        }
        for yes in ["192.0.2.1", "100.128.0.1", "8.8.8.8", "2001:db8::1"] {
            assert!(is_public(&yes.parse().unwrap()), "{yes}");
        }
    }
}
