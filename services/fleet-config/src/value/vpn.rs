//! The keys `os.vpn.*`: which VPN, and WireGuard (wg(8)). What OpenVPN reads is in `openvpn.rs`.
//!
//! Refusals never repeat what may be a secret.

use std::net::IpAddr;

use fleet_base::secret::Secret;
use serde_json::{Map, Value};

use super::authority::Authority;
use super::hostname::domain;
use super::primitive::whole_number;
use super::{OpenVpnConfig, Refusal, words};

/// What OpenVPN has room for if it is built without PKCS #11, as the image's is: 128 bytes with the end of the line
/// (`USER_PASS_LEN`). What is longer it would cut off.
const MAX_LINE: usize = 126;
const MAX_PEERS: usize = 64;

fn text(value: &Value) -> Result<&str, Refusal> {
    value.as_str().ok_or_else(|| Refusal::of_type("a string", value))
}

/// Which VPN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VpnKind {
    /// OpenVPN.
    OpenVpn,
    /// WireGuard.
    WireGuard,
}

/// `os.vpn.type`.
pub(crate) fn kind(value: &Value) -> Result<Option<VpnKind>, Refusal> {
    match text(value)? {
        "" => Ok(None),
        "openvpn" => Ok(Some(VpnKind::OpenVpn)),
        "wireguard" => Ok(Some(VpnKind::WireGuard)),
        other => Err(Refusal::of(other, "openvpn or wireguard was expected")),
    }
}

pub(crate) fn check_type(value: &Value) -> Result<(), Refusal> {
    kind(value).map(drop)
}

/// `os.vpn.openvpn.config`: the text of a client's configuration.
pub(crate) fn openvpn_config(value: &Value) -> Result<Option<OpenVpnConfig>, Refusal> {
    match text(value)? {
        "" => Ok(None),
        text => OpenVpnConfig::try_from(text).map(Some),
    }
}

pub(crate) fn check_openvpn_config(value: &Value) -> Result<(), Refusal> {
    openvpn_config(value).map(drop)
}

/// `os.vpn.openvpn.username`, `.password`: one line each.
pub(crate) fn secret_line(value: &Value) -> Result<Option<Secret<String>>, Refusal> {
    let text = text(value)?;
    if text.len() > MAX_LINE || text.chars().any(char::is_control) {
        return Err(Refusal::unnamed(
            "one line of at most 126 bytes was expected, which is what OpenVPN takes",
        ));
    }
    Ok((!text.is_empty()).then(|| Secret::new(text.to_owned())))
}

pub(crate) fn check_secret_line(value: &Value) -> Result<(), Refusal> {
    secret_line(value).map(drop)
}

/// A peer of `os.vpn.wireguard.peers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// `publicKey`.
    pub public_key: String,
    /// `presharedKey`.
    pub preshared_key: Option<Secret<String>>,
    /// `endpoint`.
    pub endpoint: Option<String>,
    /// `allowedIPs`.
    pub allowed: Vec<String>,
    /// `persistentKeepalive`, seconds. `None`: not set.
    pub keepalive: Option<u64>,
}

/// The words of a list.
pub(crate) fn list(value: &Value) -> Vec<String> {
    words(value).map_or_else(
        |_| Vec::new(),
        |words| words.into_iter().map(ToOwned::to_owned).collect(),
    )
}

/// Peers that keep the rules; none if one does not.
pub(crate) fn peers(value: &Value) -> Vec<Peer> {
    if check_peers(value).is_err() {
        return Vec::new();
    }
    let text = |peer: &Value, name| peer.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
    let peer = |peer: &Value| Peer {
        public_key: text(peer, "publicKey").unwrap_or_default(),
        preshared_key: text(peer, "presharedKey")
            .filter(|key| !key.is_empty())
            .map(Secret::new),
        endpoint: text(peer, "endpoint"),
        allowed: peer.get("allowedIPs").map(list).unwrap_or_default(),
        keepalive: peer
            .get("persistentKeepalive")
            .filter(|value| !value.is_null())
            .and_then(|value| whole_number(value, "", "").ok()),
    };
    value
        .as_array()
        .map(|peers| peers.iter().map(peer).collect())
        .unwrap_or_default()
}

/// `os.vpn.wireguard.privateKey`; a key of wg(8): 32 bytes in base64.
pub(crate) fn check_key(value: &Value) -> Result<(), Refusal> {
    match text(value)? {
        "" => Ok(()),
        text => key(text),
    }
}

fn key(text: &str) -> Result<(), Refusal> {
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/".contains(&byte);
    // 32 bytes are 43 digits, the last of which has two bits to spare, and one sign for the rest.
    let good = text.len() == 44
        && text.strip_suffix('=').is_some_and(|digits| {
            digits.bytes().all(base64) && digits.ends_with(|last| "AEIMQUYcgkosw048".contains(last))
        });
    if good {
        return Ok(());
    }
    Err(Refusal::unnamed(
        "a WireGuard key was expected: 32 bytes in base64, which are 43 characters and =",
    ))
}

/// `os.vpn.wireguard.addresses`: the device's own, each with the length of its network.
pub(crate) fn check_addresses(value: &Value) -> Result<(), Refusal> {
    words(value)?.iter().try_for_each(|word| network(word))
}

/// An address with or without a prefix length.
fn network(text: &str) -> Result<(), Refusal> {
    let (address, length) = text.split_once('/').map_or((text, None), |(a, l)| (a, Some(l)));
    let good = address.parse::<IpAddr>().is_ok_and(|address| {
        let most = if address.is_ipv4() { 32 } else { 128 };
        length.is_none_or(|length| {
            length.bytes().all(|byte| byte.is_ascii_digit())
                && length.parse::<u8>().is_ok_and(|length| length <= most)
        })
    });
    if good {
        return Ok(());
    }
    Err(Refusal::of(
        text,
        "an address such as 10.0.0.2/24 or fd00::2/64 was expected",
    ))
}

/// `os.vpn.wireguard.dns`: addresses of resolvers, and search domains.
pub(crate) fn check_dns(value: &Value) -> Result<(), Refusal> {
    words(value)?
        .iter()
        .try_for_each(|word| match word.parse::<IpAddr>() {
            Ok(_) => Ok(()),
            Err(_) => domain(word),
        })
}

/// `os.vpn.wireguard.mtu`: 0 is the kernel's choice; below 1280 there is no IPv6 (RFC 8200).
pub(crate) fn check_mtu(value: &Value) -> Result<(), Refusal> {
    number(value, "0 or 1280 to 65535 bytes were expected", |mtu| {
        mtu == 0 || (1280..=65_535).contains(&mtu)
    })
}

/// Its number.
pub(crate) fn mtu(value: &Value) -> Result<u64, Refusal> {
    whole_number(value, "a number", "")
}

fn number(value: &Value, rule: &'static str, takes: impl Fn(u64) -> bool) -> Result<(), Refusal> {
    match whole_number(value, "a number", rule)? {
        number if takes(number) => Ok(()),
        number => Err(Refusal::of(&number.to_string(), rule)),
    }
}

/// `os.vpn.wireguard.peers`: an array of `{publicKey, presharedKey, endpoint, allowedIPs, persistentKeepalive}`.
pub(crate) fn check_peers(value: &Value) -> Result<(), Refusal> {
    let Value::Array(peers) = value else {
        return Err(Refusal::of_type("an array of objects", value));
    };
    if peers.len() > MAX_PEERS {
        return Err(Refusal::unnamed("there are more than 64 peers"));
    }
    for (index, peer) in peers.iter().enumerate() {
        let Value::Object(peer) = peer else {
            return Err(Refusal::of_type("an array of objects", peer));
        };
        check_peer(peer).map_err(|(member, refusal)| {
            Refusal::unnamed_owned(format!("peers[{index}].{member}: {refusal}"))
        })?;
    }
    Ok(())
}

fn check_peer(peer: &Map<String, Value>) -> Result<(), (&'static str, Refusal)> {
    if peer.get("publicKey").is_none_or(Value::is_null) {
        return Err((
            "publicKey",
            Refusal::unnamed("a peer is known by its public key; add it"),
        ));
    }
    for (name, value) in peer.iter().filter(|(_, value)| !value.is_null()) {
        let (member, checked) = match name.as_str() {
            "publicKey" => ("publicKey", text(value).and_then(key)),
            "presharedKey" => ("presharedKey", check_key(value)),
            "endpoint" => ("endpoint", text(value).and_then(endpoint)),
            "allowedIPs" => ("allowedIPs", check_addresses(value)),
            "persistentKeepalive" => (
                "persistentKeepalive",
                number(value, "0 (off) to 65535 seconds were expected", |seconds| {
                    seconds <= 65_535
                }),
            ),
            // Kept like any key that nobody here knows; a mistyped one would be a peer without it.
            _ => (
                "",
                Err(Refusal::unnamed(
                    "a peer has publicKey, presharedKey, endpoint, allowedIPs and persistentKeepalive, and nothing else",
                )),
            ),
        };
        checked.map_err(|refusal| (member, refusal))?;
    }
    Ok(())
}

/// `HOST:PORT`; an IPv6 address in brackets.
fn endpoint(text: &str) -> Result<(), Refusal> {
    match Authority::parse(text) {
        Ok(Authority { port: Some(_), .. }) => Ok(()),
        _ => Err(Refusal::of(
            text,
            "HOST:PORT was expected, as in vpn.example:51820",
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KEY: &str = "xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=";

    type Check = fn(&Value) -> Result<(), Refusal>;

    #[test]
    fn shapes() {
        let peer = json!([{"publicKey": KEY, "endpoint": "[2001:db8::1]:51820", "allowedIPs": "0.0.0.0/0, ::/0".replace(',', ""), "persistentKeepalive": 25}]);
        let cases: [(Check, Vec<Value>, Vec<Value>); 7] = [
            (
                check_type,
                vec![json!("openvpn"), json!("wireguard"), json!("")],
                vec![json!("ipsec"), json!(1), json!("OpenVPN")],
            ),
            (
                check_openvpn_config,
                vec![json!("")],
                vec![json!("hello"), json!({}), json!("#".repeat(262_145))],
            ),
            (
                check_secret_line,
                vec![json!("me"), json!("")],
                vec![json!("a\nb"), json!("x".repeat(1025)), json!([])],
            ),
            (
                check_key,
                vec![json!(KEY), json!("")],
                vec![
                    json!("x"),
                    json!(KEY.replace('D', "_")),
                    json!(KEY.replace("g=", "h=")),
                    json!(7),
                ],
            ),
            (
                check_addresses,
                vec![json!("10.0.0.2/24 fd00::2/64"), json!(["10.0.0.2"])],
                vec![json!("10.0.0.2/33"), json!("a"), json!("10.0.0.2/"), json!(1)],
            ),
            (
                check_mtu,
                vec![json!(0), json!("1420")],
                vec![json!(1279), json!(65_536), json!("x")],
            ),
            (
                check_peers,
                vec![
                    json!([]),
                    peer,
                    json!([{"publicKey": KEY, "presharedKey": KEY, "endpoint": "a:1"}]),
                ],
                vec![
                    json!({}),
                    json!([1]),
                    json!([{}]),
                    json!([{"publicKey": "x"}]),
                    json!([{"publicKey": KEY, "endpoint": "a"}]),
                    json!([{"publicKey": KEY, "allowedIps": "::/0"}]),
                    json!([{"publicKey": KEY, "persistentKeepalive": -1}]),
                ],
            ),
        ];
        for (check, good, bad) in cases {
            for ok in good {
                assert_eq!(check(&ok), Ok(()), "{ok}");
            }
            for bad in bad {
                assert!(check(&bad).is_err(), "{bad}");
            }
        }
        assert!(
            check_dns(&json!("10.0.0.1 fd00::1 corp.example")).is_ok() && check_dns(&json!("a_b")).is_err()
        );
    }

    #[test]
    fn secrets_are_not_repeated() {
        let peers = json!([{"publicKey": KEY, "presharedKey": "hunter2"}]);
        let error = check_peers(&peers).unwrap_err().to_string();
        assert!(
            error.starts_with("peers[0].presharedKey: a WireGuard key"),
            "{error}"
        );
        assert!(!error.contains("hunter2"));
        for error in [
            check_key(&json!("hunter2")),
            check_secret_line(&json!("hunter2\n")),
            check_openvpn_config(&json!("hunter2")),
        ] {
            assert!(!error.unwrap_err().to_string().contains("hunter2"));
        }
    }
}
