//! What became of the actions: per subject, what the report says of the keys that rest on it.

use fleet_base::proxy::network_manager::ConnectivityCheck;

use crate::plan::Subject;
use crate::value::Hostname;

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
    /// Tried and failed, why.
    Failed(String),
    /// Nothing here can do it, why.
    Unsupported(&'static str),
}

/// A certificate that the device trusts.
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
    pub(crate) journal: Effect,
    pub(crate) development: Effect,
    pub(crate) root_ca: Effect,
    pub(crate) udev_rules: Effect,
    pub(crate) country: Effect,
    /// The host name that was read back.
    pub(crate) hostname_in_force: Option<Hostname>,
    /// What was read back of the connectivity check; `None` while NetworkManager does not run.
    pub(crate) check_in_force: Option<ConnectivityCheck>,
    /// The names of the keyfiles that NetworkManager itself refused, and why.
    pub(crate) keyfiles_refused: Vec<(String, &'static str)>,
    /// The additional certificates that are trusted.
    pub(crate) trusted: Vec<Trusted>,
    /// The names of the rule files that udev itself refused, and why.
    pub(crate) udev_rules_refused: Vec<(String, String)>,
    /// The regulatory domain that was read back; `None` without a radio.
    pub(crate) country_in_force: Option<String>,
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
            &self.journal,
            &self.development,
            &self.root_ca,
            &self.udev_rules,
            &self.country,
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
            Subject::Journal => &mut self.journal,
            Subject::Development => &mut self.development,
            Subject::RootCa => &mut self.root_ca,
            Subject::UdevRules => &mut self.udev_rules,
            Subject::Country => &mut self.country,
        }
    }
}
