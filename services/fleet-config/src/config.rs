//! The configuration: what a document asks for, as values that are valid by construction.
//!
//! Each key stands alone: one that breaks its rule counts as not set, and everything else is there.

use serde_json::Value;

use crate::document::Document;
use crate::value::{
    CheckResponse, CheckUri, Country, Hostname, NONE, NameServers, NamedRule, Refusal, RootCa, Seconds,
    SshKey, TimeServers, UdevRule, Uuid, boolean,
};

/// What a document asks for. `None`: the key is not set, and the product's default holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `hostname`.
    pub hostname: Option<Hostname>,
    /// `uuid`.
    pub uuid: Option<Uuid>,
    /// `persistentLogging`.
    pub persistent_logging: Option<bool>,
    /// `developmentMode`.
    pub development_mode: Option<bool>,
    /// `ntpServers`.
    pub time_servers: Option<TimeServers>,
    /// `dnsServers`.
    pub name_servers: Option<NameServers>,
    /// `os.sshKeys`: those that are whole.
    pub ssh_keys: Vec<SshKey>,
    /// `os.network.connectivity.uri`.
    pub check_uri: Option<CheckTarget>,
    /// `os.network.connectivity.interval`.
    pub check_interval: Option<Seconds>,
    /// `os.network.connectivity.response`.
    pub check_response: Option<CheckResponse>,
    /// `os.network.wifi.randomMacAddressScan`.
    pub random_scan_address: Option<bool>,
    /// `country`.
    pub country: Option<Country>,
    /// `balenaRootCA`.
    pub root_ca: Option<RootCa>,
    /// `os.udevRules`: those that keep the rules, in the order of their names.
    pub udev_rules: Vec<UdevRule>,
}

/// Whom the connectivity check asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckTarget {
    /// Nobody: the check is off.
    Off,
    /// This address.
    At(CheckUri),
}

impl Config {
    /// Reads the keys of the table that are applied.
    #[must_use]
    pub fn read(document: &Document) -> Self {
        fn key<T>(
            document: &Document,
            path: &str,
            read: impl Fn(&Value) -> Result<Option<T>, Refusal>,
        ) -> Option<T> {
            document
                .setting(path)
                .and_then(|value| read(value).ok().flatten())
        }
        let boolean = |path| key(document, path, |value| boolean(value).map(Some));
        Self {
            hostname: key(document, "hostname", hostname),
            uuid: key(document, "uuid", uuid),
            persistent_logging: boolean("persistentLogging"),
            development_mode: boolean("developmentMode"),
            time_servers: key(document, "ntpServers", TimeServers::read),
            name_servers: key(document, "dnsServers", NameServers::read),
            ssh_keys: ssh_keys(document.setting("os.sshKeys"))
                .into_iter()
                .filter_map(Result::ok)
                .collect(),
            check_uri: key(document, "os.network.connectivity.uri", check_target),
            check_interval: key(document, "os.network.connectivity.interval", interval),
            check_response: key(document, "os.network.connectivity.response", response),
            random_scan_address: boolean("os.network.wifi.randomMacAddressScan"),
            country: key(document, "country", country),
            root_ca: key(document, "balenaRootCA", root_ca),
            udev_rules: {
                let rules = udev_rules(document.setting("os.udevRules"), is_development(document));
                let mut rules: Vec<UdevRule> = rules.into_iter().filter_map(|(_, rule)| rule.ok()).collect();
                rules.sort_unstable_by(|one, other| one.name.cmp(&other.name));
                rules
            },
        }
    }
}

/// Whether a document asks for development mode.
pub(crate) fn is_development(document: &Document) -> bool {
    document
        .setting("developmentMode")
        .is_some_and(|value| boolean(value).unwrap_or(false))
}

/// The rule files of `os.udevRules`, each by itself; none if it is refused as a whole.
pub(crate) fn udev_rules(value: Option<&Value>, development: bool) -> Vec<NamedRule<'_>> {
    value
        .and_then(|value| crate::value::udev_rules(value, development).ok())
        .unwrap_or_default()
}

/// The entries of `os.sshKeys`, each by itself.
pub(crate) fn ssh_keys(value: Option<&Value>) -> Vec<Result<SshKey, Refusal>> {
    let entry = |entry: &Value| SshKey::try_from(string(entry)?);
    value
        .and_then(Value::as_array)
        .map(|entries| entries.iter().map(entry).collect())
        .unwrap_or_default()
}

fn string(value: &Value) -> Result<&str, Refusal> {
    value.as_str().ok_or_else(|| Refusal::of_type("a string", value))
}

fn hostname(value: &Value) -> Result<Option<Hostname>, Refusal> {
    match string(value)?.trim() {
        "" => Ok(None),
        name => Hostname::try_from(name).map(Some),
    }
}

fn uuid(value: &Value) -> Result<Option<Uuid>, Refusal> {
    match string(value)? {
        "" => Ok(None),
        digits => Uuid::try_from(digits).map(Some),
    }
}

fn check_target(value: &Value) -> Result<Option<CheckTarget>, Refusal> {
    match string(value)?.trim() {
        "" => Ok(None),
        NONE => Ok(Some(CheckTarget::Off)),
        address => CheckUri::try_from(address).map(|uri| Some(CheckTarget::At(uri))),
    }
}

fn interval(value: &Value) -> Result<Option<Seconds>, Refusal> {
    Seconds::try_from(value).map(Some)
}

fn response(value: &Value) -> Result<Option<CheckResponse>, Refusal> {
    CheckResponse::try_from(string(value)?).map(Some)
}

fn country(value: &Value) -> Result<Option<Country>, Refusal> {
    match string(value)?.trim() {
        "" => Ok(None),
        code => Country::try_from(code).map(Some),
    }
}

fn root_ca(value: &Value) -> Result<Option<RootCa>, Refusal> {
    match string(value)?.trim() {
        "" => Ok(None),
        encoded => RootCa::try_from(encoded).map(Some),
    }
}

pub(crate) fn check_country(value: &Value) -> Result<(), Refusal> {
    country(value).map(drop)
}

pub(crate) fn check_root_ca(value: &Value) -> Result<(), Refusal> {
    root_ca(value).map(drop)
}

/// The object as a whole: its entries are refused one by one.
pub(crate) fn check_udev_rules(value: &Value) -> Result<(), Refusal> {
    crate::value::udev_rules(value, true).map(drop)
}

pub(crate) fn check_hostname(value: &Value) -> Result<(), Refusal> {
    hostname(value).map(drop)
}

pub(crate) fn check_uuid(value: &Value) -> Result<(), Refusal> {
    uuid(value).map(drop)
}

pub(crate) fn check_boolean(value: &Value) -> Result<(), Refusal> {
    boolean(value).map(drop)
}

pub(crate) fn check_time_servers(value: &Value) -> Result<(), Refusal> {
    TimeServers::read(value).map(drop)
}

pub(crate) fn check_name_servers(value: &Value) -> Result<(), Refusal> {
    NameServers::read(value).map(drop)
}

/// The array as a whole: its entries are refused one by one, as long as one is good. A slip in the only key must not
/// lock everybody out.
pub(crate) fn check_ssh_keys(value: &Value) -> Result<(), Refusal> {
    match value {
        Value::Array(entries) if entries.is_empty() || ssh_keys(Some(value)).iter().any(Result::is_ok) => {
            Ok(())
        }
        Value::Array(_) => Err(Refusal::unnamed(
            "none of its entries is a whole public key; the keys from before stay in force",
        )),
        other => Err(Refusal::of_type("an array of strings", other)),
    }
}

pub(crate) fn check_uri(value: &Value) -> Result<(), Refusal> {
    check_target(value).map(drop)
}

pub(crate) fn check_interval(value: &Value) -> Result<(), Refusal> {
    interval(value).map(drop)
}

pub(crate) fn check_response(value: &Value) -> Result<(), Refusal> {
    response(value).map(drop)
}
