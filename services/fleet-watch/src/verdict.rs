//! From a snapshot to the verdict. Pure: the same snapshot always gives the same verdict.

use crate::explanation::explain;
use crate::ladder::{Level, Reason, Status};
use crate::snapshot::{
    Connectivity, Device, Failure, Kind, Network, Snapshot, State, Trouble, Vpn, VpnState,
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
}

/// Judges a snapshot.
pub(crate) fn judge(snapshot: &Snapshot) -> Verdict {
    let (level, reason, uplink, vpns): (_, _, Option<&Device>, &[Vpn]) = match snapshot {
        Snapshot::Absent | Snapshot::Unreadable(_) => (Level::None, Reason::NetworkManagerDown, None, &[]),
        Snapshot::Read(network) => match best_uplink(network) {
            Some((device, level)) => {
                let (level, reason) = climb(network, device, level);
                (level, reason, Some(device), network.vpns.as_slice())
            }
            None => (Level::None, Reason::NoDevice, None, network.vpns.as_slice()),
        },
    };
    let reason = match snapshot {
        Snapshot::Read(network) if network.startup => while_starting(reason),
        _ => reason,
    };
    Verdict {
        level,
        reason,
        status: status(level, reason, vpns),
        explanation: explain(level, reason, uplink, snapshot),
        interface: uplink.map_or_else(String::new, |device| device.interface.clone()),
    }
}

/// Before NetworkManager has tried every device, what is not there yet is not missing.
const fn while_starting(reason: Reason) -> Reason {
    match reason {
        Reason::NoDevice | Reason::Unmanaged | Reason::NoCarrier | Reason::Inactive => Reason::Connecting,
        other => other,
    }
}

/// The uplink that has the default route, else the one on the highest rung (the first of equals), and its rung.
fn best_uplink(network: &Network) -> Option<(&Device, Level)> {
    let mut best: Option<(&Device, Level)> = None;
    for device in network.devices.iter().filter(|device| is_uplink(network, device)) {
        let level = configured_level(device);
        if network.primary.as_ref() == Some(&device.interface) {
            return Some((device, level));
        }
        if best.is_none_or(|(_, highest)| level > highest) {
            best = Some((device, level));
        }
    }
    best
}

/// Whether the device leads out of this machine by itself.
fn is_uplink(network: &Network, device: &Device) -> bool {
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
fn configured_level(device: &Device) -> Level {
    if !has_link(device) {
        Level::None
    } else if !device.address {
        Level::Carrier
    } else if !device.gateway {
        Level::Address
    } else if !device.resolver {
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

/// From the configured rung of the best uplink to the rung that holds, and why the next does not.
fn climb(network: &Network, device: &Device, configured: Level) -> (Level, Reason) {
    match configured {
        Level::None => (configured, why_no_link(network, device)),
        Level::Carrier => (configured, why_no_address(device)),
        Level::Address => (configured, unless_connecting(device, Reason::NoGateway)),
        Level::Gateway => (configured, unless_connecting(device, Reason::NoResolver)),
        Level::Dns | Level::Internet | Level::Vpn => match why_no_internet(network, device) {
            Reason::None => above_internet(&network.vpns),
            reason => (Level::Dns, reason),
        },
    }
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
        (State::NeedAuth, _) | (_, Some(Failure::Auth)) => Reason::NeedAuth,
        _ if device.kind != Kind::Wifi && device.kind != Kind::Modem => Reason::NoCarrier,
        (_, Some(Failure::NotFound)) => Reason::NetworkNotFound,
        (_, Some(Failure::NoLease)) => Reason::NoLease,
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
            let verdict = judge(&case.snapshot);
            let given = Expected {
                level: verdict.level.as_str().to_owned(),
                reason: verdict.reason.as_str().to_owned(),
                status: verdict.status.as_str().to_owned(),
                explanation: verdict.explanation,
                interface: verdict.interface,
            };
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
