//! The verdict as a sentence: what is the case, and what to do about it.
//!
//! No address and no time in it, so that it changes only when the verdict does.

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
            Some(Kind::Modem) => format!("{on} has no link: check SIM, antenna and coverage"),
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
        Reason::NoLease => format!("{on} gets no address: check the DHCP server or set a static address"),
        Reason::NoAddress => format!("{on} is connected without an address: check its profile"),
        Reason::NoGateway => {
            format!("{on} has an address but no default route: check the gateway in the lease or the profile")
        }
        Reason::NoResolver => format!("{on} has a default route but no resolver: check the DNS servers"),
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

/// The names of the VPNs in a state.
fn names(vpns: &[Vpn], state: VpnState) -> String {
    let names: Vec<&str> = vpns
        .iter()
        .filter(|vpn| vpn.state == state)
        .map(|vpn| vpn.name.as_str())
        .collect();
    names.join(", ")
}
