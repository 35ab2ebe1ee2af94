//! What NetworkManager knows at one instant, in our words: the input of the verdict.
//!
//! Pure data. The numbers are those of NetworkManager's D-Bus API reference (`NMDeviceType`, `NMDeviceState`, …).

use std::net::IpAddr;

#[cfg(test)]
use serde::Deserialize;

/// What could be learned.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Deserialize), serde(rename_all = "kebab-case"))]
pub(crate) enum Snapshot {
    /// NetworkManager is not on the bus.
    Absent,
    /// It is, but does not answer; with the reason.
    Unreadable(String),
    /// It answered.
    Read(Network),
}

/// The network as NetworkManager sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(
    test,
    derive(Deserialize),
    serde(default, deny_unknown_fields, rename_all = "kebab-case")
)]
pub(crate) struct Network {
    /// It is still setting up devices for the first time.
    pub(crate) startup: bool,
    /// The Wi-Fi radio is off, by software or by a switch.
    pub(crate) wifi_off: bool,
    /// The same for the modem.
    pub(crate) modem_off: bool,
    /// The connectivity check is on and has an address to ask.
    pub(crate) checked: bool,
    /// What the check asks.
    pub(crate) check_uri: String,
    /// The interface of the connection that has the default route.
    pub(crate) primary: Option<String>,
    /// Every device that may be an uplink.
    pub(crate) devices: Vec<Device>,
    /// Every VPN that is active or shall be.
    pub(crate) vpns: Vec<Vpn>,
    /// The fallback resolvers that are in use in place of the devices' own; empty: it is not in use.
    pub(crate) fallback: Vec<IpAddr>,
    /// There are resolvers that are no device's below and not the configuration's: a tunnel's, or somebody set them for all.
    pub(crate) other_resolvers: bool,
}

impl Network {
    /// The resolvers that programs ask on a device.
    pub(crate) fn resolvers<'a>(&'a self, device: &'a Device) -> &'a [IpAddr] {
        match self.fallback.as_slice() {
            [] => &device.resolvers,
            fallback => fallback,
        }
    }
}

/// A network device.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    test,
    derive(Deserialize),
    serde(deny_unknown_fields, rename_all = "kebab-case")
)]
pub(crate) struct Device {
    /// The interface's name.
    pub(crate) interface: String,
    pub(crate) kind: Kind,
    pub(crate) state: State,
    /// The last activation failed for this reason, and none has succeeded since.
    #[cfg_attr(test, serde(default))]
    pub(crate) failure: Option<Failure>,
    /// Somebody disconnected it on purpose, or it shall not be connected by itself.
    #[cfg_attr(test, serde(default))]
    pub(crate) hands_off: bool,
    /// The kernel says that there is a link.
    #[cfg_attr(test, serde(default))]
    pub(crate) carrier: bool,
    /// It is a port of this bridge or bond, which has the address in its place.
    #[cfg_attr(test, serde(default))]
    pub(crate) controller: Option<String>,
    /// It has an address that is not link-local.
    #[cfg_attr(test, serde(default))]
    pub(crate) address: bool,
    /// It has a default route.
    #[cfg_attr(test, serde(default))]
    pub(crate) gateway: bool,
    /// The gateways of its default routes, at most one a family. A point-to-point link has none.
    #[cfg_attr(test, serde(default))]
    pub(crate) gateways: Vec<IpAddr>,
    /// A resolver is configured for it, or for all.
    #[cfg_attr(test, serde(default))]
    pub(crate) resolver: bool,
    /// The addresses of these resolvers, in the order in which they are asked. While the fallback is in use, those that would
    /// be asked without it.
    #[cfg_attr(test, serde(default))]
    pub(crate) resolvers: Vec<IpAddr>,
    /// NetworkManager says, or guesses, that its traffic is paid by volume.
    #[cfg_attr(test, serde(default))]
    pub(crate) metered: bool,
    /// What the connectivity check found through it.
    #[cfg_attr(test, serde(default))]
    pub(crate) connectivity: Connectivity,
}

/// What kind of device it is, as far as that makes a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Deserialize), serde(rename_all = "kebab-case"))]
pub(crate) enum Kind {
    Ethernet,
    Wifi,
    Modem,
    /// One end of a virtual cable: a container's uplink, or the host's side of one.
    Veth,
    Bridge,
    /// Bond, VLAN, and others that stand on an uplink.
    Stacked,
}

impl Kind {
    /// From `NMDeviceType`. `None` for what is never an uplink: loopback, tunnels, dummies, WireGuard, ….
    pub(crate) const fn from_number(number: u32) -> Option<Self> {
        match number {
            // Ethernet, InfiniBand
            1 | 9 => Some(Self::Ethernet),
            2 => Some(Self::Wifi),
            // Bluetooth, modem, ADSL, PPP
            5 | 8 | 12 | 23 => Some(Self::Modem),
            13 => Some(Self::Bridge),
            // bond, VLAN, team, MACVLAN
            10 | 11 | 15 | 18 => Some(Self::Stacked),
            20 => Some(Self::Veth),
            _ => None,
        }
    }
}

/// How far the device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Deserialize), serde(rename_all = "kebab-case"))]
pub(crate) enum State {
    Unmanaged,
    /// Managed, but not usable: no carrier, radio off, firmware missing.
    Unavailable,
    /// Usable, and no profile is active.
    Inactive,
    /// Preparing or, on a radio, associating.
    Linking,
    /// Waiting for a key that nobody gives.
    NeedAuth,
    /// Linked, and getting its addresses.
    Configuring,
    Activated,
}

impl State {
    /// From `NMDeviceState`.
    pub(crate) const fn from_number(number: u32) -> Self {
        match number {
            0..=10 => Self::Unmanaged,
            11..=20 => Self::Unavailable,
            40..=50 => Self::Linking,
            60 => Self::NeedAuth,
            70..=90 => Self::Configuring,
            100 => Self::Activated,
            // disconnected, deactivating, failed
            _ => Self::Inactive,
        }
    }
}

/// Why an activation failed, as far as that makes a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Deserialize), serde(rename_all = "kebab-case"))]
pub(crate) enum Failure {
    /// The key or the credentials were refused or missing.
    Auth,
    /// No address was given.
    NoLease,
    /// Another machine has the address.
    Duplicate,
    /// The Wi-Fi network was not found.
    NotFound,
    /// The modem has no SIM that works.
    NoSim,
    /// The SIM wants its PIN or PUK, and has not got the right one.
    SimLocked,
    /// No mobile network was found, or none takes the SIM.
    NotRegistered,
    /// The mobile network, or the other end of the line, gave no data connection.
    NoBearer,
}

impl Failure {
    /// From `NMDeviceStateReason`.
    pub(crate) const fn from_number(number: u32) -> Option<Self> {
        match number {
            // ip-config-unavailable, ip-config-expired, dhcp-start-failed, dhcp-error, dhcp-failed
            5 | 6 | 15..=17 => Some(Self::NoLease),
            // no-secrets, supplicant-disconnect, supplicant-config-failed, supplicant-failed
            7..=10 => Some(Self::Auth),
            // supplicant-timeout, ssid-not-found
            11 | 53 => Some(Self::NotFound),
            // gsm-sim-not-inserted, gsm-sim-wrong
            45 | 48 => Some(Self::NoSim),
            // gsm-pin-check-failed, gsm-sim-pin-required, gsm-sim-puk-required, sim-pin-incorrect
            34 | 46 | 47 | 59 => Some(Self::SimLocked),
            // gsm-registration-not-searching, -denied, -timeout, -failed
            30..=33 => Some(Self::NotRegistered),
            // ppp-start-failed, ppp-disconnect, ppp-failed; modem-busy, modem-no-dial-tone, modem-no-carrier,
            // modem-dial-timeout, modem-dial-failed, modem-init-failed, gsm-apn-failed; modem-failed
            12..=14 | 23..=29 | 57 => Some(Self::NoBearer),
            // ip-address-duplicate
            64 => Some(Self::Duplicate),
            _ => None,
        }
    }
}

/// What the connectivity check found; a later one is better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(test, derive(Deserialize), serde(rename_all = "kebab-case"))]
pub(crate) enum Connectivity {
    /// There is no result yet.
    #[default]
    Unknown,
    Limited,
    Portal,
    Full,
}

impl Connectivity {
    /// From `NMConnectivityState` of a device with a default route.
    ///
    /// NetworkManager 1.52 sets *none* when an activation begins and leaves it so until the first check has ended; a
    /// check that fails gives *limited*.
    pub(crate) const fn from_number(number: u32) -> Self {
        match number {
            2 => Self::Portal,
            3 => Self::Limited,
            4 => Self::Full,
            _ => Self::Unknown,
        }
    }
}

/// A VPN.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    test,
    derive(Deserialize),
    serde(deny_unknown_fields, rename_all = "kebab-case")
)]
pub(crate) struct Vpn {
    /// The profile's name.
    pub(crate) name: String,
    pub(crate) state: VpnState,
    /// Why it is not up, if that is known.
    #[cfg_attr(test, serde(default))]
    pub(crate) trouble: Option<Trouble>,
    /// Whether *up* means that the other side answered. WireGuard is up as soon as its interface is.
    #[cfg_attr(test, serde(default))]
    pub(crate) proven: bool,
    #[cfg_attr(test, serde(skip))]
    pub(crate) counts: Counts,
}

/// What went through a VPN, as it was told last. What is not known is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Bytes that came in since the tunnel is there.
    pub(crate) received: u64,
    /// Bytes that went out.
    pub(crate) sent: u64,
    /// When a peer of WireGuard's was heard last, seconds since 1970.
    pub(crate) handshake: u64,
}

/// Why a VPN is not up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Deserialize), serde(rename_all = "kebab-case"))]
pub(crate) enum Trouble {
    /// The server does not answer.
    Unreachable,
    /// The server refuses name and password.
    Refused,
    /// The server's certificate is not accepted.
    ServerCertificate,
    /// The server does not accept the device's certificate.
    OwnCertificate,
    /// The server answers and breaks off, and nobody says why: mostly over a certificate.
    Handshake,
    /// It was up, and nothing comes in any more.
    Silent,
}

/// How far a VPN is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(Deserialize), serde(rename_all = "kebab-case"))]
pub(crate) enum VpnState {
    Down,
    Connecting,
    Up,
}

impl VpnState {
    /// Its published name.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Connecting => "connecting",
            Self::Up => "up",
        }
    }

    /// From `NMActiveConnectionState`.
    pub(crate) const fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Connecting,
            2 => Self::Up,
            _ => Self::Down,
        }
    }
}
