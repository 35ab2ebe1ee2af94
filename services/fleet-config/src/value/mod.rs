//! The values that keys hold, each a type that is valid by construction.
//!
//! A value that reaches a file or a call has passed through one of these, so that nothing downstream checks or
//! escapes again.

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;

use crate::strict::kind;

mod authority;
mod base64;
mod check_uri;
mod country;
mod hostname;
mod journal;
pub(crate) mod openvpn;
mod primitive;
mod probe;
mod profiles;
mod proxy;
mod root_ca;
mod server;
mod ssh_key;
pub(crate) mod sysctl;
pub(crate) mod timezone;
mod udev_rules;
mod upload;
mod uuid;
pub(crate) mod vpn;
mod watchdog;

pub(crate) use base64::decode as decode_base64;
pub use check_uri::{CheckResponse, CheckUri};
pub use country::Country;
pub use hostname::Hostname;
pub use journal::{KeepFree, MaxUse, RateBurst, RateInterval, Retention, SyncInterval, SyncLevel};
pub use openvpn::OpenVpnConfig;
pub use primitive::{Seconds, boolean};
pub use probe::{ProbeBudget, ProbeInterval};
pub(crate) use profiles::check_profiles;
pub use proxy::{NoProxy, ProxyUrl};
pub use root_ca::RootCa;
pub use server::{NameServers, TimeServer, TimeServers};
pub use ssh_key::SshKey;
pub use sysctl::Parameters;
pub use timezone::Timezone;
pub use udev_rules::{NamedRule, UdevRule, udev_rules};
pub use upload::{ClientCertificate, ClientKey, CollectorUrl};
pub use uuid::Uuid;
pub use vpn::{Peer, VpnKind};
pub(crate) use vpn::{
    check_addresses, check_dns, check_key, check_mtu, check_openvpn_config, check_peers, check_secret_line,
    check_type,
};
pub use watchdog::WatchdogTimeout;

/// The word that balenaOS takes, as a string, for "none at all".
pub(crate) const NONE: &str = "null";

/// Why a value is not accepted.
///
/// It names the rule. It repeats the input only where that cannot be a secret put in the wrong place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Another JSON type was expected.
    Type {
        /// What was expected.
        expected: &'static str,
        /// What was there.
        found: &'static str,
    },
    /// The text breaks a rule.
    Rule {
        /// The text, shortened; `None` where it is not repeated.
        input: Option<String>,
        /// The rule.
        rule: Cow<'static, str>,
    },
    /// The rule is that of a file of its own, and this is the sentence about it.
    Problem(String),
}

impl Refusal {
    /// Another JSON type was expected.
    pub(crate) const fn of_type(expected: &'static str, found: &Value) -> Self {
        Self::Type {
            expected,
            found: kind(found),
        }
    }

    /// A rule is broken by this input.
    pub(crate) fn of(input: &str, rule: impl Into<Cow<'static, str>>) -> Self {
        let mut short: String = input.chars().take(48).collect();
        if short.len() < input.len() {
            short.push('…');
        }
        Self::Rule {
            input: Some(short),
            rule: rule.into(),
        }
    }

    /// A rule is broken by input that is not repeated, and the rule says where.
    pub(crate) const fn unnamed_owned(rule: String) -> Self {
        Self::Rule {
            input: None,
            rule: Cow::Owned(rule),
        }
    }

    /// A rule is broken by input that is not repeated.
    pub(crate) const fn unnamed(rule: &'static str) -> Self {
        Self::Rule {
            input: None,
            rule: Cow::Borrowed(rule),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type { expected, found } => write!(f, "{expected} was expected, not {found}"),
            Self::Rule {
                input: Some(input),
                rule,
            } => write!(f, "\"{}\": {rule}", input.escape_debug()),
            Self::Rule { input: None, rule } => f.write_str(rule),
            Self::Problem(problem) => f.write_str(problem),
        }
    }
}

impl std::error::Error for Refusal {}

/// The words of a list that may be written as one string with spaces or as an array of strings.
pub(crate) fn words(value: &Value) -> Result<Vec<&str>, Refusal> {
    const EXPECTED: &str = "a string with spaces between the entries, or an array of strings,";
    match value {
        Value::String(text) => Ok(text.split_ascii_whitespace().collect()),
        Value::Array(entries) => {
            let text = |entry: &'_ Value| match entry {
                Value::String(_) => Ok(()),
                other => Err(Refusal::of_type("a string in the array", other)),
            };
            entries.iter().try_for_each(text)?;
            let texts = entries.iter().filter_map(Value::as_str);
            Ok(texts.flat_map(str::split_ascii_whitespace).collect())
        }
        other => Err(Refusal::of_type(EXPECTED, other)),
    }
}
