//! Reads a snapshot from NetworkManager over D-Bus.
//!
//! The bus is asked who NetworkManager is first, and that one is addressed: nothing here ever starts it.

use std::net::IpAddr;
use std::path::Path;

use fleet_base::bus::{name_owner, sentence};
use fleet_base::dns_fallback;
use fleet_base::paths::RUN_NETWORK_MANAGER_CONFIG;
use fleet_base::peer::{Peer, Properties};
use fleet_base::proxy::network_manager::{NAME, PATH, SETTINGS_PATH};
use zbus::Connection;

use crate::modem_manager;
use crate::probe;
use crate::signals::Signals;
use crate::snapshot::{Connectivity, Counts, Device, Failure, Kind, Network, Snapshot, State, Vpn, VpnState};

const DNS_MANAGER: &str = "/org/freedesktop/NetworkManager/DnsManager";

/// As they are in the names of properties and interfaces.
const FAMILIES: [&str; 2] = ["4", "6"];

/// `NMMetered`.
const METERED_YES: u32 = 1;
const METERED_GUESS_YES: u32 = 3;
/// `NMDeviceInterfaceFlags`: carrier.
const FLAG_CARRIER: u32 = 0x1_0000;

/// `NMDeviceType`.
const TYPE_PPP: u32 = 23;

/// `NMDeviceStateReason`: somebody ended the connection.
const STATE_REASON_USER_REQUESTED: u32 = 39;

/// A VPN profile that shall be up whenever there is a network.
#[derive(Clone, Debug)]
struct VpnProfile {
    uuid: String,
    name: String,
}

/// Reads snapshots, and keeps what changes rarely.
#[derive(Debug)]
pub(crate) struct Reader {
    connection: Connection,
    /// Read again only after a profile changed.
    vpn_profiles: Option<Vec<VpnProfile>>,
}

/// An active connection.
struct Active {
    path: String,
    uuid: String,
    name: String,
    kind: String,
    state: u32,
    controller: Option<String>,
    /// The paths of its addresses, an object a family.
    configs: Vec<(&'static str, String)>,
}

impl Active {
    fn is_vpn(&self) -> bool {
        is_vpn(&self.kind)
    }
}

/// The connection types that are VPNs (`connection.type`, nm-settings(5)).
fn is_vpn(kind: &str) -> bool {
    matches!(kind, "vpn" | "wireguard")
}

impl Reader {
    pub(crate) const fn new(connection: Connection) -> Self {
        Self {
            connection,
            vpn_profiles: None,
        }
    }

    /// Reads what NetworkManager knows now.
    ///
    /// While the fallback is `in_use` NetworkManager names that, and the devices' own resolvers are read from the devices.
    pub(crate) async fn read(&mut self, signals: &Signals, in_use: bool) -> Snapshot {
        let owner = match name_owner(&self.connection, NAME).await {
            Ok(Some(owner)) => owner,
            Ok(None) => return Snapshot::Absent,
            Err(error) => return Snapshot::Unreadable(sentence(&error)),
        };
        let connection = self.connection.clone();
        let peer = Peer::new(&connection, owner.as_str());
        match self.read_from(&peer, signals, in_use).await {
            Ok(network) => Snapshot::Read(network),
            // It may have left in the middle; then this is its absence and no fault of its own.
            Err(error) => match name_owner(&connection, NAME).await {
                Ok(Some(now)) if now == owner => Snapshot::Unreadable(sentence(&error)),
                // A new one announces itself by a signal, and is read then.
                _ => Snapshot::Absent,
            },
        }
    }

    async fn read_from(&mut self, peer: &Peer, signals: &Signals, in_use: bool) -> zbus::Result<Network> {
        let mut manager = peer.properties(PATH, NAME).await?;
        let active = read_active(peer, &manager.paths("ActiveConnections")).await?;
        let configured = dns_fallback::resolvers(Path::new(RUN_NETWORK_MANAGER_CONFIG));
        let resolvers = Resolvers::read(peer).await?;
        let primary = manager.path("PrimaryConnection");
        let paths = manager.paths("Devices");
        signals.retain_devices(&paths);

        let mut devices = Vec::new();
        let mut primary_interface = None;
        let mut interfaces = Vec::new();
        let mut controllers = Vec::new();
        for path in paths {
            let Some(mut device) = unless_gone(peer.properties(&path, &of("Device")).await)? else {
                continue;
            };
            let interface = interface_of(&device);
            interfaces.push((path.clone(), interface.clone()));
            let number = device.number("DeviceType");
            let Some(kind) = Kind::from_number(number) else {
                continue;
            };
            let connection = device.path("ActiveConnection");
            if number == TYPE_PPP && connection.is_none() {
                // The line of a modem's call, before the modem has its addresses.
                continue;
            }
            let active = active
                .iter()
                .find(|active| Some(&active.path) == connection.as_ref());
            if connection.is_some() && connection == primary {
                primary_interface = Some(interface.clone());
            }
            controllers.push(active.and_then(|active| active.controller.clone()));
            let state_reason: (u32, u32) = device.take("StateReason").unwrap_or_default();
            let modem = device.text("Udi").to_owned();
            let mut device = read_device(peer, &device, kind, interface).await?;
            device.hands_off |=
                device.state == State::Inactive && state_reason.1 == STATE_REASON_USER_REQUESTED;
            if !in_use {
                device.resolver = resolvers.serve(&device.interface);
                device.resolvers = resolvers.of(&device.interface);
            } else if !configured.is_empty() {
                device.resolver = true;
                device.resolvers.clone_from(&configured);
            }
            device.failure = signals.failure(&path);
            if kind == Kind::Modem {
                device.failure = match device.failure {
                    None if device.state == State::Unavailable => {
                        let lacks_sim = modem_manager::lacks_sim(&self.connection, &modem).await;
                        lacks_sim.then_some(Failure::NoSim)
                    }
                    // There is nobody else on its link.
                    Some(Failure::Duplicate) => Some(Failure::NoLease),
                    other => other,
                };
            }
            devices.push(device);
        }
        for (device, controller) in devices.iter_mut().zip(controllers) {
            device.controller = controller.and_then(|path| {
                let found = interfaces.iter().find(|(listed, _)| *listed == path)?;
                Some(found.1.clone())
            });
        }
        keep_first(&mut devices);
        let other_resolvers = if in_use {
            have_resolvers(peer, &active).await?
        } else {
            resolvers.others(&configured, &devices)
        };
        Ok(Network {
            startup: manager.flag("Startup"),
            wifi_off: !(manager.flag("WirelessEnabled") && manager.flag("WirelessHardwareEnabled")),
            modem_off: !(manager.flag("WwanEnabled") && manager.flag("WwanHardwareEnabled")),
            checked: manager.flag("ConnectivityCheckEnabled") && manager.flag("ConnectivityCheckAvailable"),
            check_uri: manager.text("ConnectivityCheckUri").to_owned(),
            primary: primary_interface,
            devices,
            vpns: self.vpns(peer, signals, &active).await?,
            fallback: Vec::new(),
            other_resolvers,
        })
    }

    /// The VPNs that are active, and those that shall be and are not.
    async fn vpns(&mut self, peer: &Peer, signals: &Signals, active: &[Active]) -> zbus::Result<Vec<Vpn>> {
        if signals.take_profiles_changed() {
            self.vpn_profiles = None;
        }
        let profiles = match &mut self.vpn_profiles {
            Some(profiles) => profiles,
            unknown => unknown.insert(read_vpn_profiles(peer).await?),
        };
        let mut vpns: Vec<Vpn> = (active.iter().filter(|active| active.is_vpn()))
            .map(|active| Vpn {
                name: active.name.clone(),
                state: VpnState::from_number(active.state),
                trouble: None,
                proven: active.kind == "vpn",
                counts: Counts::default(),
            })
            .collect();
        for profile in profiles {
            if !active.iter().any(|active| active.uuid == profile.uuid) {
                vpns.push(Vpn {
                    name: profile.name.clone(),
                    state: VpnState::Down,
                    trouble: None,
                    proven: false,
                    counts: Counts::default(),
                });
            }
        }
        Ok(vpns)
    }
}

/// Makes NetworkManager check its connectivity now; returns when the check has an outcome.
///
/// # Errors
/// It does not run (`Ok(false)`), refuses, or does not answer in time.
pub(crate) async fn check_connectivity(connection: &Connection) -> zbus::Result<bool> {
    let Some(owner) = name_owner(connection, NAME).await? else {
        return Ok(false);
    };
    Peer::new(connection, owner.as_str())
        .call(PATH, NAME, "CheckConnectivity", vec![])
        .await?;
    Ok(true)
}

/// Of devices with one interface the first: the modem, and not the line of its call, which comes up later.
fn keep_first(devices: &mut Vec<Device>) {
    let mut seen: Vec<String> = Vec::new();
    devices.retain(|device| {
        let is_first = !seen.contains(&device.interface);
        if is_first {
            seen.push(device.interface.clone());
        }
        is_first
    });
}

/// An interface of NetworkManager's.
fn of(interface: &str) -> String {
    format!("{NAME}.{interface}")
}

/// An object that went away between its listing and its reading is not there; a signal about that is on its way.
fn unless_gone(read: zbus::Result<Properties>) -> zbus::Result<Option<Properties>> {
    use zbus::fdo::Error::{UnknownInterface, UnknownMethod, UnknownObject};

    match read {
        Ok(properties) => Ok(Some(properties)),
        Err(zbus::Error::FDO(error))
            if matches!(*error, UnknownMethod(_) | UnknownObject(_) | UnknownInterface(_)) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The interface that has the addresses: a modem's data interface, once it has one.
fn interface_of(device: &Properties) -> String {
    match device.text("IpInterface") {
        "" => device.text("Interface"),
        ip => ip,
    }
    .to_owned()
}

async fn read_active(peer: &Peer, paths: &[String]) -> zbus::Result<Vec<Active>> {
    let mut all = Vec::new();
    for path in paths {
        let Some(active) = unless_gone(peer.properties(path, &of("Connection.Active")).await)? else {
            continue;
        };
        all.push(Active {
            path: path.clone(),
            uuid: active.text("Uuid").to_owned(),
            name: active.text("Id").to_owned(),
            kind: active.text("Type").to_owned(),
            configs: FAMILIES
                .into_iter()
                .filter_map(|family| Some((family, active.path(&format!("Ip{family}Config"))?)))
                .collect(),
            state: active.number("State"),
            // `Controller` since 1.44; before that `Master`, which newer releases may drop.
            controller: active.path("Controller").or_else(|| active.path("Master")),
        });
    }
    Ok(all)
}

/// Whether a VPN that is up has resolvers. They are not used while there are some for all names.
async fn have_resolvers(peer: &Peer, active: &[Active]) -> zbus::Result<bool> {
    let up = |active: &&Active| active.is_vpn() && VpnState::from_number(active.state) == VpnState::Up;
    for (family, path) in active.iter().filter(up).flat_map(|active| &active.configs) {
        let config = peer.properties(path, &of(&format!("IP{family}Config"))).await;
        if let Some(mut config) = unless_gone(config)?
            && !own_resolvers(&mut config).is_empty()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Everything but the failure, which is no property. The resolvers are the device's own.
async fn read_device(
    peer: &Peer,
    device: &Properties,
    kind: Kind,
    interface: String,
) -> zbus::Result<Device> {
    let mut address = false;
    // What the check found over each family that has a gateway; the other one has nothing to say.
    let mut through_gateway = Vec::new();
    let mut through_any = Vec::new();
    let mut gateways = Vec::new();
    let mut resolvers = Vec::new();
    for family in FAMILIES {
        let found = Connectivity::from_number(device.number(&format!("Ip{family}Connectivity")));
        through_any.push(found);
        let Some(path) = device.path(&format!("Ip{family}Config")) else {
            continue;
        };
        let config = peer.properties(&path, &of(&format!("IP{family}Config"))).await;
        let Some(mut config) = unless_gone(config)? else {
            continue;
        };
        resolvers.extend(own_resolvers(&mut config));
        address |= (config.rows("AddressData").iter()).any(|row| !is_link_local(row.text("address")));
        // A point-to-point link has a default route without a gateway. That the connection is the default one says nothing:
        // it stays that when a new lease has no gateway any more (NetworkManager 1.52).
        if (config.rows("RouteData").iter())
            .any(|route| is_default(route.text("dest"), route.number("prefix")))
        {
            through_gateway.push(found);
            gateways.extend(config.text("Gateway").parse::<IpAddr>());
        }
    }
    let gateway = !through_gateway.is_empty();
    if kind == Kind::Modem && !probe::has_neighbours(&interface) {
        // NetworkManager names the other end of the line.
        gateways.clear();
    }
    let found = if through_gateway.is_empty() {
        through_any
    } else {
        through_gateway
    };
    Ok(Device {
        interface,
        kind,
        state: State::from_number(device.number("State")),
        failure: None,
        hands_off: !device.flag_or("Autoconnect", true),
        carrier: device.number("InterfaceFlags") & FLAG_CARRIER != 0,
        controller: None,
        address,
        gateway,
        gateways,
        resolver: !resolvers.is_empty(),
        resolvers,
        metered: matches!(device.number("Metered"), METERED_YES | METERED_GUESS_YES),
        connectivity: found.into_iter().max().unwrap_or_default(),
    })
}

/// What leases, routers and the profile name, of one family: `IP4Config` has it as texts, `IP6Config` as bytes.
fn own_resolvers(config: &mut Properties) -> Vec<IpAddr> {
    let rows = config.rows("NameserverData");
    let mut own: Vec<IpAddr> = (rows.iter())
        .flat_map(|row| row.text("address").parse())
        .collect();
    let bytes: Vec<Vec<u8>> = config.take("Nameservers").unwrap_or_default();
    own.extend((bytes.into_iter()).flat_map(|bytes| <[u8; 16]>::try_from(bytes).map(IpAddr::from)));
    own
}

/// Whether a route is a default route.
fn is_default(destination: &str, prefix: u32) -> bool {
    prefix == 0 && matches!(destination, "0.0.0.0" | "::")
}

/// Whether an address reaches no further than the link: 169.254.0.0/16 (RFC 3927), fe80::/10 (RFC 4291).
fn is_link_local(address: &str) -> bool {
    match address.parse() {
        Ok(std::net::IpAddr::V4(address)) => address.is_link_local(),
        Ok(std::net::IpAddr::V6(address)) => address.is_unicast_link_local(),
        Err(_) => true,
    }
}

/// The resolvers that NetworkManager has configured.
struct Resolvers {
    /// NetworkManager leaves DNS to somebody else (`dns=none`), so it knows of none.
    elsewhere: bool,
    /// The interfaces they are for (`None` is for all), and their addresses.
    entries: Vec<(Option<String>, Vec<IpAddr>)>,
}

impl Resolvers {
    async fn read(peer: &Peer) -> zbus::Result<Self> {
        let mut dns = peer.properties(DNS_MANAGER, &of("DnsManager")).await?;
        let mut entries = Vec::new();
        for mut entry in dns.rows("Configuration") {
            let servers = entry.texts("nameservers");
            if !servers.is_empty() {
                let interface = entry.text("interface");
                let interface = (!interface.is_empty()).then(|| interface.to_owned());
                // One over TLS is a URI, and is not asked by us.
                entries.push((
                    interface,
                    servers.iter().flat_map(|server| server.parse()).collect(),
                ));
            }
        }
        Ok(Self::new(dns.text("Mode") == "none", entries))
    }

    /// Those for all replace those of an interface, which NetworkManager 1.52 lists all the same.
    fn new(elsewhere: bool, mut entries: Vec<(Option<String>, Vec<IpAddr>)>) -> Self {
        if entries.iter().any(|(interface, _)| interface.is_none()) {
            entries.retain(|(interface, _)| interface.is_none());
        }
        Self { elsewhere, entries }
    }

    fn serve(&self, interface: &str) -> bool {
        self.elsewhere || self.entries_of(interface).next().is_some()
    }

    /// The addresses for an interface, each once.
    fn of(&self, interface: &str) -> Vec<IpAddr> {
        let mut all = Vec::new();
        for address in self.entries_of(interface).flatten() {
            if !all.contains(address) {
                all.push(*address);
            }
        }
        all
    }

    /// Whether there are some that are neither those that are configured for all nor a device's: a tunnel's, or set by
    /// somebody else.
    fn others(&self, configured: &[IpAddr], devices: &[Device]) -> bool {
        self.entries.iter().any(|(of, addresses)| match of {
            None => addresses != configured,
            Some(of) => devices.iter().all(|device| device.interface != *of),
        })
    }

    fn entries_of(&self, interface: &str) -> impl Iterator<Item = &Vec<IpAddr>> {
        let serves = move |of: &Option<String>| of.as_deref().is_none_or(|of| of == interface);
        (self.entries.iter()).filter_map(move |(of, addresses)| serves(of).then_some(addresses))
    }
}

/// The VPN profiles that are activated by themselves.
async fn read_vpn_profiles(peer: &Peer) -> zbus::Result<Vec<VpnProfile>> {
    let mut profiles = Vec::new();
    for path in peer
        .properties(SETTINGS_PATH, &of("Settings"))
        .await?
        .paths("Connections")
    {
        // Secrets are not among the settings that this method returns.
        let sections = peer
            .call(&path, &of("Settings.Connection"), "GetSettings", vec![])
            .await;
        let mut sections: Properties = match sections.and_then(|mut values| values.take()) {
            Ok(sections) => sections,
            Err(error) => {
                log::debug!("cannot read the profile {path}: {error}");
                continue;
            }
        };
        let connection = sections.take::<Properties>("connection").unwrap_or_default();
        // A default is left out on the bus, and the default is yes.
        if is_vpn(connection.text("type")) && connection.flag_or("autoconnect", true) {
            profiles.push(VpnProfile {
                uuid: connection.text("uuid").to_owned(),
                name: connection.text("id").to_owned(),
            });
        }
    }
    Ok(profiles)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_addresses() {
        for yes in ["169.254.0.1", "fe80::1", "febf::1", "", "x"] {
            assert!(is_link_local(yes), "{yes:?}");
        }
        for no in ["10.0.0.1", "192.0.2.7", "2001:db8::1", "fd00::1", "fec0::1"] {
            assert!(!is_link_local(no), "{no:?}");
        }
    }

    #[test]
    fn the_line_of_a_modems_call_is_no_uplink_of_its_own() {
        let device = |interface: &str, state| Device {
            interface: interface.to_owned(),
            kind: Kind::Modem,
            state,
            failure: None,
            hands_off: false,
            carrier: false,
            controller: None,
            address: false,
            gateway: false,
            gateways: Vec::new(),
            resolver: false,
            resolvers: Vec::new(),
            metered: false,
            connectivity: Connectivity::Unknown,
        };
        let mut devices = vec![
            device("eth0", State::Activated),
            device("ppp0", State::Activated),
            device("ppp0", State::Inactive),
        ];
        keep_first(&mut devices);
        let left: Vec<_> = devices
            .iter()
            .map(|device| (device.interface.as_str(), device.state))
            .collect();
        assert_eq!(left, [("eth0", State::Activated), ("ppp0", State::Activated)]);
    }

    #[test]
    fn a_resolver_is_for_its_interface_or_for_all() {
        let address = |last| vec![IpAddr::from([192, 0, 2, last])];
        let resolvers = |elsewhere, interfaces: &[Option<&str>]| {
            let entries = (1..).zip(interfaces);
            let entries = entries.map(|(last, of)| (of.map(ToOwned::to_owned), address(last)));
            Resolvers::new(elsewhere, entries.collect())
        };
        assert!(resolvers(false, &[Some("eth0")]).serve("eth0"));
        assert!(!resolvers(false, &[Some("eth1")]).serve("eth0"));
        assert!(resolvers(false, &[Some("eth1"), None]).serve("eth0"));
        assert!(!resolvers(false, &[]).serve("eth0"));
        assert!(resolvers(true, &[]).serve("eth0"), "dns=none: somebody else's");
        let replaced = resolvers(false, &[Some("eth0"), None, Some("tun0")]);
        assert_eq!(replaced.of("eth0"), address(2));
        assert!(!replaced.others(&address(2), &[]), "the configuration's own");
        assert!(replaced.others(&[], &[]), "somebody else's");
        assert!(resolvers(false, &[Some("tun0")]).others(&[], &[]), "a tunnel's");
    }
}
