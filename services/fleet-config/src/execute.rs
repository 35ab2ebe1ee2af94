//! Carries a plan out: one loop over its actions, each a file or a call to the owner of the thing.
//!
//! An action that fails leaves its own keys refused, with the reason, and is planned again by the next apply; all
//! others are carried out.

use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fleet_base::bus::{METHOD_TIMEOUT, sentence};
use fleet_base::dns_fallback;
use fleet_base::file::{self, Durability};
use fleet_base::proxy::helper::HelperProxy;
use fleet_base::proxy::hostname::HostnameProxy;
use fleet_base::proxy::journal::JournalProxy;
use fleet_base::proxy::network_manager::{NetworkManagerProxy, RELOAD_CONF};
use fleet_base::proxy::systemd::ManagerProxy;
use zbus::Connection;

mod board;

pub(crate) use board::Board;

use crate::effect::{Effect, Effects};
use crate::keyfile::Keyfile;
use crate::plan::{Action, Known, Plan};
use crate::render::File;
use crate::value::Hostname;

mod system;
mod upload;
mod vpn;

pub(crate) use system::timezone_in_force;
pub(crate) use upload::NOT_REACHED as COLLECTOR_NOT_REACHED;

const CHRONY_READS_LATER: &str = "chronyd does not run; it reads this when it starts";
const NETWORK_MANAGER_READS_LATER: &str = "NetworkManager does not run; it reads this when it starts";

/// Where the helper puts keyfiles (`docs/dbus.md`, `SetConnectionProfiles`).
const HELPER_FOLDER: &str = "/usr/lib/NetworkManager/system-connections";

/// The device, as far as actions reach.
pub(crate) struct Device {
    /// The system bus.
    pub(crate) connection: Connection,
    /// The folder of rendered files.
    pub(crate) folder: PathBuf,
    /// Whether NetworkManager owns its name. It is never called otherwise: a call would start it.
    pub(crate) network_manager_runs: bool,
    /// What is reached without the bus.
    pub(crate) board: Board,
}

impl Device {
    /// Carries out a plan, and writes down what is known to be in force then and what became of each subject.
    pub(crate) async fn execute(&self, plan: Plan, known: &mut Known, effects: &mut Effects) {
        let mut failed = Vec::new();
        for action in plan.actions {
            let subject = action.subject();
            if failed.contains(&subject) {
                continue;
            }
            let effect = self.act(action, known, effects).await;
            let before = effects.of(subject);
            if let Effect::Failed(reason) = &effect {
                failed.push(subject);
                // Once: it is tried again by every apply.
                if *before != effect {
                    log::warn!("{subject} not in force: {reason}");
                }
            }
            *before = effect;
        }
    }

    async fn act(&self, action: Action, known: &mut Known, effects: &mut Effects) -> Effect {
        let done = match action {
            Action::Write(file, content) => self.write(file, &content).map(|()| Effect::Done),
            Action::SetHostname(name) => {
                known.hostname = None;
                effects.hostname_in_force = None;
                self.set_hostname(name, known, effects).await
            }
            Action::SetKeyfiles(keyfiles) => {
                let before = known.keyfiles.take();
                self.set_keyfiles(keyfiles, before, known, effects).await
            }
            Action::ReloadNetworkManager(text) => {
                known.network = None;
                effects.network_in_force = None;
                self.reload_network_manager(text, known, effects).await
            }
            Action::ReloadTimeSources(text) => {
                known.time = None;
                effects.time_in_force = None;
                self.reload_time_sources(text, known, effects).await
            }
            Action::SetPersistentLogging(on) => {
                known.persistent_logging = None;
                self.set_persistent_logging(on, known).await
            }
            Action::SetDevelopmentMode(on) => {
                known.development_mode = None;
                self.set_development_mode(on, known).await
            }
            Action::SetTimezone(zone) => {
                known.timezone = None;
                self.set_timezone(zone, known, effects)
            }
            Action::SetParameters(parameters) => {
                known.parameters = None;
                self.set_parameters(parameters, known, effects).await
            }
            Action::SetProxy(proxy) => {
                known.proxy = None;
                self.set_proxy(proxy, known, effects).await
            }
            Action::SetWatchdog(limits) => {
                known.watchdog = None;
                self.set_watchdog(limits, known, effects).await
            }
            Action::ReloadJournalLimits(text) => {
                known.journal_limits = None;
                self.reload_journal_limits(text, known, effects).await
            }
            Action::SetSyncLevel(level) => {
                known.sync_level = None;
                self.set_sync_level(level, known, effects).await
            }
            Action::SetUpload(upload) => {
                known.upload = None;
                self.set_upload(upload, known, effects).await
            }
            Action::SetRootCa(ca) => {
                known.root_ca = None;
                self.set_root_ca(ca, known, effects).await
            }
            Action::SetUdevRules(rules, development) => {
                known.udev_rules = None;
                self.set_udev_rules(rules, development, known, effects).await
            }
            Action::SetCountry(country) => {
                known.country = None;
                self.set_country(country, known, effects).await
            }
            Action::SetVpn(vpn) => {
                known.vpn = None;
                self.set_vpn(vpn, known).await
            }
        };
        done.unwrap_or_else(Effect::Failed)
    }

    fn write(&self, file: File, content: &str) -> Result<(), String> {
        let path = self.folder.join(file.path());
        make_folder(&path).map_err(|error| error.to_string())?;
        // The plan has it only because the file is another one.
        file::replace(&path, content.as_bytes(), 0o644, Durability::Volatile)
            .map_err(|error| error.to_string())
    }

    async fn set_hostname(
        &self,
        name: Hostname,
        known: &mut Known,
        effects: &mut Effects,
    ) -> Result<Effect, String> {
        let helper = HelperProxy::new(&self.connection);
        // It reads the name back, and fails if that is another one.
        if let Err(error) = helper.set_hostname(name.as_str()).await {
            let in_force = HostnameProxy::new(&self.connection).hostname().await;
            effects.hostname_in_force = in_force
                .ok()
                .and_then(|name| Hostname::try_from(name.as_str()).ok());
            return Err(helper_error(error));
        }
        effects.hostname_in_force = Some(name.clone());
        known.hostname = Some(name);
        Ok(Effect::Done)
    }

    async fn set_keyfiles(
        &self,
        keyfiles: Vec<Keyfile>,
        before: Option<Vec<Keyfile>>,
        known: &mut Known,
        effects: &mut Effects,
    ) -> Result<Effect, String> {
        let profiles: Vec<(&str, &[u8])> = keyfiles
            .iter()
            .map(|keyfile| (keyfile.name.as_str(), keyfile.bytes.expose().as_slice()))
            .collect();
        let helper = HelperProxy::new(&self.connection);
        let paths = helper
            .set_connection_profiles(&profiles)
            .await
            .map_err(helper_error)?;
        // Those that changed; all of them when it is not known what NetworkManager made of them.
        let all = before.is_none();
        let named: Vec<(String, &str)> = paths
            .into_iter()
            .zip(&keyfiles)
            .filter(|(path, _)| all || !path.is_empty())
            .map(|(path, Keyfile { name, .. })| match path.is_empty() {
                true => (
                    format!("{HELPER_FOLDER}/fleet-boot-{name}.nmconnection"),
                    name.as_str(),
                ),
                false => (path, name.as_str()),
            })
            .collect();
        effects.keyfiles_refused.retain(|(name, _)| {
            keyfiles.iter().any(|keyfile| keyfile.name == *name)
                && !named.iter().any(|(_, changed)| changed == name)
        });
        if !self.network_manager_runs {
            known.keyfiles = Some(keyfiles);
            return Ok(Effect::Waiting(NETWORK_MANAGER_READS_LATER));
        }
        let peer = |error| peer("NetworkManager", &error);
        let network_manager = NetworkManagerProxy::new(&self.connection);
        if !named.is_empty() {
            let changed: Vec<&str> = named.iter().map(|(path, _)| path.as_str()).collect();
            let refused = network_manager.load_connections(&changed).await.map_err(peer)?;
            for path in &refused {
                if let Some((_, name)) = named.iter().find(|(loaded, _)| loaded == path) {
                    let reason = "NetworkManager does not accept it; its journal says which line (journalctl -u NetworkManager)";
                    effects.keyfiles_refused.push(((*name).to_owned(), reason));
                }
            }
        }
        // What was there before this service began is not known; reading all again makes sure of it.
        let some_were_removed = before.is_none_or(|before| {
            before
                .iter()
                .any(|old| keyfiles.iter().all(|keyfile| keyfile.name != old.name))
        });
        if some_were_removed {
            network_manager.reload_connections().await.map_err(peer)?;
        }
        known.keyfiles = Some(keyfiles);
        Ok(Effect::Done)
    }

    async fn reload_network_manager(
        &self,
        text: String,
        known: &mut Known,
        effects: &mut Effects,
    ) -> Result<Effect, String> {
        if !self.network_manager_runs {
            return Ok(Effect::Waiting(NETWORK_MANAGER_READS_LATER));
        }
        let peer = |error| peer("NetworkManager", &error);
        let manager = NetworkManagerProxy::new(&self.connection);
        manager.reload(RELOAD_CONF).await.map_err(peer)?;
        effects.network_in_force = Some(manager.in_force().await.map_err(peer)?);
        effects.dns_fallback = Path::new(dns_fallback::IN_USE).exists();
        known.network = Some(text);
        Ok(Effect::Done)
    }

    async fn reload_time_sources(
        &self,
        text: String,
        known: &mut Known,
        effects: &mut Effects,
    ) -> Result<Effect, String> {
        // At boot chronyd starts after this service and reads the file by itself.
        if !self.is_active("chronyd.service").await {
            return Ok(Effect::Waiting(CHRONY_READS_LATER));
        }
        let helper = HelperProxy::new(&self.connection);
        effects.time_in_force = Some(helper.reload_time_sources().await.map_err(helper_error)?);
        known.time = Some(text);
        Ok(Effect::Done)
    }

    async fn set_persistent_logging(&self, on: bool, known: &mut Known) -> Result<Effect, String> {
        let peer = |error| peer("the journal service (org.fleetos.Journal1)", &error);
        let journal = JournalProxy::new(&self.connection);
        journal.configure(on).await.map_err(peer)?;
        known.persistent_logging = Some(on);
        Ok(Effect::Done)
    }

    async fn set_development_mode(&self, on: bool, known: &mut Known) -> Result<Effect, String> {
        if self.is_active("fleet-development.target").await != on {
            let helper = HelperProxy::new(&self.connection);
            helper.set_development_mode(on).await.map_err(helper_error)?;
        }
        known.development_mode = Some(on);
        Ok(Effect::Done)
    }

    /// Whether a unit is active. Not knowing counts as not: then it is told, which changes nothing if it knew.
    async fn is_active(&self, unit: &str) -> bool {
        match ManagerProxy::new(&self.connection).active_state(unit).await {
            Ok(state) => matches!(state.as_str(), "active" | "reloading"),
            Err(error) => {
                log::debug!("{unit}: {}", sentence(&error));
                false
            }
        }
    }
}

/// Makes the folder of a file, readable by everybody: others read what is in it.
fn make_folder(path: &Path) -> Result<(), file::Error> {
    let Some(folder) = path.parent().filter(|folder| !folder.is_dir()) else {
        return Ok(());
    };
    let failed = |error| file::Error::Write(folder.to_owned(), error);
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(folder)
        .map_err(failed)?;
    // The unit's umask took bits away.
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).map_err(failed)
}

/// What the helper answered, or that it did not.
fn helper_error(error: zbus::Error) -> String {
    peer("the helper (org.fleetos.Helper1)", &error)
}

/// What a peer answered, or that it did not.
fn peer(name: &str, error: &zbus::Error) -> String {
    let answered = match error {
        zbus::Error::MethodError(error, ..) => !error.as_str().starts_with("org.freedesktop.DBus.Error."),
        _ => false,
    };
    if answered {
        sentence(error)
    } else if matches!(error, zbus::Error::InputOutput(error) if error.kind() == ErrorKind::TimedOut) {
        format!(
            "{name} is not reachable: it did not answer within {} seconds",
            METHOD_TIMEOUT.as_secs()
        )
    } else {
        format!("{name} is not reachable: {}", sentence(error))
    }
}
