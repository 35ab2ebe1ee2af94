//! The actions that are about the board and its system: certificates, udev rules, radio.

use std::io;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use fleet_base::file;
use fleet_base::proxy::helper::HelperProxy;
use fleet_base::proxy::timedate;
use fleet_base::udev_rules::OURS;

use super::{Device, helper_error};
use crate::certificate::{self, Certificate};
use crate::config::Upload;
use crate::copies::Unjudged;
use crate::effect::{Effect, Effects, Trusted};
use crate::places::Places;
use crate::plan::Known;
use crate::render::WORLD;
use crate::trust_store::TrustStore;
use crate::value::{Country, RootCa, UdevRule};
use crate::wanted::Vpn;

const NO_UDEV: &str = "there is no systemd-udevd here, as in a container";
/// What stands in place of a regulatory domain without a radio.
const NONE: &str = "none";
const NO_RADIO: &str = "no Wi-Fi device here; set when one appears";
const NOT_VALID_YET: &str = "not valid yet by this device's clock, which is not synchronised";

/// What the actions reach for beside the bus.
pub(crate) struct Board {
    pub(crate) trust_store: TrustStore,
    /// The executable that looks into certificates.
    pub(crate) certificate_checker: String,
    /// What systemd-journal-upload reads.
    pub(crate) upload: PathBuf,
    /// What OpenVPN reads, and which VPN there shall be.
    pub(crate) vpn: PathBuf,
    /// Where the helper puts udev's rules.
    pub(crate) udev_rules: PathBuf,
    /// udevd's socket.
    pub(crate) udev_control: PathBuf,
    /// What `fleet-regdomain` read back.
    pub(crate) regulatory_domain: PathBuf,
}

impl Board {
    pub(crate) fn at(places: &Places) -> Self {
        Self {
            trust_store: TrustStore {
                image: places.certificates.clone(),
                copy: places.run.join("ca"),
            },
            certificate_checker: places.certificate_checker.clone(),
            upload: places.run.join("journal-upload"),
            vpn: places.run.join("vpn"),
            udev_rules: places.udev_rules.clone(),
            udev_control: places.udev_control.clone(),
            regulatory_domain: places.regulatory_domain.clone(),
        }
    }

    /// Writes down what a look is enough for: where nothing was done since the device started, nothing is to be undone,
    /// and nobody is started for it.
    pub(crate) fn look(&self, known: &mut Known) {
        if !self.trust_store.is_extended() && !self.trust_store.is_mounted() {
            known.root_ca = Some(None);
        }
        let ours = |name: &std::ffi::OsString| name.as_encoded_bytes().ends_with(OURS.as_bytes());
        if !file::names(&self.udev_rules).is_ok_and(|names| names.iter().any(ours)) {
            known.udev_rules = Some(Vec::new());
        }
        if matches!(
            self.upload.join(super::upload::CONFIGURATION).try_exists(),
            Ok(false)
        ) {
            known.upload = Some(Upload::default());
        }
        if !super::vpn::is_set_up(&self.vpn) {
            known.vpn = Some(Vpn::None);
        }
        if !self.regulatory_domain.exists() {
            known.country = Some(None);
        }
    }

    /// Takes nothing for granted that has changed by itself since it was set: certificates expire, and a radio that
    /// appears later gets its domain from udev.
    pub(crate) fn doubt(&self, known: &mut Known, effects: &Effects) {
        let now = now();
        let expires = effects.trusted.iter().any(|trusted| trusted.expires <= now);
        // The clock was wrong.
        let returns = effects.left_out.iter().any(|expired| expired.expires > now);
        if expires || returns {
            known.root_ca = None;
        }
        if effects.upload == Effect::Waiting(super::COLLECTOR_NOT_REACHED) {
            known.upload = None;
        }
        let appeared = || self.domain().is_some_and(|(domain, _)| domain != NONE);
        if effects.country == Effect::Waiting(NO_RADIO) && appeared() {
            known.country = None;
        }
    }

    /// The regulatory domain that was read back, and why it is not the one that was wanted.
    fn domain(&self) -> Option<(String, String)> {
        let bytes = file::read(&self.regulatory_domain, 4096).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (domain, reason) = text.trim_end().split_once(' ').unwrap_or((text.trim_end(), ""));
        Some((domain.to_owned(), reason.to_owned()))
    }
}

/// Seconds since 1970, by the wall clock.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

impl Device {
    /// Why certificates are not to be accepted, if that is so. That they cannot be judged now is a reason only if they were
    /// refused before: others are judged again when they are applied.
    pub(crate) async fn refuses(&self, unjudged: &Unjudged) -> Option<String> {
        let checker = &self.board.certificate_checker;
        let certificates = match certificate::judge(checker, unjudged.certificates.pem()).await {
            Ok(certificates) => certificates,
            Err(certificate::Error::Judged(reason)) => return Some(reason),
            Err(error) => return unjudged.was_refused.then(|| error.to_string()),
        };
        let good = certificates
            .iter()
            .filter(|certificate| certificate.hash.is_some());
        match self.not_valid_yet(&good.collect::<Vec<_>>()).await {
            // A clock that is not known to be right does not take back what a right one decided.
            Ok(true) if unjudged.was_refused => Some(NOT_VALID_YET.to_owned()),
            Ok(_) => None,
            Err(reason) => Some(reason),
        }
    }

    pub(super) async fn set_root_ca(
        &self,
        ca: Option<RootCa>,
        known: &mut Known,
        effects: &mut Effects,
    ) -> Result<Effect, String> {
        let store = &self.board.trust_store;
        let helper = HelperProxy::new(&self.connection);
        let failed = |error: io::Error| format!("cannot write {}: {error}", store.copy.display());
        let Some(ca) = ca else {
            if store.is_extended() || store.is_mounted() {
                helper.set_trust_store(false).await.map_err(helper_error)?;
                store.clear().map_err(failed)?;
                log::info!("no additional certificates are trusted");
            }
            effects.trusted.clear();
            effects.left_out.clear();
            known.root_ca = Some(None);
            return Ok(Effect::Done);
        };
        let checker = &self.board.certificate_checker;
        let certificates = certificate::judge(checker, ca.pem())
            .await
            .map_err(|error| error.to_string())?;
        // One answer for each block, in their order.
        let blocks: Vec<&str> = ca.pem().split_inclusive("-----END CERTIFICATE-----\n").collect();
        if blocks.len() != certificates.len() {
            return Err(certificate::Error::Answer.to_string());
        }
        let hashes = certificates.iter().map(|certificate| certificate.hash.as_deref());
        let extended: Vec<(&str, &str)> = hashes
            .zip(blocks)
            .filter_map(|(hash, block)| Some((hash?, block)))
            .collect();
        let (good, expired): (Vec<&Certificate>, Vec<&Certificate>) = certificates
            .iter()
            .partition(|certificate| certificate.hash.is_some());
        if good.is_empty() {
            return Err(certificate::Error::Answer.to_string());
        }
        let early = self.not_valid_yet(&good).await?;
        store.extend(&extended).map_err(failed)?;
        helper.set_trust_store(true).await.map_err(helper_error)?;
        if !store.is_mounted() {
            return Err(format!("they do not show in {}", store.image.display()));
        }
        let of = |certificate: &Certificate| Trusted {
            subject: certificate.subject.clone(),
            expires: certificate.expires,
        };
        effects.trusted = good.into_iter().map(of).collect();
        effects.left_out = expired.into_iter().map(of).collect();
        known.root_ca = Some(Some(ca));
        Ok(match early {
            true => Effect::Waiting(NOT_VALID_YET),
            false => Effect::Done,
        })
    }

    /// Whether one of them is not valid yet and the clock may be wrong about it: a device without a battery for its
    /// clock wakes up in the past. With a clock that is right, it is an error.
    async fn not_valid_yet(&self, certificates: &[&Certificate]) -> Result<bool, String> {
        let now = now();
        let Some(early) = certificates
            .iter()
            .find(|certificate| certificate.valid_from > now)
        else {
            return Ok(false);
        };
        match timedate::is_synchronised(&self.connection).await {
            Ok(true) => Err(format!("\"{}\" is not valid yet", early.subject)),
            _ => Ok(true),
        }
    }

    pub(super) async fn set_udev_rules(
        &self,
        rules: Vec<UdevRule>,
        development: bool,
        known: &mut Known,
        effects: &mut Effects,
    ) -> Result<Effect, String> {
        effects.udev_rules_refused.clear();
        if !self.board.udev_control.exists() {
            let effect = if rules.is_empty() {
                Effect::Done
            } else {
                Effect::Unsupported(NO_UDEV)
            };
            known.udev_rules = Some(rules);
            return Ok(effect);
        }
        let files = rules
            .iter()
            .map(|rule| (rule.name.clone(), rule.text.clone()))
            .collect();
        let reasons = HelperProxy::new(&self.connection)
            .set_udev_rules(files, development)
            .await
            .map_err(helper_error)?;
        effects.udev_rules_refused = rules
            .iter()
            .zip(reasons)
            .filter(|(_, reason)| !reason.is_empty())
            .map(|(rule, reason)| (rule.name.clone(), format!("udev does not take it: {reason}")))
            .collect();
        known.udev_rules = Some(rules);
        Ok(Effect::Done)
    }

    pub(super) async fn set_country(
        &self,
        country: Option<Country>,
        known: &mut Known,
        effects: &mut Effects,
    ) -> Result<Effect, String> {
        if country.is_none() && self.board.domain().is_none() {
            known.country = Some(None);
            return Ok(Effect::Done);
        }
        let set = HelperProxy::new(&self.connection).set_regulatory_domain().await;
        let (domain, reason) = self.board.domain().unwrap_or_default();
        effects.country_in_force = Some(domain.clone()).filter(|domain| domain != NONE && !domain.is_empty());
        if !reason.is_empty() {
            return Err(reason);
        }
        set.map_err(helper_error)?;
        known.country = Some(country);
        let wanted = country.map_or(WORLD, Country::as_str);
        match domain.as_str() {
            NONE if country.is_some() => Ok(Effect::Waiting(NO_RADIO)),
            domain if domain == wanted || domain == NONE => Ok(Effect::Done),
            other => {
                known.country = None;
                Err(format!("the regulatory domain in force is {other:?}"))
            }
        }
    }
}
