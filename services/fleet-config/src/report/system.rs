//! The keys of the system itself: time zone, kernel parameters, proxy, watchdog, limits of the journal.

use serde_json::{Value, json};

use super::{Situation, parameters};
use crate::config::{JournalLimits, Proxy};
use crate::effect::Effect;
use crate::journal_limits;
use crate::value::{VpnKind, WatchdogTimeout};
use crate::wanted::Vpn;

const PROXY_REMARK: &str = "for what starts from now on; what runs keeps its own until it is started again";
const NO_CLIENT: &str =
    "not used: it takes certificate and key, and a collector with https (os.journal.upload.url)";
const OTHER_VPN: &str = "not used: os.vpn.type says otherwise";
const NO_WATCHDOG: &str = "this board has no watchdog device that systemd could open";

impl Situation<'_> {
    pub(super) fn effect_on_system(&self, key: &str) -> Option<&Effect> {
        let effects = self.effects;
        match key {
            "os.timezone" => Some(&effects.timezone),
            "os.sysctl" => Some(&effects.parameters),
            "os.journal.syncLevel" => Some(&effects.sync_level),
            "os.journal.upload.certificate" | "os.journal.upload.key" => {
                self.wanted.upload.client().map(|_| &effects.upload)
            }
            "os.journal.upload.url" => Some(&effects.upload),
            key if key.starts_with("os.journal.") => Some(&effects.journal_limits),
            key if key.starts_with("os.proxy.") => Some(&effects.proxy),
            key if key.starts_with("os.watchdog.") => Some(&effects.watchdog),
            _ => None,
        }
    }

    /// What is in force when nothing failed: what was read back, or what is wanted where nothing had to be done.
    pub(super) fn system_in_force(&self, key: &str) -> Option<Value> {
        let wanted = self.wanted;
        if let Some(value) = self.system_read_back(key) {
            return Some(value);
        }
        let text = |text: &str| (!text.is_empty()).then(|| json!(text));
        let seconds = |limit: Option<WatchdogTimeout>| limit.map(|limit| json!(limit.get()));
        match key {
            "os.timezone" => Some(json!(wanted.timezone.as_str())),
            "os.sysctl" => Some(parameters(wanted.parameters.as_slice())),
            "os.journal.syncLevel" => Some(json!(wanted.sync_level.as_str())),
            "os.watchdog.runtime" => seconds(wanted.watchdog.runtime),
            "os.watchdog.reboot" => seconds(wanted.watchdog.reboot),
            "os.journal.upload.url" => Some(json!(wanted.upload.url.as_ref()?.as_str())),
            // What is in force, also while something else is asked for and does not pass its trial.
            "os.vpn.type" => match &wanted.vpn {
                Vpn::OpenVpn { .. } => Some(json!("openvpn")),
                Vpn::WireGuard(_) => Some(json!("wireguard")),
                Vpn::None | Vpn::Incomplete(_) => None,
            },
            key => text(wanted.proxy.values()[proxy_index(key)?]),
        }
    }

    pub(super) fn system_read_back(&self, key: &str) -> Option<Value> {
        let effects = self.effects;
        match key {
            "os.timezone" => Some(json!(effects.timezone_in_force.as_ref()?.as_str())),
            "os.sysctl" => {
                let entry = |(name, value): &(String, i64)| (name.clone(), json!(value));
                let in_force = effects.parameters_in_force.as_ref()?;
                Some(Value::Object(in_force.iter().map(entry).collect()))
            }
            "os.journal.syncLevel" => Some(json!(effects.sync_level_in_force?.as_str())),
            "os.watchdog.runtime" => Some(json!(effects.watchdog_in_force?.runtime)),
            "os.watchdog.reboot" => Some(json!(effects.watchdog_in_force?.reboot)),
            key => match JournalLimits::NAMES.iter().find(|(listed, _)| *listed == key) {
                Some((_, name)) => {
                    let read = effects.limits_in_force.as_ref()?;
                    journal_limits::number(read, name).map(|number| json!(number))
                }
                None => {
                    let in_force = &effects.proxy_in_force.as_ref()?[proxy_index(key)?];
                    (!in_force.is_empty()).then(|| json!(in_force))
                }
            },
        }
    }

    /// Whether the VPN rests on this key.
    pub(super) fn is_of_the_vpn(&self, key: &str) -> bool {
        let Some(key) = key.strip_prefix("os.vpn.") else {
            return false;
        };
        match self.config.vpn.kind {
            Some(VpnKind::OpenVpn) => key == "type" || key.starts_with("openvpn."),
            Some(VpnKind::WireGuard) => key == "type" || key.starts_with("wireguard."),
            None => key == "type",
        }
    }

    /// Why a watchdog that is wanted does not watch. Only systemd knows whether there is a device, and it opens one only
    /// while it is to watch the running system.
    pub(super) fn without_device(&self, key: &str) -> Option<&'static str> {
        let in_force = self.effects.watchdog_in_force?;
        let wanted = match key {
            "os.watchdog.runtime" => self.wanted.watchdog.runtime,
            "os.watchdog.reboot" => self.wanted.watchdog.reboot,
            _ => None,
        };
        let is_wanted = wanted.is_some_and(|limit| limit.get() > 0);
        (is_wanted && in_force.runtime > 0 && !in_force.device).then_some(NO_WATCHDOG)
    }

    /// What is to be known of a key that is in force.
    pub(super) fn remark(&self, key: &str) -> &'static str {
        let upload = &self.wanted.upload;
        if matches!(key, "os.journal.upload.certificate" | "os.journal.upload.key")
            && upload.client().is_none()
        {
            return NO_CLIENT;
        }
        if key.starts_with("os.vpn.") && !self.is_of_the_vpn(key) {
            return OTHER_VPN;
        }
        if key.starts_with("os.proxy.") && self.wanted.proxy != Proxy::default() {
            PROXY_REMARK
        } else {
            ""
        }
    }
}

/// Its place in [`Proxy::values`].
fn proxy_index(key: &str) -> Option<usize> {
    ["os.proxy.http", "os.proxy.https", "os.proxy.noProxy"]
        .iter()
        .position(|listed| *listed == key)
}
