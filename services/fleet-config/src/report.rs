//! The report: what became of every key.
//!
//! Pure: from what was found in the document, what is wanted and what the actions did.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::config::Config;
use crate::document::Document;
use crate::effect::{Effect, Effects};
use crate::finding::{Finding, Verdict, inspect};
use crate::key::{self, Class};
use crate::keyfile::{Folder, MAX_FILES, stem};
use crate::strict::SyntaxError;
use crate::value::{NameServers, SshKey, UdevRule, Uuid};
use crate::wanted::{Check, Time, Wanted};

/// Who else says what NetworkManager does.
const OVERRIDDEN: &str =
    "another of its configuration files overrides this one (NetworkManager --print-config)";

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// In force, or prepared for the moment in which its reader starts.
    Applied,
    /// In force from the next boot on.
    PendingReboot,
    /// It breaks its rule, or it was tried and failed.
    Refused,
    /// Kept, without an effect of ours.
    Unsupported,
}

impl State {
    /// The word that is published.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::PendingReboot => "pending-reboot",
            Self::Refused => "refused",
            Self::Unsupported => "unsupported",
        }
    }
}

/// One key of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// Dotted path; `os.sshKeys[1]` for an entry, `system-connections/NAME` for a keyfile.
    pub key: String,
    /// What became of it.
    pub state: State,
    /// The value in force as JSON text; empty if there is none or it is not known, `"…"` for a secret.
    pub value: String,
    /// Why, as a sentence; empty if there is nothing to say.
    pub detail: String,
}

/// What a document is, judged without a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What is wrong with it as a whole; nothing of it is accepted then.
    pub problem: Option<SyntaxError>,
    /// Each key of it, in its order. `value` is the document's own where it is good.
    pub rows: Vec<KeyRow>,
}

impl Checked {
    /// Whether a device would accept all of it.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.problem.is_none() && self.rows.iter().all(|row| row.state != State::Refused)
    }
}

/// Judges a document as a device would, without one. Nothing is read but `bytes`.
#[must_use]
pub fn check(bytes: &[u8]) -> Checked {
    match Document::parse(bytes) {
        Ok(document) => Checked {
            problem: None,
            rows: check_document(&document, None),
        },
        Err(problem) => Checked {
            problem: Some(problem),
            rows: Vec::new(),
        },
    }
}

/// The same for a device with this identity.
pub(crate) fn check_document(document: &Document, identity: Option<&Uuid>) -> Vec<KeyRow> {
    let row = |finding: &Finding| {
        let value = match finding.path.to_string().as_str() {
            _ if finding.verdict != Verdict::Good => None,
            "os.sshKeys" => Some(ssh_keys(&Config::read(document).ssh_keys)),
            "os.sysctl" => Some(parameters(Config::read(document).parameters.as_slice())),
            "os.udevRules" => Some(udev_rules(&Config::read(document).udev_rules, &[])),
            ROOT_CA => None,
            _ => document.shown(&finding.path),
        };
        let value = value.map(|value| value.to_string()).unwrap_or_default();
        let form_only = finding.verdict == Verdict::Good && finding.path.to_string() == ROOT_CA;
        judged(
            finding,
            Outcome {
                state: State::Applied,
                value,
                detail: if form_only { FORM_ONLY } else { "" }.to_owned(),
            },
        )
    };
    inspect(document, identity).iter().map(row).collect()
}

fn ssh_keys(keys: &[SshKey]) -> Value {
    keys.iter().map(ToString::to_string).collect()
}

fn parameters(parameters: &[(&'static str, i64)]) -> Value {
    let entry = |(name, value): &(&'static str, i64)| ((*name).to_owned(), json!(value));
    Value::Object(parameters.iter().map(entry).collect())
}

/// The names of the rule files that are in force.
fn udev_rules(rules: &[UdevRule], refused: &[(String, String)]) -> Value {
    let names = rules.iter().map(|rule| rule.name.as_str());
    names
        .filter(|name| refused.iter().all(|(other, _)| other != name))
        .collect()
}

const ROOT_CA: &str = "balenaRootCA";
/// What is said of it where there is no device.
const FORM_ONLY: &str = "its form is good (base64, PEM); only a device looks into the certificates";

/// What `"null"` says of the fallback.
const NO_FALLBACK: &str = "there is no fallback";
/// What NetworkManager has then is neither what is wanted nor somebody else's doing.
const FALLBACK_IN_USE: &str = "when this was applied no configured resolver answered, and the fallback was in use (fleet connectivity says whether it is)";

mod system;

/// What the report says of a key whose value is good.
struct Outcome {
    state: State,
    value: String,
    detail: String,
}

/// Everything the report is made of.
pub(crate) struct Situation<'a> {
    /// What was found in the document on the boot partition.
    pub(crate) findings: &'a [Finding],
    /// The configuration that holds.
    pub(crate) accepted: &'a Document,
    /// The same, as values.
    pub(crate) config: &'a Config,
    pub(crate) wanted: &'a Wanted,
    pub(crate) effects: &'a Effects,
    pub(crate) identity: &'a Uuid,
    pub(crate) keyfiles: &'a Folder,
    /// While the configuration cannot be stored: why, and the keys that sshd has, which reads the store.
    pub(crate) unstored: Option<(&'a str, Vec<SshKey>)>,
}

impl Situation<'_> {
    /// The report: the keys of the document in its order, the applied keys that it does not name, the keyfiles.
    pub(crate) fn report(&self) -> Vec<KeyRow> {
        let mut rows: Vec<KeyRow> = self
            .findings
            .iter()
            .map(|finding| judged(finding, self.outcome(&finding.path.to_string())))
            .collect();
        for key in key::TABLE
            .iter()
            .filter(|key| matches!(key.class, Class::Applied | Class::Identity))
        {
            if rows.iter().all(|row| row.key != key.path) {
                rows.push(self.not_set(key.path));
            }
        }
        rows.extend(self.udev_rows());
        rows.extend(self.keyfile_rows());
        rows
    }

    /// An applied key that the document on the boot partition does not name: its default is in force, or the value
    /// from before the object around it was refused.
    fn not_set(&self, key: &str) -> KeyRow {
        let mut outcome = self.outcome(key);
        if outcome.detail.is_empty() {
            let detail = match key {
                "uuid" => "not set; the device keeps its own",
                key if self.accepted.setting(key).is_some() => "from the last accepted configuration",
                _ => "not set; this is the default",
            };
            detail.clone_into(&mut outcome.detail);
        }
        KeyRow {
            key: key.to_owned(),
            state: outcome.state,
            value: outcome.value,
            detail: outcome.detail,
        }
    }

    fn outcome(&self, key: &str) -> Outcome {
        let failed = |detail: String, value| Outcome {
            state: State::Refused,
            value,
            detail,
        };
        let value = self
            .in_force(key)
            .map(|value| value.to_string())
            .unwrap_or_default();
        for effect in self.effects_of(key) {
            match effect {
                Effect::Failed(reason) => return failed(reason.clone(), self.read_back(key)),
                Effect::Waiting(who) => {
                    return Outcome {
                        state: State::Applied,
                        value,
                        detail: match self.left_out(key) {
                            Some(left_out) => format!("{who}; {left_out}"),
                            None => (*who).to_owned(),
                        },
                    };
                }
                Effect::Pending(why) => {
                    return Outcome {
                        state: State::PendingReboot,
                        value,
                        detail: (*why).to_owned(),
                    };
                }
                Effect::Unsupported(why) => {
                    return Outcome {
                        state: State::Unsupported,
                        value: String::new(),
                        detail: (*why).to_owned(),
                    };
                }
                Effect::Done | Effect::Untried => {}
            }
        }
        if let Some((why, keys)) = &self.unstored
            && key == "os.sshKeys"
            && *keys != self.config.ssh_keys
        {
            return failed((*why).to_owned(), ssh_keys(keys).to_string());
        }
        if let Some(detail) = self.without_device(key) {
            return Outcome {
                state: State::Unsupported,
                value,
                detail: detail.to_owned(),
            };
        }
        let no_fallback =
            key == "dnsServers" && matches!(self.config.name_servers, Some(NameServers::NoFallback));
        match self.overridden(key) {
            Some(reason) => failed(reason, self.read_back(key)),
            None => Outcome {
                state: State::Applied,
                value,
                detail: match self.left_out(key) {
                    Some(left_out) => left_out,
                    None if no_fallback => NO_FALLBACK.to_owned(),
                    None if key == "dnsServers" && self.effects.dns_fallback => FALLBACK_IN_USE.to_owned(),
                    None => self.remark(key).to_owned(),
                },
            },
        }
    }

    fn effects_of(&self, key: &str) -> Vec<&Effect> {
        let effects = self.effects;
        match key {
            "hostname" => vec![&effects.hostname],
            "persistentLogging" => vec![&effects.journal],
            "developmentMode" => vec![&effects.development],
            "ntpServers" => vec![&effects.time],
            "dnsServers" => vec![&effects.network, &effects.fallback],
            "country" => vec![&effects.country],
            key if self.is_of_the_vpn(key) => vec![&effects.vpn],
            ROOT_CA => vec![&effects.root_ca],
            "os.udevRules" => vec![&effects.udev_rules],
            key if key.starts_with("os.network.probe.") || key.starts_with("os.network.repair.") => {
                vec![&effects.probes]
            }
            key if key.starts_with("os.network.") => vec![&effects.network],
            key => self.effect_on_system(key).into_iter().collect(),
        }
    }

    /// What is in force when nothing failed.
    fn in_force(&self, key: &str) -> Option<Value> {
        let wanted = self.wanted;
        let texts = |texts: Vec<String>| Some(Value::from(texts));
        match key {
            "hostname" => Some(json!(self.wanted.hostname.as_str())),
            "uuid" => Some(json!(self.identity.to_string())),
            "persistentLogging" => Some(json!(wanted.persistent_logging)),
            "developmentMode" => Some(json!(wanted.development_mode)),
            "ntpServers" => {
                let (Time::Servers(sources) | Time::Pools(sources)) = &wanted.time;
                texts(sources.iter().map(ToString::to_string).collect())
            }
            "dnsServers" if wanted.dns.servers.is_empty() && wanted.dns.fallback.is_empty() => {
                Some(json!("null"))
            }
            "dnsServers" => texts(wanted.dns.servers.iter().map(ToString::to_string).collect()),
            "os.sshKeys" => Some(ssh_keys(&self.config.ssh_keys)),
            "os.udevRules" => Some(udev_rules(&wanted.udev_rules, &self.effects.udev_rules_refused)),
            "country" => wanted.country.map(|country| json!(country.as_str())),
            ROOT_CA => self.trusted(),
            "os.network.probe.interval" => Some(json!(wanted.probes.interval)),
            "os.network.probe.meteredInterval" => Some(json!(wanted.probes.metered_interval)),
            "os.network.probe.monthlyBudget" => Some(json!(wanted.probes.monthly_budget)),
            "os.network.repair.enabled" => Some(json!(wanted.probes.repair)),
            "os.network.repair.after" => Some(json!(wanted.probes.repair_after)),
            "os.network.repair.reboot" => Some(json!(wanted.probes.repair_reboot)),
            key if !key.starts_with("os.network.") => self.system_in_force(key),
            // NetworkManager does not say.
            "os.network.wifi.randomMacAddressScan" => wanted.random_scan_address.map(|random| json!(random)),
            key => match (&wanted.check, key.strip_prefix("os.network.connectivity.")?) {
                (Check::Off, "uri") => Some(json!("null")),
                (Check::Off, "interval") => Some(json!(0)),
                (Check::On { uri, .. }, "uri") => Some(json!(uri.as_str())),
                (Check::On { interval, .. }, "interval") => Some(json!(interval.get())),
                (Check::On { response, .. }, "response") => Some(json!(response.as_str())),
                _ => None,
            },
        }
    }

    /// What is in force although something else is wanted, where that can be asked.
    fn read_back(&self, key: &str) -> String {
        let value = match key {
            "hostname" => self
                .effects
                .hostname_in_force
                .as_ref()
                .map(|name| json!(name.as_str())),
            "country" => self
                .effects
                .country_in_force
                .as_ref()
                .map(|country| json!(country)),
            ROOT_CA => self.trusted(),
            "os.network.connectivity.uri" => self.effects.network_in_force.as_ref().map(|network| {
                if network.check_enabled {
                    json!(network.check_uri)
                } else {
                    json!("null")
                }
            }),
            "dnsServers" => {
                let network = self.effects.network_in_force.as_ref();
                network.map(|network| json!(network.resolvers))
            }
            "ntpServers" => self.effects.time_in_force.as_ref().map(|names| json!(names)),
            key => self.system_read_back(key),
        };
        value.map(|value| value.to_string()).unwrap_or_default()
    }

    /// The subjects of the certificates that expired while others did not, as a sentence; or why a collector does not take
    /// the journal.
    fn left_out(&self, key: &str) -> Option<String> {
        if key == "os.journal.upload.url" && !self.effects.upload_reason.is_empty() {
            return Some(self.effects.upload_reason.clone());
        }
        let expired = self.effects.left_out.iter();
        let subjects: Vec<String> = expired
            .map(|expired| format!("\"{}\"", expired.subject))
            .collect();
        (key == ROOT_CA && !subjects.is_empty()).then(|| format!("left out: expired {}", subjects.join(", ")))
    }

    /// The subjects of the additional certificates that are trusted.
    fn trusted(&self) -> Option<Value> {
        let trusted = &self.effects.trusted;
        (!trusted.is_empty()).then(|| trusted.iter().map(|trusted| trusted.subject.as_str()).collect())
    }

    /// The rule files that keep our rules and that udev refused all the same.
    fn udev_rows(&self) -> Vec<KeyRow> {
        let refused = self.effects.udev_rules_refused.iter();
        refused
            .map(|(name, reason)| KeyRow {
                key: format!("os.udevRules[{name:?}]"),
                state: State::Refused,
                value: String::new(),
                detail: reason.clone(),
            })
            .collect()
    }

    /// Why the owner of the thing does otherwise than he was told, from what was read back of him.
    fn overridden(&self, key: &str) -> Option<String> {
        match key {
            "ntpServers" => self.unused_time_sources(),
            // fleet-watch looks after it.
            "dnsServers" if self.effects.dns_fallback => None,
            "dnsServers" => {
                let in_force = &self.effects.network_in_force.as_ref()?.resolvers;
                let wanted = &self.wanted.dns.servers;
                let same = in_force.len() == wanted.len()
                    && in_force
                        .iter()
                        .zip(wanted)
                        .all(|(in_force, wanted)| is_address(in_force, wanted));
                (!same).then(|| format!("NetworkManager uses other resolvers: {OVERRIDDEN}"))
            }
            key => {
                key.strip_prefix("os.network.connectivity.")?;
                let in_force = self.effects.network_in_force.as_ref()?;
                match &self.wanted.check {
                    Check::Off if in_force.check_enabled => {
                        Some(format!("NetworkManager still checks: {OVERRIDDEN}"))
                    }
                    Check::On { .. } if !in_force.check_enabled => {
                        Some(format!("NetworkManager does not check: {OVERRIDDEN}"))
                    }
                    Check::On { uri, .. } if in_force.check_uri != uri.as_str() => {
                        Some(format!("NetworkManager asks another address: {OVERRIDDEN}"))
                    }
                    Check::On { .. } | Check::Off => None,
                }
            }
        }
    }

    /// The time sources that chronyd was told and does not have.
    fn unused_time_sources(&self) -> Option<String> {
        let in_force = self.effects.time_in_force.as_ref()?;
        let (Time::Servers(wanted) | Time::Pools(wanted)) = &self.wanted.time;
        let unused: Vec<String> = wanted
            .iter()
            .map(ToString::to_string)
            .filter(|wanted| {
                let is_wanted = |name: &String| match wanted.parse() {
                    Ok(address) => is_address(name, &address),
                    Err(_) => name.eq_ignore_ascii_case(wanted),
                };
                !in_force.iter().any(is_wanted)
            })
            .collect();
        (!unused.is_empty()).then(|| {
            format!(
                "chronyd does not use {}; what it uses, `chronyc sources -a` says",
                unused.join(", ")
            )
        })
    }

    fn keyfile_rows(&self) -> Vec<KeyRow> {
        let row = |file: &str, state, detail: String| KeyRow {
            key: format!("system-connections/{}", file.escape_debug()),
            state,
            value: String::new(),
            detail,
        };
        let all = &self.keyfiles.refused;
        let more = all.len().saturating_sub(MAX_FILES);
        let unnamed = (more > 0).then(|| KeyRow {
            key: "system-connections".to_owned(),
            state: State::Refused,
            value: String::new(),
            detail: format!("{more} more files are refused"),
        });
        let refused = all.iter().take(MAX_FILES).map(|(file, refusal)| {
            let kept = if self.keyfiles.good.contains_key(stem(file)) {
                "; the last good one stays"
            } else {
                ""
            };
            row(file, State::Refused, format!("{refusal}{kept}"))
        });
        let good = self.keyfiles.good.values();
        let good = good
            .filter(|keyfile| !self.keyfiles.refused.contains_key(&keyfile.file))
            .map(|keyfile| {
                let mut refused = self.effects.keyfiles_refused.iter();
                let refused = refused.find(|(name, _)| *name == keyfile.name);
                match (&self.effects.keyfiles, refused) {
                    (Effect::Failed(reason), _) => row(&keyfile.file, State::Refused, reason.clone()),
                    (_, Some((_, reason))) => row(&keyfile.file, State::Refused, (*reason).to_owned()),
                    (Effect::Waiting(who), _) => row(&keyfile.file, State::Applied, (*who).to_owned()),
                    _ => row(&keyfile.file, State::Applied, String::new()),
                }
            });
        refused.chain(unnamed).chain(good).collect()
    }
}

/// Whether the text is this address, however it is written.
fn is_address(text: &str, address: &IpAddr) -> bool {
    text.parse() == Ok(*address)
}

/// The row of a finding; `good` if its value is.
fn judged(finding: &Finding, good: Outcome) -> KeyRow {
    let detail = finding.verdict.to_string();
    let Outcome { state, value, detail } = match finding.verdict {
        Verdict::Good => good,
        Verdict::Bad(_) | Verdict::NotAnObject(_) | Verdict::OtherIdentity => Outcome {
            state: State::Refused,
            value: if finding.entry.is_some() {
                String::new()
            } else {
                good.value
            },
            detail,
        },
        Verdict::Kept(_) | Verdict::Unknown(_) => {
            let secret = key::is_secret(&finding.path);
            let value = if secret {
                Value::from(fleet_base::secret::REDACTED).to_string()
            } else {
                String::new()
            };
            Outcome {
                state: State::Unsupported,
                value,
                detail,
            }
        }
    };
    KeyRow {
        key: finding.name(),
        state,
        value,
        detail,
    }
}
