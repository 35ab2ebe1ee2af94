//! The actions on the system itself: time zone, kernel parameters, proxy, watchdog, limits of the journal.

use std::path::Path;

use fleet_base::file::{self, Durability};
use fleet_base::proxy::helper::HelperProxy;
use fleet_base::proxy::systemd::ManagerProxy;

use super::{Device, helper_error, peer};
use crate::config::{Proxy, Watchdog};
use crate::effect::{Effect, Effects, WatchdogInForce};
use crate::journal_limits;
use crate::plan::Known;
use crate::value::timezone::ZONEINFO;
use crate::value::{Parameters, SyncLevel, Timezone, WatchdogTimeout};

/// The link that `/etc/localtime` leads to, below the folder of what is made.
pub(crate) const LOCALTIME: &str = "localtime";

/// What syncs the journal at errors.
const JOURNAL_SYNC: &str = "fleet-journal-sync.service";

const JOURNALD_READS_LATER: &str =
    "in force from the next boot on: journald of this release reads its limits when it starts";

impl Device {
    /// Makes the link, in one step from the old one to the new one.
    pub(super) fn set_timezone(
        &self,
        zone: Timezone,
        known: &mut Known,
        effects: &mut Effects,
    ) -> Result<Effect, String> {
        // Without its file UTC holds all the same (tzset(3)).
        if zone != Timezone::utc() {
            zone.exists_in(Path::new(ZONEINFO))
                .map_err(|refusal| refusal.to_string())?;
        }
        let link = self.folder.join(LOCALTIME);
        let temporary = self.folder.join("localtime.new");
        let made = file::remove(&temporary, Durability::Volatile)
            .map_err(|error| error.to_string())
            .and_then(|_| {
                std::os::unix::fs::symlink(Path::new(ZONEINFO).join(zone.as_str()), &temporary)
                    .and_then(|()| std::fs::rename(&temporary, &link))
                    .map_err(|error| format!("cannot make {}: {error}", link.display()))
            });
        effects.timezone_in_force = timezone_in_force(&self.folder);
        made?;
        known.timezone = Some(zone);
        Ok(Effect::Done)
    }

    pub(super) async fn set_parameters(
        &self,
        parameters: Parameters,
        known: &mut Known,
        effects: &mut Effects,
    ) -> Result<Effect, String> {
        let helper = HelperProxy::new(&self.connection);
        effects.parameters_in_force = None;
        let in_force = helper
            .set_kernel_parameters(parameters.as_slice())
            .await
            .map_err(helper_error)?;
        effects.parameters_in_force = Some(in_force);
        known.parameters = Some(parameters);
        Ok(Effect::Done)
    }

    pub(super) async fn set_proxy(
        &self,
        proxy: Proxy,
        known: &mut Known,
        effects: &mut Effects,
    ) -> Result<Effect, String> {
        let [http, https, no_proxy] = proxy.values();
        effects.proxy_in_force = None;
        let helper = HelperProxy::new(&self.connection);
        helper
            .set_proxy(http, https, no_proxy)
            .await
            .map_err(helper_error)?;
        let systemd = ManagerProxy::new(&self.connection);
        let environment = systemd
            .environment()
            .await
            .map_err(|error| peer("systemd", &error))?;
        let value = |name: &str| {
            let mut variables = environment.iter().filter_map(|variable| variable.split_once('='));
            let (_, value) = variables.find(|(listed, _)| *listed == name)?;
            Some(value.to_owned())
        };
        let in_force = ["http_proxy", "https_proxy", "no_proxy"].map(|name| value(name).unwrap_or_default());
        let differs = in_force
            .iter()
            .zip(proxy.values())
            .any(|(in_force, wanted)| in_force != wanted);
        effects.proxy_in_force = Some(in_force);
        // Asked for nothing, and something is there: the image's own, in systemd-system.conf(5).
        if differs && proxy != Proxy::default() {
            return Err(
                "systemd has another proxy in its environment (systemctl show-environment)".to_owned(),
            );
        }
        known.proxy = Some(proxy);
        Ok(Effect::Done)
    }

    pub(super) async fn set_watchdog(
        &self,
        limits: Watchdog,
        known: &mut Known,
        effects: &mut Effects,
    ) -> Result<Effect, String> {
        let seconds = |limit: Option<WatchdogTimeout>| limit.map(WatchdogTimeout::get);
        effects.watchdog_in_force = None;
        let helper = HelperProxy::new(&self.connection);
        helper
            .set_watchdog(seconds(limits.runtime), seconds(limits.reboot))
            .await
            .map_err(helper_error)?;
        let peer = |error| peer("systemd", &error);
        let systemd = ManagerProxy::new(&self.connection);
        let (runtime, reboot, device) = tokio::try_join!(
            systemd.time_span("RuntimeWatchdogUSec"),
            systemd.time_span("RebootWatchdogUSec"),
            systemd.watchdog_device(),
        )
        .map_err(peer)?;
        let in_force = WatchdogInForce {
            runtime: runtime / 1_000_000,
            reboot: reboot / 1_000_000,
            device: !device.is_empty(),
        };
        effects.watchdog_in_force = Some(in_force);
        let differs = |wanted: Option<WatchdogTimeout>, in_force| {
            wanted.is_some_and(|wanted| u64::from(wanted.get()) != in_force)
        };
        if differs(limits.runtime, in_force.runtime) || differs(limits.reboot, in_force.reboot) {
            return Err(format!(
                "systemd keeps {} s and {} s",
                in_force.runtime, in_force.reboot
            ));
        }
        known.watchdog = Some(limits);
        Ok(Effect::Done)
    }

    pub(super) async fn reload_journal_limits(
        &self,
        text: String,
        known: &mut Known,
        effects: &mut Effects,
    ) -> Result<Effect, String> {
        let read = journal_limits::read(&self.folder);
        let is_read = journal_limits::same(&read, &text);
        effects.limits_in_force = Some(read);
        if is_read {
            known.journal_limits = Some(text);
            return Ok(Effect::Done);
        }
        let helper = HelperProxy::new(&self.connection);
        if !helper.reload_journal().await.map_err(helper_error)? {
            known.journal_limits = Some(text);
            return Ok(Effect::Pending(JOURNALD_READS_LATER));
        }
        journal_limits::note_read(&self.folder, &text).map_err(|error| error.to_string())?;
        effects.limits_in_force = Some(text.clone());
        known.journal_limits = Some(text);
        Ok(Effect::Done)
    }
}

impl Device {
    /// Starts or stops what syncs the journal at errors.
    pub(super) async fn set_sync_level(
        &self,
        level: SyncLevel,
        known: &mut Known,
        effects: &mut Effects,
    ) -> Result<Effect, String> {
        effects.sync_level_in_force = None;
        if self.sync_level_in_force().await? != Some(level) {
            let helper = HelperProxy::new(&self.connection);
            helper
                .set_journal_sync(level == SyncLevel::Err)
                .await
                .map_err(helper_error)?;
        }
        effects.sync_level_in_force = self.sync_level_in_force().await?;
        if effects.sync_level_in_force != Some(level) {
            return Err(format!("{JOURNAL_SYNC} does not follow; its journal says why"));
        }
        known.sync_level = Some(level);
        Ok(Effect::Done)
    }

    /// What systemd says of what syncs; `None`: neither there nor gone, such as one that failed and is started again.
    async fn sync_level_in_force(&self) -> Result<Option<SyncLevel>, String> {
        match ManagerProxy::new(&self.connection)
            .active_state(JOURNAL_SYNC)
            .await
        {
            Ok(state) => Ok(match state.as_str() {
                "active" => Some(SyncLevel::Err),
                "inactive" | "failed" => Some(SyncLevel::Crit),
                _ => None,
            }),
            Err(error) => Err(peer("systemd", &error)),
        }
    }
}

/// The time zone that the link in this folder leads to.
pub(crate) fn timezone_in_force(folder: &Path) -> Option<Timezone> {
    let target = std::fs::read_link(folder.join(LOCALTIME)).ok()?;
    let name = target.strip_prefix(ZONEINFO).ok()?.to_str()?.to_owned();
    Timezone::try_from(name.as_str()).ok()
}
