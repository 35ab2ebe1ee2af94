//! The VPN that is asked for, as its owner takes it: OpenVPN its files, NetworkManager a keyfile.

use std::fmt::Write;
use std::net::IpAddr;

use fleet_base::secret::Secret;

use crate::config::{self, WireGuard};
use crate::keyfile::Keyfile;
use crate::value::openvpn::INTERFACE;
use crate::value::{Uuid, VpnKind};

/// The name of the profile of WireGuard, and of its keyfile.
pub(crate) const PROFILE: &str = "fleet-vpn";
/// Its identity to NetworkManager; one and the same everywhere, like its name.
pub(crate) const PROFILE_UUID: &str = "6a1f6d5c-7c7e-4a5e-9a55-3b9b7f1d2c01";
/// Where OpenVPN reads name and password: a credential of its unit (systemd.exec(5)).
const LOGIN: &str = "/run/credentials/openvpn-client@fleet.service/login";
/// Seconds between signs of life where a peer says nothing else: what is behind a NAT stays reachable, and a tunnel that
/// leads nowhere is noticed.
const KEEPALIVE: u64 = 25;

const NO_CONFIG: &str = "OpenVPN has no configuration yet: set os.vpn.openvpn.config";
const NO_LOGIN: &str = "the configuration says auth-user-pass: set os.vpn.openvpn.username and .password";
const NO_KEY: &str = "WireGuard has no key yet: set os.vpn.wireguard.privateKey";
const NO_ADDRESS: &str = "WireGuard has no address yet: set os.vpn.wireguard.addresses";
const NO_PEER: &str = "WireGuard has nobody to talk to: set os.vpn.wireguard.peers";

/// The VPN.
#[expect(clippy::enum_variant_names, reason = "that is its name")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Vpn {
    /// There is none.
    None,
    /// Something is missing, what. The VPN from before stays until it is there.
    Incomplete(&'static str),
    OpenVpn {
        /// What OpenVPN reads.
        config: Secret<String>,
        /// Name and password, a line each; empty for none.
        login: Secret<String>,
    },
    /// The keyfile of NetworkManager's profile.
    WireGuard(Secret<String>),
}

impl Vpn {
    /// Of a configuration.
    pub(crate) fn new(config: &config::Vpn, identity: &Uuid) -> Self {
        match config.kind {
            None => Self::None,
            Some(VpnKind::OpenVpn) => openvpn(config, identity).unwrap_or_else(Self::Incomplete),
            Some(VpnKind::WireGuard) => wireguard(&config.wireguard).unwrap_or_else(Self::Incomplete),
        }
    }

    /// The profile that NetworkManager has of it.
    pub(crate) fn keyfile(&self) -> Option<Keyfile> {
        match self {
            Self::WireGuard(text) => Some(Keyfile {
                file: format!("{PROFILE}.nmconnection"),
                name: PROFILE.to_owned(),
                bytes: Secret::new(text.expose().clone().into_bytes()),
            }),
            _ => None,
        }
    }
}

fn openvpn(config: &config::Vpn, identity: &Uuid) -> Result<Vpn, &'static str> {
    let parsed = config.openvpn.as_ref().ok_or(NO_CONFIG)?;
    let login = match (&config.username, &config.password) {
        (Some(name), Some(password)) => Some(format!("{}\n{}\n", name.expose(), password.expose())),
        _ if parsed.asks_for_login() => return Err(NO_LOGIN),
        _ => parsed.login().map(|login| login.expose().clone()),
    };
    let device = u32::from_str_radix(&identity.short(), 16).unwrap_or_default();
    let mut text = parsed.render(device).expose().clone();
    if login.is_some() {
        let _ = writeln!(text, "auth-user-pass {LOGIN}");
    }
    Ok(Vpn::OpenVpn {
        config: Secret::new(text),
        login: Secret::new(login.unwrap_or_default()),
    })
}

/// nm-settings-keyfile(5), the sections `[wireguard]` and `[wireguard-peer.KEY]`.
fn wireguard(config: &WireGuard) -> Result<Vpn, &'static str> {
    let key = config.private_key.as_ref().ok_or(NO_KEY)?;
    if config.addresses.is_empty() {
        return Err(NO_ADDRESS);
    }
    if config.peers.is_empty() {
        return Err(NO_PEER);
    }
    let mut text = format!(
        "[connection]\nid={PROFILE}\nuuid={PROFILE_UUID}\ntype=wireguard\ninterface-name={INTERFACE}\n\
         autoconnect=true\nautoconnect-retries=0\n\n[wireguard]\nprivate-key={}\nmtu={}\n",
        key.expose(),
        config.mtu
    );
    for peer in &config.peers {
        let _ = write!(text, "\n[wireguard-peer.{}]\n", peer.public_key);
        if let Some(endpoint) = &peer.endpoint {
            let _ = writeln!(text, "endpoint={endpoint}");
        }
        if let Some(key) = &peer.preshared_key {
            let _ = writeln!(text, "preshared-key={}\npreshared-key-flags=0", key.expose());
        }
        let keepalive = peer.keepalive.unwrap_or(KEEPALIVE);
        let _ = writeln!(
            text,
            "persistent-keepalive={keepalive}\nallowed-ips={};",
            peer.allowed.join(";")
        );
    }
    let (domains, servers): (Vec<_>, Vec<_>) = config
        .dns
        .iter()
        .map(String::as_str)
        .partition(|word| word.parse::<IpAddr>().is_err());
    for (section, is_own) in [
        ("ipv4", IpAddr::is_ipv4 as fn(&IpAddr) -> bool),
        ("ipv6", IpAddr::is_ipv6),
    ] {
        let own = |address: &str| {
            let (address, _) = address.split_once('/').unwrap_or((address, ""));
            address.parse().is_ok_and(|address| is_own(&address))
        };
        let addresses = config
            .addresses
            .iter()
            .filter(|address| own(address))
            .collect::<Vec<_>>();
        let _ = write!(text, "\n[{section}]\n");
        if addresses.is_empty() {
            text.push_str("method=disabled\n");
            continue;
        }
        text.push_str("method=manual\n");
        for (index, address) in (1..).zip(addresses) {
            let host = if section == "ipv4" { 32 } else { 128 };
            let length = if address.contains('/') {
                String::new()
            } else {
                format!("/{host}")
            };
            let _ = writeln!(text, "address{index}={address}{length}");
        }
        let servers: Vec<&str> = servers.iter().copied().filter(|server| own(server)).collect();
        for (name, words) in [("dns", &servers), ("dns-search", &domains)] {
            if !words.is_empty() {
                let _ = writeln!(text, "{name}={};", words.join(";"));
            }
        }
    }
    Ok(Vpn::WireGuard(Secret::new(text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::document::Document;

    fn vpn(text: &str) -> Vpn {
        let document = Document::parse(text.as_bytes()).unwrap();
        let identity = Uuid::try_from("0123456789abcdef0123456789abcdef").unwrap();
        Vpn::new(&Config::read(&document).vpn, &identity)
    }

    const KEY: &str = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=";

    #[test]
    fn a_keyfile_of_wireguard() {
        let text = format!(
            r#"{{"os": {{"vpn": {{"type": "wireguard", "wireguard": {{"privateKey": "{KEY}", "addresses": "10.0.0.2/24",
            "dns": "10.0.0.1 fd00::1 corp.example", "peers": [{{"publicKey": "{KEY}", "endpoint": "vpn.example:51820",
            "allowedIPs": ["10.0.0.0/24", "::/0"]}}, {{"publicKey": "{KEY}", "persistentKeepalive": 0, "presharedKey": "{KEY}"}}]}}}}}}}}"#
        );
        let Vpn::WireGuard(keyfile) = vpn(&text) else {
            panic!()
        };
        assert_eq!(
            *keyfile.expose(),
            format!(
                "[connection]\nid=fleet-vpn\nuuid={PROFILE_UUID}\ntype=wireguard\ninterface-name=fleet-vpn\nautoconnect=true\n\
                 autoconnect-retries=0\n\n[wireguard]\nprivate-key={KEY}\nmtu=0\n\n[wireguard-peer.{KEY}]\nendpoint=vpn.example:51820\n\
                 persistent-keepalive=25\nallowed-ips=10.0.0.0/24;::/0;\n\n[wireguard-peer.{KEY}]\npreshared-key={KEY}\n\
                 preshared-key-flags=0\npersistent-keepalive=0\nallowed-ips=;\n\n[ipv4]\nmethod=manual\naddress1=10.0.0.2/24\n\
                 dns=10.0.0.1;\ndns-search=corp.example;\n\n[ipv6]\nmethod=disabled\n"
            )
        );
    }

    #[test]
    fn what_is_missing_is_said() {
        assert_eq!(vpn("{}"), Vpn::None);
        for (text, why) in [
            (r#"{"os": {"vpn": {"type": "openvpn"}}}"#, NO_CONFIG),
            (r#"{"os": {"vpn": {"type": "wireguard"}}}"#, NO_KEY),
        ] {
            assert_eq!(vpn(text), Vpn::Incomplete(why));
        }
    }

    #[test]
    fn a_login_is_a_file_of_its_own() {
        let config =
            "client\\ndev tun\\nremote a 1\\nauth-user-pass\\n<ca>\\n-----BEGIN CERTIFICATE-----\\n</ca>\\n";
        let text = |more: &str| {
            format!(
                r#"{{"os": {{"vpn": {{"type": "openvpn", "openvpn": {{"config": "{config}"{more}}}}}}}}}"#
            )
        };
        assert_eq!(vpn(&text("")), Vpn::Incomplete(NO_LOGIN));
        let Vpn::OpenVpn { config, login } = vpn(&text(r#", "username": "me", "password": "hunter2""#))
        else {
            panic!()
        };
        assert!(
            config.expose().ends_with(&format!("auth-user-pass {LOGIN}\n"))
                && !config.expose().contains("hunter2")
        );
        assert_eq!(login.expose(), "me\nhunter2\n");
    }
}
