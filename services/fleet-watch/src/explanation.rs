//! The verdict as a sentence: what is the case, and what to do about it.
//!
//! No time in it, and no address but those that are configured, so that it changes only when the verdict does.

use std::net::IpAddr;

use crate::ladder::{Level, Reason};
use crate::snapshot::{Device, Kind, Snapshot, Trouble, Vpn, VpnState};

/// The sentence for a level and reason.
pub(crate) fn explain(level: Level, reason: Reason, uplink: Option<&Device>, snapshot: &Snapshot) -> String {
    let on = uplink.map_or("the network", |device| device.interface.as_str());
    let vpns = match snapshot {
        Snapshot::Read(network) => network.vpns.as_slice(),
        Snapshot::Absent | Snapshot::Unreadable(_) => &[],
    };
    match reason {
        Reason::None if level == Level::Vpn => {
            format!(
                "the internet is reached through {on}, and the VPN {} is up",
                names(vpns, VpnState::Up)
            )
        }
        Reason::None => format!("the internet is reached through {on}"),
        Reason::NetworkManagerDown => {
            let what = match snapshot {
                Snapshot::Unreadable(why) => format!("NetworkManager does not answer ({why})"),
                Snapshot::Absent | Snapshot::Read(_) => "NetworkManager does not run".to_owned(),
            };
            format!("{what}: the kernel's network may still work, but nobody looks after it; see its unit")
        }
        Reason::NoDevice => {
            "no Ethernet, Wi-Fi or modem device: check the hardware and its driver".to_owned()
        }
        Reason::Unmanaged => {
            format!("{on} is left alone by NetworkManager: check its unmanaged-devices setting")
        }
        Reason::RadioOff => format!("the radio of {on} is off: switch it on (rfkill)"),
        Reason::NoCarrier => match uplink.map(|device| device.kind) {
            Some(Kind::Wifi) => format!("{on} cannot be used: check its firmware, driver and the supplicant"),
            Some(Kind::Modem) => {
                format!("{on} cannot be used: check its SIM and firmware, and see ModemManager's journal")
            }
            _ => format!("{on} has no carrier: check the cable and the other end's port"),
        },
        Reason::Inactive => format!("no connection is active on {on}: check that there is a profile for it"),
        Reason::Connecting => match uplink {
            Some(_) => format!("{on} is being connected"),
            None => "NetworkManager is setting up the devices".to_owned(),
        },
        Reason::NeedAuth => format!("{on} is refused by the network: check the key or the credentials"),
        Reason::NetworkNotFound => {
            format!("the network for {on} is not found: check its name and the distance")
        }
        Reason::NoSim => format!(
            "the modem {on} has no SIM that works: check that it is inserted, and the right way round"
        ),
        Reason::SimLocked => format!(
            "the SIM of {on} wants its PIN: set gsm.pin in its profile. If it was wrong, set the right one; three wrong ones \
             lock the SIM"
        ),
        Reason::NotRegistered => format!(
            "no mobile network takes {on}: check antenna and coverage, the contract of the SIM, and whether it may roam"
        ),
        Reason::NoBearer => format!(
            "the mobile network gives {on} no data connection: check the access point (gsm.apn), its credentials, and the \
             contract of the SIM"
        ),
        Reason::NoLease => format!("{on} gets no address: check the DHCP server or set a static address"),
        Reason::DuplicateAddress => format!(
            "another machine on the link of {on} has its address: give one of the two another address, or use DHCP"
        ),
        Reason::NoAddress => format!("{on} is connected without an address: check its profile"),
        Reason::NoGateway => {
            format!("{on} has an address but no default route: check the gateway in the lease or the profile")
        }
        Reason::GatewaySilent => format!(
            "the gateway {} does not answer on the link of {on}: check that it runs, and the switch or access point \
             between",
            addresses(uplink.map(|device| device.gateways.as_slice()))
        ),
        Reason::NoResolver => format!("{on} has a default route but no resolver: check the DNS servers"),
        Reason::ResolverSilent => format!(
            "no DNS server of {on} answers ({}): check them, and whether UDP port 53 is let through",
            asked(uplink, snapshot)
        ),
        Reason::ResolverFailing => format!(
            "the DNS servers of {on} answer with errors ({}): check what they forward to, or set others (dnsServers)",
            asked(uplink, snapshot)
        ),
        Reason::ResolverLying => format!(
            "a DNS server of {on} gives false answers (see its problems): set other servers (dnsServers), or log in to \
             the network"
        ),
        Reason::NotChecked => {
            format!(
                "{on} is configured; whether the internet is reached is not known: the connectivity check is off"
            )
        }
        Reason::Checking => format!("{on} is configured; the connectivity check has no result yet"),
        Reason::Portal => {
            format!("a captive portal answers on {on} in place of the internet: log in there once")
        }
        Reason::NoInternet => {
            format!(
                "the connectivity check through {on} is not answered: check its gateway and DNS server, and what is beyond"
            )
        }
        Reason::NameUnknown => format!(
            "the DNS servers of {on} say that the connectivity check's host does not exist: check \
             os.network.connectivity.uri, and the servers"
        ),
        Reason::Unreachable => format!(
            "there is no way from {on} to the connectivity check's server: the gateway, or what is beyond, has no route"
        ),
        Reason::CheckRefused => format!(
            "the connectivity check's server refuses the connection through {on}: check that it runs, or a firewall"
        ),
        Reason::CheckTimeout => format!(
            "the connectivity check's server does not answer through {on}: check what is beyond the gateway, or a \
             firewall"
        ),
        Reason::CheckReset => format!(
            "the connection to the connectivity check's server is broken off through {on}: a firewall, or the server"
        ),
        Reason::ClockWrong => format!(
            "the clock is wrong, so that no certificate is valid: check the time servers (ntpServers), which {on} may not \
             reach"
        ),
        Reason::TlsIntercepted => format!(
            "what answers the connectivity check through {on} shows a certificate that is not its server's: something on the \
             way opens TLS. Have the host let through there, or trust its authority (balenaRootCA)"
        ),
        Reason::ServerFault => format!(
            "the connectivity check's server, reached through {on}, has a fault of its own (HTTP 5xx, or a certificate that \
             has expired): look there; the device's network works"
        ),
        Reason::VpnConnecting => {
            format!(
                "the internet is reached through {on}, the VPN {} is being brought up",
                names(vpns, VpnState::Connecting)
            )
        }
        Reason::VpnDown => {
            format!(
                "the internet is reached through {on}, the VPN {} is down",
                names(vpns, VpnState::Down)
            )
        }
        Reason::VpnUnreachable | Reason::VpnAuthFailed | Reason::VpnCertificate | Reason::VpnSilent => {
            let vpn = vpns
                .iter()
                .find_map(|vpn| Some((vpn.name.as_str(), vpn.trouble?)));
            let (name, what) = vpn.map_or(("", ""), |(name, trouble)| (name, what_to_do(trouble)));
            format!("the internet is reached through {on}, and the VPN {name} is down: {what}")
        }
    }
}

/// The sentence for one VPN.
pub(crate) fn explain_vpn(vpn: &Vpn) -> String {
    let name = &vpn.name;
    match (vpn.trouble, vpn.state) {
        (Some(trouble), _) => format!("the VPN {name} is down: {}", what_to_do(trouble)),
        (None, VpnState::Down) => {
            format!("the VPN {name} is down: see its unit's or NetworkManager's journal")
        }
        (None, VpnState::Connecting) => format!("the VPN {name} is being brought up"),
        (None, VpnState::Up) => format!("the VPN {name} is up"),
    }
}

/// What is wrong with a VPN, and what to look at.
const fn what_to_do(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Unreachable => {
            "its server does not answer; check its name, address and port, whether it runs, and what filters on the way"
        }
        Trouble::Refused => {
            "its server refuses name and password; check os.vpn.openvpn.username and .password, and the account"
        }
        Trouble::ServerCertificate => {
            "the server's certificate is not accepted; check that it is valid and for servers, the authority in <ca>, and the \
             device's clock"
        }
        Trouble::OwnCertificate => {
            "the server does not accept the device's certificate; check whether it expired or was revoked, and renew <cert> \
             and <key>"
        }
        Trouble::Handshake => {
            "the server answers and then breaks off; see its log, and check the certificates and the keys of both sides"
        }
        Trouble::Silent => {
            "it was up, and nothing comes in any more; check the server, and what filters on the way"
        }
    }
}

/// The sentence for something that is at fault.
pub(crate) fn explain_problem(reason: Reason, subject: &IpAddr, on: &str) -> String {
    match reason {
        Reason::GatewaySilent => format!("the gateway {subject} does not answer on the link of {on}"),
        Reason::ResolverSilent => format!("the DNS server {subject} does not answer through {on}"),
        Reason::ResolverFailing => format!("the DNS server {subject} answers with errors through {on}"),
        Reason::ResolverLying => format!("the DNS server {subject} gives false answers on {on}"),
        other => format!("{subject} on {on}: {}", other.as_str()),
    }
}

/// The sentence for a data budget that is used up.
pub(crate) fn explain_spent(on: &str) -> String {
    format!(
        "the data budget of this month for probes on metered uplinks is used up (os.network.probe.monthlyBudget): on \
         {on} only NetworkManager's own signals are followed"
    )
}

/// The sentence for the fallback that is in use.
pub(crate) fn explain_fallback(fallback: &[IpAddr]) -> String {
    format!(
        "no configured DNS server answers: until one does, the fallback is used in their place ({})",
        addresses(Some(fallback))
    )
}

/// The resolvers of an uplink, and those of the fallback if that is in use.
fn asked(uplink: Option<&Device>, snapshot: &Snapshot) -> String {
    let own = addresses(uplink.map(|device| device.resolvers.as_slice()));
    match snapshot {
        Snapshot::Read(network) if !network.fallback.is_empty() => {
            format!("{own}, and the fallback {}", addresses(Some(&network.fallback)))
        }
        _ => own,
    }
}

/// Addresses, as a list.
fn addresses(all: Option<&[IpAddr]>) -> String {
    let texts: Vec<String> = all.unwrap_or_default().iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// The names of the VPNs in a state.
fn names(vpns: &[Vpn], state: VpnState) -> String {
    let names: Vec<&str> = vpns
        .iter()
        .filter(|vpn| vpn.state == state)
        .map(|vpn| vpn.name.as_str())
        .collect();
    names.join(", ")
}
