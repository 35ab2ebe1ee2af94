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
    /// Of what boards have that we do not build for: kept, and not looked at.
    OtherBoards,
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
    /// Whether a value keeps the rule.
    pub(crate) check: fn(&Value) -> Result<(), Refusal>,
}

/// Every key. What is said about each to people is in `tools/config-reference/keys`.
pub const TABLE: &[Key] = &[
    applied("hostname", config::check_hostname),
    Key {
        path: "uuid",
        class: Class::Identity,
        secret: false,
        check: config::check_uuid,
    },
    applied("persistentLogging", config::check_boolean),
    applied("developmentMode", config::check_boolean),
    applied("ntpServers", config::check_time_servers),
    applied("dnsServers", config::check_name_servers),
    applied("os.sshKeys", config::check_ssh_keys),
    applied("os.network.connectivity.uri", config::check_uri),
    applied("os.network.connectivity.interval", config::check_interval),
    applied("os.network.connectivity.response", config::check_response),
    applied("os.network.probe.interval", config::check_probe_interval),
    applied("os.network.probe.meteredInterval", config::check_probe_interval),
    applied("os.network.probe.monthlyBudget", config::check_probe_budget),
    applied("os.network.repair.enabled", config::check_boolean),
    applied("os.network.repair.after", config::check_probe_interval),
    applied("os.network.repair.reboot", config::check_boolean),
    applied("os.network.wifi.randomMacAddressScan", config::check_boolean),
    applied("country", config::check_country),
    applied("balenaRootCA", config::check_root_ca),
    applied("os.udevRules", config::check_udev_rules),
    applied("os.timezone", config::check_timezone),
    applied("os.journal.maxUse", config::check_max_use),
    applied("os.journal.keepFree", config::check_keep_free),
    applied("os.journal.retention", config::check_retention),
    applied("os.journal.rateLimit.interval", config::check_rate_interval),
    applied("os.journal.rateLimit.burst", config::check_rate_burst),
    applied("os.journal.syncInterval", config::check_sync_interval),
    applied("os.journal.syncLevel", config::check_sync_level),
    applied("os.journal.upload.url", config::check_collector),
    applied("os.journal.upload.certificate", config::check_client_certificate),
    applied_secret("os.journal.upload.key", config::check_client_key),
    applied("os.sysctl", config::check_sysctl),
    applied("os.proxy.http", config::check_proxy),
    applied("os.proxy.https", config::check_proxy),
    applied("os.proxy.noProxy", config::check_no_proxy),
    applied("os.watchdog.runtime", config::check_watchdog),
    applied("os.watchdog.reboot", config::check_watchdog),
    applied("os.vpn.type", value::check_type),
    applied_secret("os.vpn.openvpn.config", value::check_openvpn_config),
    applied("os.vpn.openvpn.username", value::check_secret_line),
    applied_secret("os.vpn.openvpn.password", value::check_secret_line),
    applied_secret("os.vpn.wireguard.privateKey", value::check_key),
    applied("os.vpn.wireguard.addresses", value::check_addresses),
    applied("os.vpn.wireguard.dns", value::check_dns),
    applied("os.vpn.wireguard.mtu", value::check_mtu),
    applied("os.vpn.wireguard.peers", value::check_peers),
    later_secret("os.network.profiles", value::check_profiles),
    other_boards("os.fan.profile"),
    other_boards("os.power.mode"),
    other_boards("os.kernel.extraFirmwareVol"),
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

const fn applied(path: &'static str, check: fn(&Value) -> Result<(), Refusal>) -> Key {
    Key {
        path,
        class: Class::Applied,
        secret: false,
        check,
    }
}

const fn applied_secret(path: &'static str, check: fn(&Value) -> Result<(), Refusal>) -> Key {
    Key {
        secret: true,
        ..applied(path, check)
    }
}

const fn later_secret(path: &'static str, check: fn(&Value) -> Result<(), Refusal>) -> Key {
    Key {
        class: Class::Later,
        ..applied_secret(path, check)
    }
}

const fn other_boards(path: &'static str) -> Key {
    Key {
        path,
        class: Class::OtherBoards,
        secret: false,
        check: anything,
    }
}

const fn kept(path: &'static str) -> Key {
    Key {
        path,
        class: Class::Kept,
        secret: false,
        check: anything,
    }
}

const fn secret(path: &'static str) -> Key {
    Key {
        path,
        class: Class::Kept,
        secret: true,
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
pub(crate) fn sounds_secret(name: &str) -> bool {
    let words = words(name);
    if ["pass", "pwd", "pin", "auth", "jwt", "bearer"]
        .iter()
        .any(|word| words.iter().any(|named| named == word))
    {
        return true;
    }
    let name = words.concat();
    [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "apikey",
        "privatekey",
        "privkey",
        "accesskey",
        "psk",
        "presharedkey",
        "credential",
    ]
    .iter()
    .any(|sound| name.contains(sound))
}

/// The words of a name, in lower case: of `simPin`, `sim-pin` or `SIM_PIN`, `sim` and `pin`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for character in name.chars() {
        let is_upper = character.is_ascii_uppercase();
        if !character.is_ascii_alphanumeric() || (is_upper && was_lower) {
            words.push(String::new());
        }
        was_lower = character.is_ascii_lowercase();
        if let Some(word) = words.last_mut()
            && character.is_ascii_alphanumeric()
        {
            word.push(character.to_ascii_lowercase());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_known_by_their_names() {
        for name in [
            "apiKey",
            "sim_pin",
            "simPin",
            "PIN",
            "smtp-pass",
            "jwt",
            "proxyAuth",
            "privKey",
            "AccessKey",
        ] {
            assert!(sounds_secret(name), "{name}");
        }
        for name in [
            "pinctrl",
            "spin",
            "author",
            "compass",
            "publicKey",
            "pingInterval",
        ] {
            assert!(!sounds_secret(name), "{name}");
        }
    }

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
