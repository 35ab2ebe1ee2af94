//! The configuration: what a document asks for, as values that are valid by construction.
//!
//! Each key stands alone: one that breaks its rule counts as not set, and everything else is there.

use fleet_base::secret::Secret;
use serde_json::Value;

use crate::document::Document;
use crate::value::{
    CheckResponse, CheckUri, ClientCertificate, ClientKey, CollectorUrl, Country, Hostname, KeepFree, MaxUse,
    NONE, NameServers, NamedRule, NoProxy, Parameters, ProbeBudget, ProbeInterval, ProxyUrl, RateBurst,
    RateInterval, Refusal, Retention, RootCa, Seconds, SshKey, SyncInterval, SyncLevel, TimeServers,
    Timezone, UdevRule, Uuid, WatchdogTimeout, boolean, vpn,
};
use crate::value::{OpenVpnConfig, Peer, VpnKind};

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
    /// `os.network.probe.*` and `os.network.repair.*`.
    pub probes: Probes,
    /// `os.network.wifi.randomMacAddressScan`.
    pub random_scan_address: Option<bool>,
    /// `os.timezone`.
    pub timezone: Option<Timezone>,
    /// `os.journal.*` that journald reads.
    pub journal: JournalLimits,
    /// `os.journal.syncLevel`.
    pub sync_level: Option<SyncLevel>,
    /// `os.journal.upload.*`.
    pub upload: Upload,
    /// `os.sysctl`: the entries that are good.
    pub parameters: Parameters,
    /// `os.proxy.*`.
    pub proxy: Proxy,
    /// `os.watchdog.*`.
    pub watchdog: Watchdog,
    /// `country`.
    pub country: Option<Country>,
    /// `balenaRootCA`.
    pub root_ca: Option<RootCa>,
    /// `os.udevRules`: those that keep the rules, in the order of their names.
    pub udev_rules: Vec<UdevRule>,
    /// `os.vpn.*`.
    pub vpn: Vpn,
}

/// The VPN.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vpn {
    /// `os.vpn.type`. `None`: there is none.
    pub kind: Option<VpnKind>,
    /// `os.vpn.openvpn.config`.
    pub openvpn: Option<OpenVpnConfig>,
    /// `os.vpn.openvpn.username`.
    pub username: Option<Secret<String>>,
    /// `os.vpn.openvpn.password`.
    pub password: Option<Secret<String>>,
    /// `os.vpn.wireguard.*`.
    pub wireguard: WireGuard,
}

/// WireGuard. Empty or `None`: not set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WireGuard {
    /// `os.vpn.wireguard.privateKey`.
    pub private_key: Option<Secret<String>>,
    /// `os.vpn.wireguard.addresses`.
    pub addresses: Vec<String>,
    /// `os.vpn.wireguard.dns`.
    pub dns: Vec<String>,
    /// `os.vpn.wireguard.mtu`; 0: the kernel's choice.
    pub mtu: u64,
    /// `os.vpn.wireguard.peers`.
    pub peers: Vec<Peer>,
}

impl Vpn {
    fn read(document: &Document) -> Self {
        fn good<'d>(
            document: &'d Document,
            path: &str,
            check: fn(&Value) -> Result<(), Refusal>,
        ) -> Option<&'d Value> {
            document.setting(path).filter(|value| check(value).is_ok())
        }
        let secret = |path| {
            document
                .setting(path)
                .and_then(|value| vpn::secret_line(value).ok().flatten())
        };
        let list = |path, check| good(document, path, check).map(vpn::list).unwrap_or_default();
        Self {
            kind: document
                .setting("os.vpn.type")
                .and_then(|value| vpn::kind(value).ok().flatten()),
            openvpn: document
                .setting("os.vpn.openvpn.config")
                .and_then(|value| vpn::openvpn_config(value).ok().flatten()),
            username: secret("os.vpn.openvpn.username"),
            password: secret("os.vpn.openvpn.password"),
            wireguard: WireGuard {
                private_key: good(document, "os.vpn.wireguard.privateKey", vpn::check_key)
                    .and_then(|value| vpn::secret_line(value).ok().flatten()),
                addresses: list("os.vpn.wireguard.addresses", vpn::check_addresses),
                dns: list("os.vpn.wireguard.dns", vpn::check_dns),
                mtu: good(document, "os.vpn.wireguard.mtu", vpn::check_mtu)
                    .and_then(|value| vpn::mtu(value).ok())
                    .unwrap_or_default(),
                peers: document
                    .setting("os.vpn.wireguard.peers")
                    .map(vpn::peers)
                    .unwrap_or_default(),
            },
        }
    }
}

/// How `fleet-watch` probes, and what it may repair; what is not set is the product's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Probes {
    /// `os.network.probe.interval`.
    pub interval: Option<ProbeInterval>,
    /// `os.network.probe.meteredInterval`.
    pub metered_interval: Option<ProbeInterval>,
    /// `os.network.probe.monthlyBudget`.
    pub monthly_budget: Option<ProbeBudget>,
    /// `os.network.repair.enabled`.
    pub repair: Option<bool>,
    /// `os.network.repair.after`.
    pub repair_after: Option<ProbeInterval>,
    /// `os.network.repair.reboot`.
    pub repair_reboot: Option<bool>,
}

impl Probes {
    /// These, and where they say nothing, others.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            interval: self.interval.or(others.interval),
            metered_interval: self.metered_interval.or(others.metered_interval),
            monthly_budget: self.monthly_budget.or(others.monthly_budget),
            repair: self.repair.or(others.repair),
            repair_after: self.repair_after.or(others.repair_after),
            repair_reboot: self.repair_reboot.or(others.repair_reboot),
        }
    }
}

/// Limits and pace of the journal; what is not set is the product's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalLimits {
    /// `os.journal.maxUse`.
    pub max_use: Option<MaxUse>,
    /// `os.journal.keepFree`.
    pub keep_free: Option<KeepFree>,
    /// `os.journal.retention`.
    pub retention: Option<Retention>,
    /// `os.journal.rateLimit.interval`.
    pub rate_interval: Option<RateInterval>,
    /// `os.journal.rateLimit.burst`.
    pub rate_burst: Option<RateBurst>,
    /// `os.journal.syncInterval`.
    pub sync_interval: Option<SyncInterval>,
}

/// Whom the journal is uploaded to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upload {
    /// `os.journal.upload.url`. `None`: it is not uploaded.
    pub url: Option<CollectorUrl>,
    /// `os.journal.upload.certificate`.
    pub certificate: Option<ClientCertificate>,
    /// `os.journal.upload.key`.
    pub key: Option<ClientKey>,
}

impl Upload {
    /// Who this device is to the collector. Certificate and key go together, and only TLS has them.
    #[must_use]
    pub fn client(&self) -> Option<(&ClientCertificate, &ClientKey)> {
        self.url.as_ref().filter(|url| url.is_https())?;
        Some((self.certificate.as_ref()?, self.key.as_ref()?))
    }
}

/// The HTTP proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxy {
    /// `os.proxy.http`.
    pub http: Option<ProxyUrl>,
    /// `os.proxy.https`.
    pub https: Option<ProxyUrl>,
    /// `os.proxy.noProxy`.
    pub no_proxy: Option<NoProxy>,
}

impl Proxy {
    /// http, https and the exceptions; empty for none.
    #[must_use]
    pub fn values(&self) -> [&str; 3] {
        [
            self.http.as_ref().map_or("", ProxyUrl::as_str),
            self.https.as_ref().map_or("", ProxyUrl::as_str),
            self.no_proxy.as_ref().map_or("", NoProxy::as_str),
        ]
    }
}

/// The hardware watchdog; what is not set is the image's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watchdog {
    /// `os.watchdog.runtime`.
    pub runtime: Option<WatchdogTimeout>,
    /// `os.watchdog.reboot`.
    pub reboot: Option<WatchdogTimeout>,
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
            probes: Probes {
                interval: key(document, "os.network.probe.interval", probe_interval),
                metered_interval: key(document, "os.network.probe.meteredInterval", probe_interval),
                monthly_budget: key(document, "os.network.probe.monthlyBudget", |value| {
                    ProbeBudget::try_from(value).map(Some)
                }),
                repair: boolean("os.network.repair.enabled"),
                repair_after: key(document, "os.network.repair.after", probe_interval),
                repair_reboot: boolean("os.network.repair.reboot"),
            },
            random_scan_address: boolean("os.network.wifi.randomMacAddressScan"),
            timezone: key(document, "os.timezone", timezone),
            journal: JournalLimits::read(document),
            sync_level: key(document, "os.journal.syncLevel", |value| {
                SyncLevel::try_from(value).map(Some)
            }),
            upload: Upload {
                url: key(document, "os.journal.upload.url", collector),
                certificate: key(document, "os.journal.upload.certificate", client_certificate),
                key: key(document, "os.journal.upload.key", client_key),
            },
            parameters: document
                .setting("os.sysctl")
                .map(Parameters::read)
                .unwrap_or_default(),
            proxy: Proxy {
                http: key(document, "os.proxy.http", proxy),
                https: key(document, "os.proxy.https", proxy),
                no_proxy: key(document, "os.proxy.noProxy", NoProxy::read),
            },
            watchdog: Watchdog {
                runtime: key(document, "os.watchdog.runtime", watchdog),
                reboot: key(document, "os.watchdog.reboot", watchdog),
            },
            country: key(document, "country", country),
            root_ca: key(document, "balenaRootCA", root_ca),
            udev_rules: {
                let rules = udev_rules(document.setting("os.udevRules"), is_development(document));
                let mut rules: Vec<UdevRule> = rules.into_iter().filter_map(|(_, rule)| rule.ok()).collect();
                rules.sort_unstable_by(|one, other| one.name.cmp(&other.name));
                rules
            },
            vpn: Vpn::read(document),
        }
    }
}

impl JournalLimits {
    /// The keys, and the names of their values in what is rendered (journald.conf(5), and our own).
    pub const NAMES: [(&'static str, &'static str); 6] = [
        ("os.journal.maxUse", "MaxUse"),
        ("os.journal.keepFree", "KeepFree"),
        ("os.journal.retention", "Retention"),
        ("os.journal.rateLimit.interval", "RateLimitIntervalSec"),
        ("os.journal.rateLimit.burst", "RateLimitBurst"),
        ("os.journal.syncInterval", "SyncIntervalSec"),
    ];

    /// Reads these keys alone.
    #[must_use]
    pub fn read(document: &Document) -> Self {
        fn limit<'d, T: TryFrom<&'d Value>>(document: &'d Document, path: &str) -> Option<T> {
            document.setting(path).and_then(|value| T::try_from(value).ok())
        }
        Self {
            max_use: limit(document, "os.journal.maxUse"),
            keep_free: limit(document, "os.journal.keepFree"),
            retention: limit(document, "os.journal.retention"),
            rate_interval: limit(document, "os.journal.rateLimit.interval"),
            rate_burst: limit(document, "os.journal.rateLimit.burst"),
            sync_interval: limit(document, "os.journal.syncInterval"),
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

fn probe_interval(value: &Value) -> Result<Option<ProbeInterval>, Refusal> {
    ProbeInterval::try_from(value).map(Some)
}

fn response(value: &Value) -> Result<Option<CheckResponse>, Refusal> {
    CheckResponse::try_from(string(value)?).map(Some)
}

fn timezone(value: &Value) -> Result<Option<Timezone>, Refusal> {
    match string(value)?.trim() {
        "" => Ok(None),
        name => Timezone::try_from(name).map(Some),
    }
}

fn proxy(value: &Value) -> Result<Option<ProxyUrl>, Refusal> {
    match string(value)?.trim() {
        "" => Ok(None),
        address => ProxyUrl::try_from(address).map(Some),
    }
}

fn watchdog(value: &Value) -> Result<Option<WatchdogTimeout>, Refusal> {
    WatchdogTimeout::try_from(value).map(Some)
}

fn country(value: &Value) -> Result<Option<Country>, Refusal> {
    match string(value)?.trim() {
        "" => Ok(None),
        code => Country::try_from(code).map(Some),
    }
}

pub(crate) fn root_ca(value: &Value) -> Result<Option<RootCa>, Refusal> {
    match string(value)?.trim() {
        "" => Ok(None),
        encoded => RootCa::try_from(encoded).map(Some),
    }
}

fn collector(value: &Value) -> Result<Option<CollectorUrl>, Refusal> {
    match string(value)?.trim() {
        "" => Ok(None),
        address => CollectorUrl::try_from(address).map(Some),
    }
}

fn client_certificate(value: &Value) -> Result<Option<ClientCertificate>, Refusal> {
    match string(value)?.trim() {
        "" => Ok(None),
        encoded => ClientCertificate::try_from(encoded).map(Some),
    }
}

fn client_key(value: &Value) -> Result<Option<ClientKey>, Refusal> {
    match string(value)?.trim() {
        "" => Ok(None),
        encoded => ClientKey::try_from(encoded).map(Some),
    }
}

pub(crate) fn check_collector(value: &Value) -> Result<(), Refusal> {
    collector(value).map(drop)
}

pub(crate) fn check_client_certificate(value: &Value) -> Result<(), Refusal> {
    client_certificate(value).map(drop)
}

pub(crate) fn check_client_key(value: &Value) -> Result<(), Refusal> {
    client_key(value).map(drop)
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

pub(crate) fn check_probe_interval(value: &Value) -> Result<(), Refusal> {
    ProbeInterval::try_from(value).map(drop)
}

pub(crate) fn check_probe_budget(value: &Value) -> Result<(), Refusal> {
    ProbeBudget::try_from(value).map(drop)
}

pub(crate) fn check_response(value: &Value) -> Result<(), Refusal> {
    response(value).map(drop)
}

pub(crate) fn check_timezone(value: &Value) -> Result<(), Refusal> {
    timezone(value).map(drop)
}

pub(crate) fn check_max_use(value: &Value) -> Result<(), Refusal> {
    MaxUse::try_from(value).map(drop)
}

pub(crate) fn check_keep_free(value: &Value) -> Result<(), Refusal> {
    KeepFree::try_from(value).map(drop)
}

pub(crate) fn check_retention(value: &Value) -> Result<(), Refusal> {
    Retention::try_from(value).map(drop)
}

pub(crate) fn check_rate_interval(value: &Value) -> Result<(), Refusal> {
    RateInterval::try_from(value).map(drop)
}

pub(crate) fn check_rate_burst(value: &Value) -> Result<(), Refusal> {
    RateBurst::try_from(value).map(drop)
}

pub(crate) fn check_sync_interval(value: &Value) -> Result<(), Refusal> {
    SyncInterval::try_from(value).map(drop)
}

pub(crate) fn check_sync_level(value: &Value) -> Result<(), Refusal> {
    SyncLevel::try_from(value).map(drop)
}

/// The object as a whole: its entries are refused one by one.
pub(crate) fn check_sysctl(value: &Value) -> Result<(), Refusal> {
    match value {
        Value::Object(_) => Ok(()),
        other => Err(Refusal::of_type(
            "an object of kernel parameters and numbers",
            other,
        )),
    }
}

pub(crate) fn check_proxy(value: &Value) -> Result<(), Refusal> {
    proxy(value).map(drop)
}

pub(crate) fn check_no_proxy(value: &Value) -> Result<(), Refusal> {
    NoProxy::read(value).map(drop)
}

pub(crate) fn check_watchdog(value: &Value) -> Result<(), Refusal> {
    watchdog(value).map(drop)
}
