//! The plan: the smallest list of actions that makes the device what is wanted.
//!
//! Pure: from what is wanted and what is known to be in force. An action is there only if something differs, so that
//! nothing is touched that is as it should be.

use std::fmt;

use crate::config::{Proxy, Upload, Watchdog};
use crate::keyfile::Keyfile;
use crate::render::File;
use crate::value::{Country, Hostname, Parameters, RootCa, SyncLevel, Timezone, UdevRule};
use crate::wanted::{Vpn, Wanted};

/// One effect on the device.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Writes a file.
    Write(File, String),
    /// Sets the host name.
    SetHostname(Hostname),
    /// Makes NetworkManager's profiles of the boot partition exactly these.
    SetKeyfiles(Vec<Keyfile>),
    /// Makes NetworkManager read its configuration (this text) again.
    ReloadNetworkManager(String),
    /// Makes chrony read its sources (this text) again.
    ReloadTimeSources(String),
    /// Switches the journal.
    SetPersistentLogging(bool),
    /// Switches development mode.
    SetDevelopmentMode(bool),
    /// Makes the link that `/etc/localtime` leads to.
    SetTimezone(Timezone),
    /// Makes the kernel parameters that are set exactly these.
    SetParameters(Parameters),
    /// Sets the proxy in systemd's environment.
    SetProxy(Proxy),
    /// Sets the limits of the hardware watchdog.
    SetWatchdog(Watchdog),
    /// Makes journald read its limits (this text) again.
    ReloadJournalLimits(String),
    /// Makes the journal be synced at once from this priority on.
    SetSyncLevel(SyncLevel),
    /// Uploads the journal there, or nowhere.
    SetUpload(Upload),
    /// Makes the trusted certificates those of the image and these.
    SetRootCa(Option<RootCa>),
    /// Makes udev's rules of ours exactly these; whether development mode allows them more.
    SetUdevRules(Vec<UdevRule>, bool),
    /// Sets the regulatory domain of Wi-Fi.
    SetCountry(Option<Country>),
    /// Brings this VPN up in place of the one from before.
    SetVpn(Vpn),
}

/// What an action is about. Several actions may be about one thing; the first failure decides about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Hostname,
    Keyfiles,
    Network,
    Time,
    Fallback,
    Probes,
    Journal,
    Development,
    Timezone,
    Parameters,
    Proxy,
    Watchdog,
    JournalLimits,
    SyncLevel,
    Upload,
    RootCa,
    UdevRules,
    Country,
    Vpn,
}

/// What is known to be in force. `None`: not known, so it is set.
#[derive(Clone, Default)]
pub(crate) struct Known {
    pub(crate) hostname: Option<Hostname>,
    pub(crate) keyfiles: Option<Vec<Keyfile>>,
    /// What NetworkManager has read.
    pub(crate) network: Option<String>,
    /// What chrony has read.
    pub(crate) time: Option<String>,
    pub(crate) persistent_logging: Option<bool>,
    pub(crate) development_mode: Option<bool>,
    pub(crate) timezone: Option<Timezone>,
    pub(crate) parameters: Option<Parameters>,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) watchdog: Option<Watchdog>,
    /// What journald has read, or cannot read before the next boot.
    pub(crate) journal_limits: Option<String>,
    pub(crate) sync_level: Option<SyncLevel>,
    pub(crate) upload: Option<Upload>,
    pub(crate) root_ca: Option<Option<RootCa>>,
    pub(crate) udev_rules: Option<Vec<UdevRule>>,
    pub(crate) country: Option<Option<Country>>,
    pub(crate) vpn: Option<Vpn>,
}

/// Actions in their order.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) actions: Vec<Action>,
}

impl Plan {
    /// What has to be done. `on_disk` gives the content of a file as it is.
    pub(crate) fn between(wanted: &Wanted, known: &Known, on_disk: impl Fn(File) -> Option<String>) -> Self {
        let mut actions = Vec::new();
        for file in File::ALL {
            let content = file.content(wanted);
            if on_disk(file).as_ref() != Some(&content) {
                actions.push(Action::Write(file, content));
            }
        }
        if known.hostname.as_ref() != Some(&wanted.hostname) {
            actions.push(Action::SetHostname(wanted.hostname.clone()));
        }
        if known.keyfiles.as_ref() != Some(&wanted.keyfiles) {
            actions.push(Action::SetKeyfiles(wanted.keyfiles.clone()));
        }
        let network = File::NetworkManager.content(wanted);
        if known.network.as_ref() != Some(&network) {
            actions.push(Action::ReloadNetworkManager(network));
        }
        let time = File::TimeSources.content(wanted);
        if known.time.as_ref() != Some(&time) {
            actions.push(Action::ReloadTimeSources(time));
        }
        if known.persistent_logging != Some(wanted.persistent_logging) {
            actions.push(Action::SetPersistentLogging(wanted.persistent_logging));
        }
        if known.development_mode != Some(wanted.development_mode) {
            actions.push(Action::SetDevelopmentMode(wanted.development_mode));
        }
        if known.timezone.as_ref() != Some(&wanted.timezone) {
            actions.push(Action::SetTimezone(wanted.timezone.clone()));
        }
        if known.parameters.as_ref() != Some(&wanted.parameters) {
            actions.push(Action::SetParameters(wanted.parameters.clone()));
        }
        if known.proxy.as_ref() != Some(&wanted.proxy) {
            actions.push(Action::SetProxy(wanted.proxy.clone()));
        }
        if known.watchdog != Some(wanted.watchdog) {
            actions.push(Action::SetWatchdog(wanted.watchdog));
        }
        let limits = File::JournalLimits.content(wanted);
        // Written again after somebody removed it, it may still not be what journald has read.
        let is_written = actions
            .iter()
            .any(|action| matches!(action, Action::Write(File::JournalLimits, _)));
        if is_written || known.journal_limits.as_ref() != Some(&limits) {
            actions.push(Action::ReloadJournalLimits(limits));
        }
        if known.sync_level != Some(wanted.sync_level) {
            actions.push(Action::SetSyncLevel(wanted.sync_level));
        }
        if known.root_ca.as_ref() != Some(&wanted.root_ca) {
            actions.push(Action::SetRootCa(wanted.root_ca.clone()));
        }
        if known.udev_rules.as_ref() != Some(&wanted.udev_rules) {
            let rules = wanted.udev_rules.clone();
            actions.push(Action::SetUdevRules(rules, wanted.development_mode));
        }
        if known.country != Some(wanted.country) {
            actions.push(Action::SetCountry(wanted.country));
        }
        if known.vpn.as_ref() != Some(&wanted.vpn) {
            actions.push(Action::SetVpn(wanted.vpn.clone()));
        }
        // Last: whether it gets on takes seconds to see.
        if known.upload.as_ref() != Some(&wanted.upload) {
            actions.push(Action::SetUpload(wanted.upload.clone()));
        }
        Self { actions }
    }

    /// Parts the plan into what has to be there before NetworkManager starts, and what waits on units that may
    /// still be starting, and so must not hold the start up.
    pub(crate) fn split(self) -> (Self, Self) {
        let (early, late) = self.actions.into_iter().partition(Action::is_early);
        (Self { actions: early }, Self { actions: late })
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hostname => "the host name is",
            Self::Keyfiles => "the keyfiles are",
            Self::Network => "NetworkManager's configuration is",
            Self::Time => "the time servers are",
            Self::Fallback => "the fallback resolvers are",
            Self::Probes => "the pace of the connectivity probes, and what may be repaired, are",
            Self::Journal => "persistent logging is",
            Self::Development => "development mode is",
            Self::Timezone => "the time zone is",
            Self::Parameters => "the kernel parameters are",
            Self::Proxy => "the proxy is",
            Self::Watchdog => "the watchdog is",
            Self::JournalLimits => "the limits of the journal are",
            Self::SyncLevel => "the syncing of the journal at errors is",
            Self::Upload => "the upload of the journal is",
            Self::RootCa => "the additional root certificates are",
            Self::UdevRules => "the udev rules are",
            Self::Country => "the country is",
            Self::Vpn => "the VPN is",
        })
    }
}

impl Action {
    const fn is_early(&self) -> bool {
        matches!(
            self,
            Self::Write(..)
                | Self::SetHostname(_)
                | Self::SetKeyfiles(_)
                | Self::SetTimezone(_)
                | Self::SetProxy(_)
                | Self::SetRootCa(_)
        )
    }

    pub(crate) const fn subject(&self) -> Subject {
        match self {
            Self::Write(File::NetworkManager, _) | Self::ReloadNetworkManager(_) => Subject::Network,
            Self::Write(File::TimeSources, _) | Self::ReloadTimeSources(_) => Subject::Time,
            Self::Write(File::Fallback, _) => Subject::Fallback,
            Self::Write(File::Probes, _) => Subject::Probes,
            Self::Write(File::JournalLimits, _) | Self::ReloadJournalLimits(_) => Subject::JournalLimits,
            Self::SetUpload(_) => Subject::Upload,
            Self::Write(File::Proxy, _) | Self::SetProxy(_) => Subject::Proxy,
            Self::SetSyncLevel(_) => Subject::SyncLevel,
            Self::SetTimezone(_) => Subject::Timezone,
            Self::SetParameters(_) => Subject::Parameters,
            Self::SetWatchdog(_) => Subject::Watchdog,
            Self::SetHostname(_) => Subject::Hostname,
            Self::SetKeyfiles(_) => Subject::Keyfiles,
            Self::SetPersistentLogging(_) => Subject::Journal,
            Self::SetDevelopmentMode(_) => Subject::Development,
            Self::SetRootCa(_) => Subject::RootCa,
            Self::SetUdevRules(..) => Subject::UdevRules,
            Self::Write(File::Country, _) | Self::SetCountry(_) => Subject::Country,
            Self::SetVpn(_) => Subject::Vpn,
        }
    }
}

/// One line an action, and the lines of a file indented below it, for tests only: content is never logged.
#[cfg(test)]
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for action in &self.actions {
            match action {
                Action::Write(file, content) => {
                    writeln!(f, "write {}", file.path())?;
                    content
                        .lines()
                        .try_for_each(|line| writeln!(f, "{}", format!("    {line}").trim_end()))?;
                }
                Action::SetHostname(name) => writeln!(f, "set host name {name}")?,
                Action::SetKeyfiles(keyfiles) => {
                    let names: Vec<&str> = keyfiles.iter().map(|keyfile| keyfile.name.as_str()).collect();
                    writeln!(f, "set keyfiles [{}]", names.join(", "))?;
                }
                Action::ReloadNetworkManager(_) => f.write_str("reload NetworkManager\n")?,
                Action::ReloadTimeSources(_) => f.write_str("reload time sources\n")?,
                Action::SetPersistentLogging(on) => writeln!(f, "persistent logging {}", switch(*on))?,
                Action::SetDevelopmentMode(on) => writeln!(f, "development mode {}", switch(*on))?,
                Action::SetTimezone(zone) => writeln!(f, "set time zone {zone}")?,
                Action::SetParameters(parameters) => {
                    writeln!(f, "set kernel parameters {:?}", parameters.as_slice())?;
                }
                Action::SetProxy(proxy) => writeln!(f, "set proxy {:?}", proxy.values())?,
                Action::SetWatchdog(Watchdog { runtime, reboot }) => {
                    let seconds = |limit: &Option<crate::value::WatchdogTimeout>| match limit {
                        Some(limit) => limit.get().to_string(),
                        None => "as before".to_owned(),
                    };
                    writeln!(
                        f,
                        "set watchdog: runtime {}, reboot {}",
                        seconds(runtime),
                        seconds(reboot)
                    )?;
                }
                Action::ReloadJournalLimits(_) => f.write_str("reload limits of the journal\n")?,
                Action::SetSyncLevel(level) => writeln!(f, "sync the journal at {}", level.as_str())?,
                Action::SetUpload(upload) => {
                    let url = upload.url.as_ref().map_or("nowhere", |url| url.as_str());
                    let client = if upload.client().is_some() {
                        " with a certificate"
                    } else {
                        ""
                    };
                    writeln!(f, "upload the journal to {url}{client}")?;
                }
                Action::SetRootCa(ca) => {
                    let count = ca.as_ref().map_or(0, |ca| ca.pem().matches("BEGIN").count());
                    writeln!(f, "set {count} root certificates")?;
                }
                Action::SetUdevRules(rules, development) => {
                    let names: Vec<&str> = rules.iter().map(|rule| rule.name.as_str()).collect();
                    let mode = if *development { " in development mode" } else { "" };
                    writeln!(f, "set udev rules [{}]{mode}", names.join(", "))?;
                }
                Action::SetCountry(country) => {
                    writeln!(f, "set country {}", country.map_or("none", Country::as_str))?;
                }
                Action::SetVpn(vpn) => match vpn {
                    Vpn::None => f.write_str("no VPN\n")?,
                    Vpn::Incomplete(why) => writeln!(f, "VPN as it is: {why}")?,
                    Vpn::OpenVpn { login, .. } if login.expose().is_empty() => {
                        f.write_str("VPN by OpenVPN\n")?
                    }
                    Vpn::OpenVpn { .. } => f.write_str("VPN by OpenVPN with a login\n")?,
                    Vpn::WireGuard(_) => f.write_str("VPN by WireGuard\n")?,
                },
            }
        }
        Ok(())
    }
}

#[cfg(test)]
const fn switch(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

#[cfg(test)]
mod tests;
