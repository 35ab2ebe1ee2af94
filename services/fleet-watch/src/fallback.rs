//! The DNS fallback: when the product's resolvers take the place of the configured ones, none of which answers.
//!
//! NetworkManager knows no such thing. When is decided here, purely ([`is_wanted`]); which they are the configuration says;
//! and the helper puts them in, who takes no address from us. What is in use is read from the file that he writes, so that a
//! restart in between leaves nothing behind. See `docs/connectivity.md`, "DNS fallback".

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use fleet_base::bus::sentence;
use fleet_base::dns_fallback::{AVAILABLE, IN_USE, available, resolvers};
use fleet_base::proxy::helper::HelperProxy;
use zbus::Connection;

use crate::errand::Errand;
use crate::finding::Findings;
use crate::snapshot::{Connectivity, Network, Snapshot};
use crate::verdict::{is_uplink, names_are_resolved_by};

/// Whether the fallback is to be used. It begins only when every configured resolver of every uplink that has a gateway was
/// asked and none has answered; it ends as soon as one has. What is not known changes nothing.
pub(crate) fn is_wanted(network: &Network, findings: &Findings, in_use: bool) -> bool {
    // There are others that were not asked.
    if network.other_resolvers {
        return false;
    }
    let (mut some, mut all_failed, mut is_reached) = (false, true, false);
    let uplinks = network.devices.iter();
    for device in uplinks.filter(|device| is_uplink(network, device) && device.gateway && device.address) {
        let found = findings.of(&device.interface);
        for resolver in &device.resolvers {
            some = true;
            match found.and_then(|found| found.answer(resolver)) {
                Some(answer) if answer.is_final() => return false,
                Some(_) => {}
                None => all_failed = false,
            }
        }
        // Behind a gateway that is silent nobody answers, and a fallback changes nothing.
        is_reached |= found.is_none_or(|found| found.gateway_fault(&device.gateways).is_none());
        // An answered check for a name shows that names are resolved; by the fallback, if that is in use.
        let is_answered = network.checked && device.connectivity == Connectivity::Full;
        all_failed &= !(is_answered && names_are_resolved_by(network, device));
    }
    some && (in_use || (all_failed && is_reached))
}

/// Keeps it as it shall be.
pub(crate) struct Fallback {
    connection: Connection,
    /// Which they may be.
    available: Vec<IpAddr>,
    in_use: Vec<IpAddr>,
    errand: Errand,
}

impl Fallback {
    pub(crate) fn new(connection: Connection) -> Self {
        Self {
            connection,
            available: available(Path::new(AVAILABLE)),
            in_use: resolvers(Path::new(IN_USE)),
            errand: Errand::new(),
        }
    }

    /// Whether NetworkManager may have it in the place of the devices' own resolvers.
    pub(crate) const fn covers(&self) -> bool {
        self.errand.is_asked() || !self.in_use.is_empty()
    }

    pub(crate) fn add_to(&self, snapshot: &mut Snapshot) {
        if let Snapshot::Read(network) = snapshot {
            network.fallback.clone_from(&self.in_use);
        }
    }

    /// The configuration may say something else of it.
    pub(crate) fn read_again(&mut self) {
        self.available = available(Path::new(AVAILABLE));
        self.errand.forget();
    }

    /// Has it put in or taken away, if that is not as it should be.
    pub(crate) fn tend(&mut self, snapshot: &Snapshot, findings: &Findings, now: Duration) {
        let Snapshot::Read(network) = snapshot else {
            // A NetworkManager that comes back is read, and this is called then.
            self.errand.forget();
            return;
        };
        let on = !self.available.is_empty() && is_wanted(network, findings, !self.in_use.is_empty());
        let wanted = if on { self.available.as_slice() } else { &[] };
        if wanted == self.in_use {
            self.errand.forget();
        } else if self.errand.is_due(now) {
            let connection = self.connection.clone();
            let work = async move { HelperProxy::new(&connection).set_dns_fallback(on).await };
            self.errand.send(now, Box::pin(work));
        }
    }

    /// Waits for the helper's answer. Cancel-safe.
    pub(crate) async fn replied(&mut self) {
        self.in_use = match self.errand.replied().await {
            Ok(addresses) => addresses.iter().flat_map(|address| address.parse()).collect(),
            Err(error) => {
                log::warn!("cannot set the DNS fallback: {}", sentence(&error));
                resolvers(Path::new(IN_USE))
            }
        };
    }

    /// When to [`tend`](Self::tend) it again although nothing has changed.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.errand.due()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::{Answer, Found};
    use crate::snapshot::{Device, Kind, State};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// An uplink, its resolvers, and what these said.
    struct Case {
        name: &'static str,
        gateway: bool,
        gateway_silent: bool,
        check: Connectivity,
        resolvers: Vec<(&'static str, Option<Answer>)>,
    }

    fn uplink(name: &'static str, resolvers: &[(&'static str, Option<Answer>)]) -> Case {
        Case {
            name,
            gateway: true,
            gateway_silent: false,
            check: Connectivity::Limited,
            resolvers: resolvers.to_vec(),
        }
    }

    fn network(cases: &[Case]) -> (Network, Findings) {
        let gateway = ip("10.0.0.254");
        let devices = cases.iter().map(|case| Device {
            interface: case.name.to_owned(),
            kind: Kind::Ethernet,
            state: State::Activated,
            failure: None,
            hands_off: false,
            carrier: true,
            controller: None,
            address: true,
            gateway: case.gateway,
            gateways: vec![gateway],
            resolver: !case.resolvers.is_empty(),
            resolvers: case.resolvers.iter().map(|(resolver, _)| ip(resolver)).collect(),
            metered: false,
            connectivity: case.check,
        });
        let findings = cases.iter().map(|case| Found {
            interface: case.name.to_owned(),
            gateways: vec![(gateway, !case.gateway_silent)],
            resolvers: (case.resolvers.iter())
                .filter_map(|(resolver, answer)| Some((ip(resolver), answer.clone()?)))
                .collect(),
            ..Found::default()
        });
        let network = Network {
            checked: true,
            check_uri: "http://check.example/".to_owned(),
            primary: Some("eth0".to_owned()),
            devices: devices.collect(),
            ..Network::default()
        };
        (network, Findings(findings.collect()))
    }

    #[test]
    fn only_when_none_answers() {
        use Answer::{Addresses, Fails, NoSuchName, Silent};
        let (a, b) = ("10.0.0.1", "10.0.0.2");
        let silent = || vec![(a, Some(Silent))];
        let (begins, stays, never) = ((true, true), (false, true), (false, false));
        // Whether it begins, and whether it goes on if it is in use.
        for (story, uplinks, expected) in [
            ("one is silent", vec![uplink("eth0", &silent())], begins),
            (
                "both fail",
                vec![uplink("eth0", &[(a, Some(Silent)), (b, Some(Fails))])],
                begins,
            ),
            (
                "one of two answers",
                vec![uplink("eth0", &[(a, Some(Silent)), (b, Some(Addresses(vec![])))])],
                never,
            ),
            (
                "no such name is an answer",
                vec![uplink("eth0", &[(a, Some(NoSuchName))])],
                never,
            ),
            (
                "one was not asked yet",
                vec![uplink("eth0", &[(a, Some(Silent)), (b, None)])],
                stays,
            ),
            (
                "nothing is known, as after a start",
                vec![uplink("eth0", &[(a, None)])],
                stays,
            ),
            ("none is configured", vec![uplink("eth0", &[])], never),
            ("there is no uplink", vec![], never),
            (
                "the other uplink's answers",
                vec![
                    uplink("eth0", &silent()),
                    uplink("eth1", &[(b, Some(Addresses(vec![])))]),
                ],
                never,
            ),
            (
                "the other uplink's was not asked",
                vec![uplink("eth0", &silent()), uplink("eth1", &[(b, None)])],
                stays,
            ),
            (
                "the other uplink's is silent too",
                vec![uplink("eth0", &silent()), uplink("eth1", &[(b, Some(Silent))])],
                begins,
            ),
            (
                "the other uplink has none",
                vec![uplink("eth0", &silent()), uplink("eth1", &[])],
                begins,
            ),
            (
                "the other one's answers, and leads nowhere",
                vec![
                    uplink("eth0", &silent()),
                    Case {
                        gateway: false,
                        ..uplink("eth1", &[(b, Some(Addresses(vec![])))])
                    },
                ],
                begins,
            ),
            (
                "the gateway is silent as well",
                vec![Case {
                    gateway_silent: true,
                    ..uplink("eth0", &silent())
                }],
                stays,
            ),
            (
                "one gateway of two is silent",
                vec![
                    Case {
                        gateway_silent: true,
                        ..uplink("eth0", &silent())
                    },
                    uplink("eth1", &[(b, Some(Silent))]),
                ],
                begins,
            ),
            (
                "the check was answered, for a name",
                vec![Case {
                    check: Connectivity::Full,
                    ..uplink("eth0", &silent())
                }],
                stays,
            ),
        ] {
            let (network, findings) = network(&uplinks);
            let wanted = [false, true].map(|in_use| is_wanted(&network, &findings, in_use));
            assert_eq!((wanted[0], wanted[1]), expected, "{story}");
        }
    }

    #[test]
    fn an_answered_check_that_asks_no_name_says_nothing() {
        let case = Case {
            check: Connectivity::Full,
            ..uplink("eth0", &[("10.0.0.1", Some(Answer::Silent))])
        };
        let (mut network, findings) = network(&[case]);
        network.check_uri = "http://192.0.2.1/".to_owned();
        assert!(is_wanted(&network, &findings, false));
        network.check_uri = "http://check.example/".to_owned();
        network.checked = false;
        assert!(is_wanted(&network, &findings, false));
    }

    #[test]
    fn beside_resolvers_that_are_not_asked_there_is_none() {
        let (mut network, findings) = network(&[uplink("eth0", &[("10.0.0.1", Some(Answer::Silent))])]);
        network.other_resolvers = true;
        assert!(!is_wanted(&network, &findings, false) && !is_wanted(&network, &findings, true));
    }
}
