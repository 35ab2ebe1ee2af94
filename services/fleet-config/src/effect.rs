//! What became of the actions: per subject, what the report says of the keys that rest on it.

use fleet_base::proxy::network_manager::InForce;

use crate::plan::Subject;
use crate::value::{Hostname, SyncLevel, Timezone};

/// What became of a subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing was tried yet.
    #[default]
    Untried,
    /// In force.
    Done,
    /// Prepared; somebody takes it when he starts, who.
    Waiting(&'static str),
    /// Prepared; in force from the next boot on, why.
    Pending(&'static str),
    /// Tried and failed, why.
    Failed(String),
    /// Nothing here can do it, why.
    Unsupported(&'static str),
}

/// A certificate that the device trusts, or left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trusted {
    pub(crate) subject: String,
    /// Seconds since 1970.
    pub(crate) expires: i64,
}

/// All of it. What is not touched by an apply stays as it was.
#[derive(Clone, Debug, Default)]
pub(crate) struct Effects {
    pub(crate) hostname: Effect,
    pub(crate) keyfiles: Effect,
    pub(crate) network: Effect,
    pub(crate) time: Effect,
    pub(crate) fallback: Effect,
    pub(crate) probes: Effect,
    pub(crate) journal: Effect,
    pub(crate) development: Effect,
    pub(crate) timezone: Effect,
    pub(crate) parameters: Effect,
    pub(crate) proxy: Effect,
    pub(crate) watchdog: Effect,
    pub(crate) journal_limits: Effect,
    pub(crate) sync_level: Effect,
    pub(crate) upload: Effect,
    pub(crate) root_ca: Effect,
    pub(crate) udev_rules: Effect,
    pub(crate) country: Effect,
    pub(crate) vpn: Effect,
    /// The host name that was read back.
    pub(crate) hostname_in_force: Option<Hostname>,
    /// What was read back of the connectivity check and the resolvers; `None` while NetworkManager does not run.
    pub(crate) network_in_force: Option<InForce>,
    /// Whether the DNS fallback was in use then, in the place of all other resolvers.
    pub(crate) dns_fallback: bool,
    /// The time sources that chronyd says it has; `None` while it does not run.
    pub(crate) time_in_force: Option<Vec<String>>,
    /// The names of the keyfiles that NetworkManager itself refused, and why.
    pub(crate) keyfiles_refused: Vec<(String, &'static str)>,
    /// The time zone that the link leads to.
    pub(crate) timezone_in_force: Option<Timezone>,
    /// What was read back of the kernel parameters that were set.
    pub(crate) parameters_in_force: Option<Vec<(String, i64)>>,
    /// http, https and the exceptions, as systemd has them in its environment; empty for none.
    pub(crate) proxy_in_force: Option<[String; 3]>,
    /// What systemd says of the hardware watchdog.
    pub(crate) watchdog_in_force: Option<WatchdogInForce>,
    /// What journald has read.
    pub(crate) limits_in_force: Option<String>,
    /// From which priority on the journal is synced at once, as systemd says of what does it.
    pub(crate) sync_level_in_force: Option<SyncLevel>,
    /// Why the collector does not take the journal; empty if it does, or nothing is known against it.
    pub(crate) upload_reason: String,
    /// The additional certificates that are trusted.
    pub(crate) trusted: Vec<Trusted>,
    /// Those that stand next to them and expired.
    pub(crate) left_out: Vec<Trusted>,
    /// The names of the rule files that udev itself refused, and why.
    pub(crate) udev_rules_refused: Vec<(String, String)>,
    /// The regulatory domain that was read back; `None` without a radio.
    pub(crate) country_in_force: Option<String>,
}

/// What systemd says of the hardware watchdog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WatchdogInForce {
    /// Seconds.
    pub(crate) runtime: u64,
    /// Seconds.
    pub(crate) reboot: u64,
    /// Whether it has a device open.
    pub(crate) device: bool,
}

impl Effects {
    /// Whether something was tried and failed, so that it is worth trying again.
    pub(crate) fn any_failed(&self) -> bool {
        [
            &self.hostname,
            &self.keyfiles,
            &self.network,
            &self.time,
            &self.fallback,
            &self.probes,
            &self.journal,
            &self.development,
            &self.timezone,
            &self.parameters,
            &self.proxy,
            &self.watchdog,
            &self.journal_limits,
            &self.sync_level,
            &self.upload,
            &self.root_ca,
            &self.udev_rules,
            &self.country,
            &self.vpn,
        ]
        .into_iter()
        .any(|effect| matches!(effect, Effect::Failed(_)))
    }

    /// The effect on a subject.
    pub(crate) const fn of(&mut self, subject: Subject) -> &mut Effect {
        match subject {
            Subject::Hostname => &mut self.hostname,
            Subject::Keyfiles => &mut self.keyfiles,
            Subject::Network => &mut self.network,
            Subject::Time => &mut self.time,
            Subject::Fallback => &mut self.fallback,
            Subject::Probes => &mut self.probes,
            Subject::Journal => &mut self.journal,
            Subject::Development => &mut self.development,
            Subject::Timezone => &mut self.timezone,
            Subject::Parameters => &mut self.parameters,
            Subject::Proxy => &mut self.proxy,
            Subject::Watchdog => &mut self.watchdog,
            Subject::JournalLimits => &mut self.journal_limits,
            Subject::SyncLevel => &mut self.sync_level,
            Subject::Upload => &mut self.upload,
            Subject::RootCa => &mut self.root_ca,
            Subject::UdevRules => &mut self.udev_rules,
            Subject::Country => &mut self.country,
            Subject::Vpn => &mut self.vpn,
        }
    }
}
