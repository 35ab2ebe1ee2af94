//! The table of keys: every key that a `config.json` may hold, and what becomes of it.
//!
//! The one list that the reader, the report, the redaction of secrets and the reference
//! (`docs/config-reference.md`, of `tools/config-reference`) rest on.

use serde_json::Value;

use crate::config;
use crate::document::KeyPath;
use crate::value::{self, Refusal};

mod nearest;

pub(crate) use nearest::distance;
pub use nearest::nearest;

/// What becomes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Applied at once when it changes.
    Applied,
    /// The device's identity: taken once, never changed.
    Identity,
    /// Of other software: kept, in place, and not looked at.
    Kept,
    /// Understood by balenaOS and not yet by us: kept.
    NotYet,
    /// Used by a later release: its shape is checked now, and it is kept.
    Later,
}

/// A key.
#[derive(Debug)]
pub struct Key {
    /// Dotted path.
    pub path: &'static str,
    /// What becomes of it.
    pub class: Class,
    /// Whether its value is never shown.
    pub secret: bool,
    /// What it may hold, for people; empty for what is not looked at.
    pub rule: &'static str,
    /// Whether a value keeps the rule.
    pub(crate) check: fn(&Value) -> Result<(), Refusal>,
}

/// Every key. What is said about each to people is in `tools/config-reference/keys`.
pub const TABLE: &[Key] = &[
    applied(
        "hostname",
        "a host name (RFC 1123); empty: the first 7 digits of the uuid",
        config::check_hostname,
    ),
    Key {
        path: "uuid",
        class: Class::Identity,
        secret: false,
        rule: "32 hexadecimal digits",
        check: config::check_uuid,
    },
    applied("persistentLogging", BOOLEAN, config::check_boolean),
    applied("developmentMode", BOOLEAN, config::check_boolean),
    applied(
        "ntpServers",
        "host names and addresses, separated by spaces or as an array; \"null\": none at all",
        config::check_time_servers,
    ),
    applied(
        "dnsServers",
        "IP addresses, separated by spaces or as an array; \"null\": no fallback",
        config::check_name_servers,
    ),
    applied(
        "os.sshKeys",
        "an array of ssh public keys",
        config::check_ssh_keys,
    ),
    applied(
        "os.network.connectivity.uri",
        "an http or https address; \"null\": no check",
        config::check_uri,
    ),
    applied(
        "os.network.connectivity.interval",
        "seconds; 0: no check",
        config::check_interval,
    ),
    applied(
        "os.network.connectivity.response",
        "what the answer must begin with; empty: status 204 or no content",
        config::check_response,
    ),
    applied(
        "os.network.wifi.randomMacAddressScan",
        BOOLEAN,
        config::check_boolean,
    ),
    applied(
        "country",
        "a country's code of two letters (ISO 3166-1); empty: none",
        config::check_country,
    ),
    applied(
        "balenaRootCA",
        "base64 of a PEM file with 1 to 16 certificates of authorities; empty: none",
        config::check_root_ca,
    ),
    applied(
        "os.udevRules",
        "an object with the text of each udev rule file by its name",
        config::check_udev_rules,
    ),
    applied(
        "os.timezone",
        "the name of a time zone (IANA), such as Europe/Berlin; empty: UTC",
        config::check_timezone,
    ),
    applied(
        "os.journal.maxUse",
        "bytes, or a string with K, M or G: 8M to 64G",
        config::check_max_use,
    ),
    applied(
        "os.journal.keepFree",
        "bytes, or a string with K, M or G: 1M to 64G",
        config::check_keep_free,
    ),
    applied(
        "os.journal.retention",
        "seconds: 3600 to 316224000; 0: no limit",
        config::check_retention,
    ),
    applied(
        "os.journal.rateLimit.interval",
        "seconds: 1 to 3600; 0: no limit",
        config::check_rate_interval,
    ),
    applied(
        "os.journal.rateLimit.burst",
        "messages: 100 to 1000000; 0: no limit",
        config::check_rate_burst,
    ),
    applied(
        "os.sysctl",
        "an object of kernel parameters of the list in docs/config.md and whole numbers",
        config::check_sysctl,
    ),
    applied(
        "os.proxy.http",
        "http://HOST:PORT, without user and password; empty: none",
        config::check_proxy,
    ),
    applied(
        "os.proxy.https",
        "http://HOST:PORT, without user and password; empty: none",
        config::check_proxy,
    ),
    applied(
        "os.proxy.noProxy",
        "hosts, domains, addresses and networks, with commas or spaces or as an array",
        config::check_no_proxy,
    ),
    applied("os.watchdog.runtime", WATCHDOG, config::check_watchdog),
    applied("os.watchdog.reboot", WATCHDOG, config::check_watchdog),
    later("os.vpn.type", "openvpn or wireguard", value::check_type),
    later_secret(
        "os.vpn.openvpn.config",
        "the text of a client's configuration (openvpn(8))",
        value::check_openvpn_config,
    ),
    later("os.vpn.openvpn.username", "one line", value::check_secret_line),
    later_secret("os.vpn.openvpn.password", "one line", value::check_secret_line),
    later_secret(
        "os.vpn.wireguard.privateKey",
        "32 bytes in base64 (wg(8))",
        value::check_key,
    ),
    later(
        "os.vpn.wireguard.addresses",
        "addresses with prefix lengths, separated by spaces or as an array",
        value::check_addresses,
    ),
    later(
        "os.vpn.wireguard.dns",
        "addresses and search domains, separated by spaces or as an array",
        value::check_dns,
    ),
    later(
        "os.vpn.wireguard.mtu",
        "1280 to 65535; 0: the kernel's",
        value::check_mtu,
    ),
    later(
        "os.vpn.wireguard.peers",
        "an array of objects with publicKey, presharedKey, endpoint, allowedIPs, persistentKeepalive",
        value::check_peers,
    ),
    later_secret(
        "os.network.profiles",
        "an object of names and texts of NetworkManager keyfiles",
        value::check_profiles,
    ),
    not_yet("os.fan.profile"),
    not_yet("os.power.mode"),
    not_yet("os.kernel.extraFirmwareVol"),
    kept("$schema"),
    kept("installer.secureboot"),
    kept("installer.migrate.force"),
    kept("installer.target_devices"),
    secret("apiKey"),
    secret("deviceApiKey"),
    secret("deviceApiKeys"),
    secret("mixpanelToken"),
    kept("deviceId"),
    kept("registered_at"),
    kept("applicationId"),
    kept("deviceType"),
    kept("apiEndpoint"),
    kept("listenPort"),
    kept("deltaEndpoint"),
    kept("logsEndpoint"),
    kept("appUpdatePollInterval"),
    kept("apiTimeout"),
    kept("bootstrapRetryDelay"),
    kept("initialDeviceName"),
    kept("applicationName"),
    kept("userId"),
    kept("username"),
    kept("vpnEndpoint"),
    kept("vpnPort"),
    kept("registryEndpoint"),
    kept("version"),
    kept("debug"),
];

const BOOLEAN: &str = "true or false; also 1, 0, \"true\", \"false\", \"1\", \"0\"";

const WATCHDOG: &str = "seconds: 10 to 600; 0: off";

const fn applied(path: &'static str, rule: &'static str, check: fn(&Value) -> Result<(), Refusal>) -> Key {
    Key {
        path,
        class: Class::Applied,
        secret: false,
        rule,
        check,
    }
}

const fn later(path: &'static str, rule: &'static str, check: fn(&Value) -> Result<(), Refusal>) -> Key {
    Key {
        path,
        class: Class::Later,
        secret: false,
        rule,
        check,
    }
}

const fn later_secret(
    path: &'static str,
    rule: &'static str,
    check: fn(&Value) -> Result<(), Refusal>,
) -> Key {
    Key {
        secret: true,
        ..later(path, rule, check)
    }
}

const fn not_yet(path: &'static str) -> Key {
    Key {
        path,
        class: Class::NotYet,
        secret: false,
        rule: "",
        check: anything,
    }
}

const fn kept(path: &'static str) -> Key {
    Key {
        path,
        class: Class::Kept,
        secret: false,
        rule: "",
        check: anything,
    }
}

const fn secret(path: &'static str) -> Key {
    Key {
        path,
        class: Class::Kept,
        secret: true,
        rule: "",
        check: anything,
    }
}

const fn anything(_: &Value) -> Result<(), Refusal> {
    Ok(())
}

/// The key at this path.
#[must_use]
pub fn find(path: &str) -> Option<&'static Key> {
    TABLE.iter().find(|key| key.path == path)
}

/// The keys whose value is an object of entries with names of their own, in which dots are part of the name.
const WITH_ENTRIES: [&str; 3] = ["os.sysctl", "os.udevRules", "os.network.profiles"];

/// Parts the path of an entry into that of its key and the entry's name.
pub(crate) fn entry(path: &str) -> Option<(&'static str, &str)> {
    WITH_ENTRIES
        .iter()
        .find_map(|key| Some((*key, path.strip_prefix(key)?.strip_prefix('.')?)))
}

/// Whether known keys lie below this path.
pub(crate) fn is_group(path: &str) -> bool {
    TABLE.iter().any(|key| {
        key.path
            .strip_prefix(path)
            .is_some_and(|rest| rest.starts_with('.'))
    })
}

/// Whether the value at this path is never shown: a key of the table that says so, or a key that nobody here
/// knows and whose name says so.
pub(crate) fn is_secret(path: &KeyPath) -> bool {
    let path = path.to_string();
    match find(&path) {
        Some(key) => key.secret,
        None if is_group(&path) => false,
        None => sounds_secret(path.rsplit('.').next().unwrap_or(&path)),
    }
}

/// Other software keeps its secrets under names of its own; better one hidden too many than one shown.
fn sounds_secret(name: &str) -> bool {
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let name = name.to_ascii_lowercase();
    [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "apikey",
        "privatekey",
        "psk",
        "presharedkey",
        "credential",
    ]
    .iter()
    .any(|sound| name.contains(sound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_there_once_and_no_key_is_a_group() {
        for key in TABLE {
            assert_eq!(
                TABLE.iter().filter(|other| other.path == key.path).count(),
                1,
                "{}",
                key.path
            );
            assert!(!is_group(key.path), "{}", key.path);
        }
    }

    #[test]
    fn every_key_is_in_the_reference_page() {
        let page = include_str!("../../../docs/config-reference.md");
        for key in TABLE {
            assert!(
                page.contains(&format!("`{}`", key.path)),
                "docs/config-reference.md does not name {}: add it to tools/config-reference/keys, and run `cargo xtask schema`",
                key.path
            );
        }
    }
}
