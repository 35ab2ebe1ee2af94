//! What the device is to be: the configuration, with the product's defaults where it says nothing.

use std::net::IpAddr;

use crate::config::{CheckTarget, Config, Probes as Asked, Proxy, Upload, Watchdog};
use crate::defaults::Defaults;
use crate::journal_settings::JournalSettings;
use crate::keyfile::Keyfile;
use crate::value::{
    CheckResponse, CheckUri, Country, Hostname, NameServers, Parameters, ProbeBudget, ProbeInterval, RootCa,
    Seconds, SyncLevel, TimeServer, Timezone, UdevRule, Uuid,
};

mod vpn;

pub(crate) use vpn::{PROFILE, PROFILE_UUID, Vpn};

/// The whole state that is asked for. Nothing in it is optional that the device cannot do without.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) hostname: Hostname,
    pub(crate) time: Time,
    pub(crate) dns: Dns,
    pub(crate) check: Check,
    pub(crate) probes: Probes,
    /// `None`: as NetworkManager has it by itself.
    pub(crate) random_scan_address: Option<bool>,
    pub(crate) persistent_logging: bool,
    pub(crate) development_mode: bool,
    pub(crate) timezone: Timezone,
    pub(crate) journal: JournalSettings,
    pub(crate) sync_level: SyncLevel,
    pub(crate) upload: Upload,
    pub(crate) parameters: Parameters,
    pub(crate) proxy: Proxy,
    pub(crate) watchdog: Watchdog,
    pub(crate) keyfiles: Vec<Keyfile>,
    /// `None`: the world domain.
    pub(crate) country: Option<Country>,
    /// `None`: the authorities of the image only.
    pub(crate) root_ca: Option<RootCa>,
    /// In the order of their names.
    pub(crate) udev_rules: Vec<UdevRule>,
    pub(crate) vpn: Vpn,
}

/// Time sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Time {
    /// These servers and nothing else; may be none.
    Servers(Vec<TimeServer>),
    /// The product's pools.
    Pools(Vec<TimeServer>),
}

/// Resolvers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dns {
    /// In place of what leases say; empty: leases decide.
    pub(crate) servers: Vec<IpAddr>,
    /// For when none of the others answers; empty: no fallback.
    pub(crate) fallback: Vec<IpAddr>,
}

/// NetworkManager's connectivity check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    Off,
    On {
        uri: CheckUri,
        interval: Seconds,
        response: CheckResponse,
    },
}

/// How `fleet-watch` probes, and what it may repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Probes {
    /// Seconds.
    pub(crate) interval: u32,
    /// Seconds.
    pub(crate) metered_interval: u32,
    /// Bytes.
    pub(crate) monthly_budget: u32,
    pub(crate) repair: bool,
    /// Seconds.
    pub(crate) repair_after: u32,
    pub(crate) repair_reboot: bool,
}

impl Probes {
    /// What is asked for, completed: an hour is 720 rounds a month, half a megabyte; twice that is for faults.
    fn new(asked: Asked) -> Self {
        Self {
            interval: asked.interval.map_or(300, ProbeInterval::get),
            metered_interval: asked.metered_interval.map_or(3600, ProbeInterval::get),
            monthly_budget: asked.monthly_budget.map_or(1_200_000, ProbeBudget::get),
            repair: asked.repair.unwrap_or(true),
            repair_after: asked.repair_after.map_or(180, ProbeInterval::get),
            repair_reboot: asked.repair_reboot.unwrap_or(false),
        }
    }
}

/// What NetworkManager itself takes as the interval (NetworkManager.conf(5)).
const CHECK_INTERVAL: u64 = 300;

impl Wanted {
    /// Completes a configuration. `None` only if no host name can be made of the identity, which its type excludes.
    pub(crate) fn new(
        config: Config,
        defaults: &Defaults,
        identity: &Uuid,
        keyfiles: Vec<Keyfile>,
    ) -> Option<Self> {
        let hostname = match config.hostname {
            Some(hostname) => hostname,
            None => Hostname::try_from(identity.short().as_str()).ok()?,
        };
        let time = match config.time_servers {
            Some(servers) => Time::Servers(servers.0),
            None => Time::Pools(defaults.pools.clone()),
        };
        let dns = match config.name_servers {
            Some(NameServers::NoFallback) => Dns {
                servers: Vec::new(),
                fallback: Vec::new(),
            },
            Some(NameServers::Servers(servers)) => Dns {
                servers,
                fallback: defaults.fallback.clone(),
            },
            None => Dns {
                servers: Vec::new(),
                fallback: defaults.fallback.clone(),
            },
        };
        // Where only our probes are given a pace, NetworkManager's check has the same.
        let paced = config.probes.interval.map(|interval| u64::from(interval.get()));
        let paced = paced.and_then(|interval| Seconds::try_from(interval).ok());
        let interval = config.check_interval.or(paced).or(defaults.check_interval);
        let interval = interval.or_else(|| Seconds::try_from(CHECK_INTERVAL).ok())?;
        let check = match config.check_uri.or_else(|| defaults.check_uri.clone()) {
            Some(CheckTarget::At(uri)) if interval.get() > 0 => Check::On {
                uri,
                interval,
                response: config
                    .check_response
                    .or_else(|| defaults.check_response.clone())
                    .unwrap_or_default(),
            },
            _ => Check::Off,
        };
        let vpn = Vpn::new(&config.vpn, identity);
        Some(
            Self {
                hostname,
                time,
                dns,
                check,
                probes: Probes::new(config.probes.or(defaults.probes)),
                random_scan_address: config.random_scan_address,
                persistent_logging: config.persistent_logging.unwrap_or(false),
                development_mode: config.development_mode.unwrap_or(false),
                timezone: config
                    .timezone
                    .or_else(|| defaults.timezone.clone())
                    .unwrap_or_else(Timezone::utc),
                journal: JournalSettings::new(&config.journal, &defaults.journal),
                sync_level: config.sync_level.or(defaults.sync_level).unwrap_or_default(),
                upload: config.upload,
                parameters: config.parameters,
                proxy: Proxy {
                    http: config.proxy.http.or_else(|| defaults.proxy.http.clone()),
                    https: config.proxy.https.or_else(|| defaults.proxy.https.clone()),
                    no_proxy: config.proxy.no_proxy.or_else(|| defaults.proxy.no_proxy.clone()),
                },
                watchdog: Watchdog {
                    runtime: config.watchdog.runtime.or(defaults.watchdog.runtime),
                    reboot: config.watchdog.reboot.or(defaults.watchdog.reboot),
                },
                keyfiles,
                country: config.country,
                root_ca: config.root_ca,
                udev_rules: config.udev_rules,
                vpn: Vpn::None,
            }
            .with_vpn(vpn),
        )
    }

    /// The same with this VPN, whose profile is one of the keyfiles. One of the boot partition with its name gives way.
    pub(crate) fn with_vpn(mut self, vpn: Vpn) -> Self {
        self.keyfiles.retain(|keyfile| keyfile.name != PROFILE);
        self.keyfiles.extend(vpn.keyfile());
        self.vpn = vpn;
        self
    }
}
