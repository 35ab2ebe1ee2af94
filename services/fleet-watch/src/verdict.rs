//! From a snapshot and what our probes found to the verdict. Pure: the same input always gives the same verdict.

use std::net::IpAddr;

use crate::check_uri::CheckUri;
use crate::explanation::{explain, explain_fallback, explain_problem, explain_spent, explain_vpn};
use crate::finding::{Check, Findings, Found};
use crate::ladder::{Level, Reason, Status};
use crate::snapshot::{
    Connectivity, Counts, Device, Failure, Kind, Network, Snapshot, State, Trouble, Vpn, VpnState,
};

/// How far the device reaches, and why not further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) level: Level,
    pub(crate) reason: Reason,
    pub(crate) status: Status,
    /// The same as a sentence that an operator can act on.
    pub(crate) explanation: String,
    /// The uplink that the level is of; empty if there is none.
    pub(crate) interface: String,
    /// Every uplink by itself, in NetworkManager's order.
    pub(crate) uplinks: Vec<Uplink>,
    /// Every VPN by itself.
    pub(crate) vpns: Vec<Tunnel>,
    /// The fallback resolvers that are in use.
    pub(crate) fallback: Vec<IpAddr>,
}

/// How far one uplink reaches. Its ladder ends at the internet: a VPN is the device's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Uplink {
    pub(crate) interface: String,
    pub(crate) level: Level,
    pub(crate) reason: Reason,
    pub(crate) explanation: String,
    /// What is at fault on it, whether it costs a rung or not.
    pub(crate) problems: Vec<Problem>,
    /// NetworkManager's check has failed, and our own request through it was answered.
    pub(crate) is_wronged: bool,
}

/// How one VPN is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tunnel {
    pub(crate) name: String,
    pub(crate) state: VpnState,
    /// Why it is not up.
    pub(crate) reason: Reason,
    pub(crate) explanation: String,
    pub(crate) counts: Counts,
}

/// Something that is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub(crate) struct Problem {
    /// One of the reasons' names.
    pub(crate) reason: String,
    /// Which one: an address; empty if there is only one.
    pub(crate) subject: String,
    pub(crate) explanation: String,
}

/// The name of a problem that is no reason: the probes' data budget of the month is used up.
pub(crate) const BUDGET_SPENT: &str = "probe-budget-spent";
/// The same: no configured resolver answers, and the fallback is in use.
pub(crate) const DNS_FALLBACK: &str = "dns-fallback";

/// Judges a snapshot together with what our probes found.
pub(crate) fn judge(snapshot: &Snapshot, findings: &Findings) -> Verdict {
    let mut uplinks = Vec::new();
    let mut best: Option<(&Device, Level, Reason)> = None;
    let mut vpns: &[Vpn] = &[];
    let mut fallback = Vec::new();
    let mut without_uplink = Reason::NetworkManagerDown;
    if let Snapshot::Read(network) = snapshot {
        vpns = &network.vpns;
        fallback.clone_from(&network.fallback);
        without_uplink = if network.startup {
            Reason::Connecting
        } else {
            Reason::NoDevice
        };
        for device in network.devices.iter().filter(|device| is_uplink(network, device)) {
            let found = findings.of(&device.interface);
            let (level, reason) = climb(network, device, found);
            let reason = if network.startup {
                while_starting(reason)
            } else {
                reason
            };
            if is_better(network, device, level, best) {
                best = Some((device, level, reason));
            }
            uplinks.push(Uplink {
                interface: device.interface.clone(),
                level,
                reason,
                explanation: explain(level, reason, Some(device), snapshot),
                // Without a link nobody could have answered.
                problems: if level > Level::None {
                    problems(network, device, found)
                } else {
                    Vec::new()
                },
                is_wronged: reason == Reason::NoInternet
                    && found.is_some_and(|found| found.check == Some(Check::Expected)),
            });
        }
    }
    let (level, reason, uplink) = match best {
        Some((device, Level::Internet, Reason::None)) => {
            let (level, reason) = above_internet(vpns);
            (level, reason, Some(device))
        }
        Some((device, level, reason)) => (level, reason, Some(device)),
        None => (Level::None, without_uplink, None),
    };
    Verdict {
        level,
        reason,
        status: status(level, reason, vpns),
        explanation: explain(level, reason, uplink, snapshot),
        interface: uplink.map_or_else(String::new, |device| device.interface.clone()),
        uplinks,
        vpns: vpns.iter().map(tunnel).collect(),
        fallback,
    }
}

/// Before NetworkManager has tried every device, what is not there yet is not missing.
const fn while_starting(reason: Reason) -> Reason {
    match reason {
        Reason::NoDevice | Reason::Unmanaged | Reason::NoCarrier | Reason::Inactive => Reason::Connecting,
        other => other,
    }
}

/// Whether the device's level is that of this uplink: it has the default route, else it is on the highest rung (the first
/// of equals).
fn is_better(
    network: &Network,
    device: &Device,
    level: Level,
    best: Option<(&Device, Level, Reason)>,
) -> bool {
    let is_primary = |device: &Device| network.primary.as_ref() == Some(&device.interface);
    match best {
        None => true,
        Some((other, highest, _)) => !is_primary(other) && (is_primary(device) || level > highest),
    }
}

/// Whether the device leads out of this machine by itself.
pub(crate) fn is_uplink(network: &Network, device: &Device) -> bool {
    let is_primary = network.primary.as_ref() == Some(&device.interface);
    let is_port = device.controller.is_some();
    match device.kind {
        Kind::Ethernet | Kind::Wifi | Kind::Modem | Kind::Stacked => !is_port,
        // The host's side of a container's cable is a bridge's port, or nothing that NetworkManager manages.
        Kind::Veth => !is_port && device.state != State::Unmanaged,
        // A container engine's bridge has no port that leads out, one over a real port is an uplink.
        Kind::Bridge => {
            is_primary
                || network
                    .devices
                    .iter()
                    .any(|port| leads_out_of(port, &device.interface))
        }
    }
}

/// Whether `port` is a real port of the bridge.
fn leads_out_of(port: &Device, bridge: &str) -> bool {
    port.controller.as_deref() == Some(bridge) && !matches!(port.kind, Kind::Veth | Kind::Bridge)
}

/// The rung that the device's configuration reaches, without any check.
fn configured_level(network: &Network, device: &Device) -> Level {
    if !has_link(device) {
        Level::None
    } else if !device.address {
        Level::Carrier
    } else if !device.gateway {
        Level::Address
    } else if !device.resolver && network.fallback.is_empty() {
        Level::Gateway
    } else {
        Level::Dns
    }
}

/// A cable tells by its carrier, a radio by having come so far that it gets addresses.
const fn has_link(device: &Device) -> bool {
    match device.kind {
        Kind::Wifi | Kind::Modem => matches!(device.state, State::Configuring | State::Activated),
        _ => device.carrier,
    }
}

/// The rung that holds, and why the next does not: what is configured, what NetworkManager's check says, and what our
/// probes found.
fn climb(network: &Network, device: &Device, found: Option<&Found>) -> (Level, Reason) {
    let configured = configured_level(network, device);
    match configured {
        Level::None => return (configured, why_no_link(network, device)),
        Level::Carrier => return (configured, why_no_address(device)),
        Level::Address => return (configured, unless_connecting(device, Reason::NoGateway)),
        _ => {}
    }
    let no_internet = why_no_internet(network, device);
    // An answered check came through the gateway, whatever the gateway said for itself before.
    let gateway_fault = found
        .filter(|found| no_internet != Reason::None || found.silence_counts)
        .and_then(|found| found.gateway_fault(&device.gateways));
    if let Some(reason) = gateway_fault {
        return (Level::Address, reason);
    }
    if configured == Level::Gateway {
        return (configured, unless_connecting(device, Reason::NoResolver));
    }
    let resolver_fault = match no_internet {
        Reason::None if names_are_resolved_by(network, device) => None,
        _ => found.and_then(|found| found.resolver_fault(network.resolvers(device))),
    };
    match (resolver_fault, no_internet) {
        (Some(reason), _) => (Level::Gateway, reason),
        (None, Reason::None) => (Level::Internet, Reason::None),
        (None, reason) => (Level::Dns, why_exactly(reason, network.resolvers(device), found)),
    }
}

/// Whether the check, if it is answered, shows that this uplink's resolvers work: it asks for a name, and names are
/// resolved through the uplink with the default route.
pub(crate) fn names_are_resolved_by(network: &Network, device: &Device) -> bool {
    let asks_for_name = CheckUri::parse(&network.check_uri).is_none_or(|uri| uri.address().is_none());
    asks_for_name && network.primary.as_ref() == Some(&device.interface)
}

/// What our own request found, where NetworkManager's check has failed: it says only that, and of a server's fault that it
/// is a portal.
fn why_exactly(reason: Reason, resolvers: &[IpAddr], found: Option<&Found>) -> Reason {
    let (Reason::Portal | Reason::NoInternet, Some(found)) = (reason, found) else {
        return reason;
    };
    match found.check {
        Some(Check::Portal) => Reason::Portal,
        Some(Check::ServerFault) => Reason::ServerFault,
        Some(Check::ClockWrong) => Reason::ClockWrong,
        Some(Check::Intercepted) => Reason::TlsIntercepted,
        Some(Check::Refused) => Reason::CheckRefused,
        Some(Check::Reset) => Reason::CheckReset,
        Some(Check::Timeout) => Reason::CheckTimeout,
        Some(Check::Unreachable) => Reason::Unreachable,
        None if found.is_name_unknown(resolvers) => Reason::NameUnknown,
        Some(Check::Expected) | None => reason,
    }
}

/// What is at fault on an uplink, each by its address.
fn problems(network: &Network, device: &Device, found: Option<&Found>) -> Vec<Problem> {
    let mut problems = found.map_or_else(Vec::new, |found| found_problems(network, device, found));
    // It is in the place of those of an uplink that leads on.
    if device.gateway && !network.fallback.is_empty() {
        problems.push(Problem {
            reason: DNS_FALLBACK.to_owned(),
            subject: String::new(),
            explanation: explain_fallback(&network.fallback),
        });
    }
    problems
}

fn found_problems(network: &Network, device: &Device, found: &Found) -> Vec<Problem> {
    let mut all = Vec::new();
    for (gateway, answers) in &found.gateways {
        if !answers && device.gateways.contains(gateway) {
            all.push((Reason::GatewaySilent, gateway));
        }
    }
    for resolver in &device.resolvers {
        all.extend(
            found
                .fault_of(resolver, &device.resolvers)
                .map(|reason| (reason, resolver)),
        );
    }
    for resolver in (network.fallback.iter()).filter(|resolver| !device.resolvers.contains(resolver)) {
        let fault = found.fault_of(resolver, &network.fallback);
        all.extend(fault.map(|reason| (reason, resolver)));
    }
    let mut problems: Vec<Problem> = all
        .into_iter()
        .map(|(reason, subject)| Problem {
            reason: reason.as_str().to_owned(),
            subject: subject.to_string(),
            explanation: explain_problem(reason, subject, &device.interface),
        })
        .collect();
    if found.budget_spent {
        problems.push(Problem {
            reason: BUDGET_SPENT.to_owned(),
            subject: String::new(),
            explanation: explain_spent(&device.interface),
        });
    }
    problems
}

fn why_no_link(network: &Network, device: &Device) -> Reason {
    let radio_off = match device.kind {
        Kind::Wifi => network.wifi_off,
        Kind::Modem => network.modem_off,
        _ => false,
    };
    match (device.state, device.failure) {
        (State::Unmanaged, _) => Reason::Unmanaged,
        _ if radio_off => Reason::RadioOff,
        // What a modem is asked for is the SIM's PIN; the credentials for the data connection are in the profile or not at all.
        (State::NeedAuth, _) | (_, Some(Failure::Auth)) if device.kind == Kind::Modem => Reason::SimLocked,
        (State::NeedAuth, _) | (_, Some(Failure::Auth)) => Reason::NeedAuth,
        _ if device.kind != Kind::Wifi && device.kind != Kind::Modem => Reason::NoCarrier,
        (_, Some(Failure::NoSim)) => Reason::NoSim,
        (_, Some(Failure::SimLocked)) => Reason::SimLocked,
        (_, Some(Failure::NotRegistered)) => Reason::NotRegistered,
        (_, Some(Failure::NoBearer)) => Reason::NoBearer,
        (_, Some(Failure::NotFound)) => Reason::NetworkNotFound,
        (_, Some(Failure::NoLease)) => Reason::NoLease,
        (_, Some(Failure::Duplicate)) => Reason::DuplicateAddress,
        (State::Linking | State::Configuring, None) => Reason::Connecting,
        (State::Unavailable, None) => Reason::NoCarrier,
        (State::Inactive | State::Activated, None) => Reason::Inactive,
    }
}

fn why_no_address(device: &Device) -> Reason {
    match (device.state, device.failure) {
        (State::Unmanaged, _) => Reason::Unmanaged,
        (State::NeedAuth, _) | (_, Some(Failure::Auth)) => Reason::NeedAuth,
        (_, Some(Failure::NoLease)) => Reason::NoLease,
        (_, Some(Failure::Duplicate)) => Reason::DuplicateAddress,
        (State::Activated, _) => Reason::NoAddress,
        (State::Linking | State::Configuring, _) => Reason::Connecting,
        (State::Inactive | State::Unavailable, _) => Reason::Inactive,
    }
}

const fn unless_connecting(device: &Device, reason: Reason) -> Reason {
    match device.state {
        State::Linking | State::Configuring => Reason::Connecting,
        State::Unmanaged => Reason::Unmanaged,
        _ => reason,
    }
}

const fn why_no_internet(network: &Network, device: &Device) -> Reason {
    if !network.checked {
        return Reason::NotChecked;
    }
    match device.connectivity {
        Connectivity::Full => Reason::None,
        Connectivity::Portal => Reason::Portal,
        Connectivity::Limited => Reason::NoInternet,
        Connectivity::Unknown => Reason::Checking,
    }
}

fn tunnel(vpn: &Vpn) -> Tunnel {
    Tunnel {
        name: vpn.name.clone(),
        state: vpn.state,
        reason: match (vpn.trouble, vpn.state) {
            (Some(trouble), _) => why_no_vpn(trouble),
            (None, VpnState::Down) => Reason::VpnDown,
            (None, VpnState::Connecting) => Reason::VpnConnecting,
            (None, VpnState::Up) => Reason::None,
        },
        explanation: explain_vpn(vpn),
        counts: vpn.counts,
    }
}

/// The rung above the internet holds if every VPN that shall be up is; without any, the internet is the top.
fn above_internet(vpns: &[Vpn]) -> (Level, Reason) {
    if vpns.is_empty() {
        (Level::Internet, Reason::None)
    } else if let Some(trouble) = vpns.iter().find_map(|vpn| vpn.trouble) {
        (Level::Internet, why_no_vpn(trouble))
    } else if vpns.iter().any(|vpn| vpn.state == VpnState::Down) {
        (Level::Internet, Reason::VpnDown)
    } else if vpns.iter().any(|vpn| vpn.state == VpnState::Connecting) {
        (Level::Internet, Reason::VpnConnecting)
    } else {
        (Level::Vpn, Reason::None)
    }
}

const fn why_no_vpn(trouble: Trouble) -> Reason {
    match trouble {
        Trouble::Unreachable => Reason::VpnUnreachable,
        Trouble::Refused => Reason::VpnAuthFailed,
        Trouble::ServerCertificate | Trouble::OwnCertificate | Trouble::Handshake => Reason::VpnCertificate,
        Trouble::Silent => Reason::VpnSilent,
    }
}

/// `online` needs evidence: a check that was answered. A VPN whose other side answered is evidence too.
fn status(level: Level, reason: Reason, vpns: &[Vpn]) -> Status {
    if level >= Level::Internet {
        if reason == Reason::None {
            Status::Online
        } else {
            Status::HeartbeatOnly
        }
    } else if vpns.iter().any(|vpn| vpn.proven && vpn.state == VpnState::Up) {
        Status::VpnOnly
    } else {
        Status::Offline
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Case {
        snapshot: Snapshot,
        #[serde(default)]
        findings: Findings,
        verdict: Expected,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Expected {
        level: String,
        reason: String,
        status: String,
        explanation: String,
        interface: String,
        /// The other uplinks, each as interface, level and reason; and the problems of all, as interface, reason and
        /// subject. Left out: not compared.
        uplinks: Option<Vec<[String; 3]>>,
        problems: Option<Vec<[String; 3]>>,
    }

    impl Expected {
        /// What a verdict says, as far as the case asks for it.
        fn of(verdict: Verdict, case: &Self) -> Self {
            let uplinks = verdict.uplinks.iter().map(|uplink| {
                let texts = [&uplink.interface, uplink.level.as_str(), uplink.reason.as_str()];
                texts.map(ToOwned::to_owned)
            });
            let problems = verdict.uplinks.iter().flat_map(|uplink| {
                let of = |problem: &Problem| {
                    [&uplink.interface, &problem.reason, &problem.subject].map(Clone::clone)
                };
                uplink.problems.iter().map(of)
            });
            Self {
                level: verdict.level.as_str().to_owned(),
                reason: verdict.reason.as_str().to_owned(),
                status: verdict.status.as_str().to_owned(),
                explanation: verdict.explanation,
                interface: verdict.interface,
                uplinks: case.uplinks.as_ref().map(|_| uplinks.collect()),
                problems: case.problems.as_ref().map(|_| problems.collect()),
            }
        }
    }

    /// Every file of `tests/data/verdict` is a case: a snapshot and the verdict that it must give.
    #[test]
    fn golden_verdicts() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/verdict");
        let mut reasons = BTreeSet::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let case: Case =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let given = Expected::of(judge(&case.snapshot, &case.findings), &case.verdict);
            assert_eq!(given, case.verdict, "{}", path.display());
            reasons.insert(given.reason);
        }
        for reason in Reason::ALL {
            assert!(
                reasons.contains(reason.as_str()),
                "no case for `{}`",
                reason.as_str()
            );
        }
    }
}
