//! The verbs on the bus.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fleet_base::bus::{self, Error, sentence};
use fleet_base::chronyd;
use fleet_base::command;
use fleet_base::object::{Answer, Call, Object, Place};
use fleet_base::paths;
use fleet_base::proxy::helper;
use fleet_base::proxy::systemd::ManagerProxy;
use nix::unistd::Uid;
use zbus::{Connection, Dict, Variant};

use crate::argument::{KernelParameters, ProfileSet, ProxyValue, RuleSet, WatchdogLimit};
use crate::verb::{Users, Verb};
use crate::{
    dns_fallback, hostname, journal, journal_files, kernel_parameters, keyfiles, manager, metered_pace,
    repair, udev, upload, vpn,
};

/// machine-id(5).
const MACHINE_ID: &str = "/etc/machine-id";
/// What development mode starts.
const DEVELOPMENT_TARGET: &str = "fleet-development.target";

/// Our end of chronyd's socket, in the folder of [`paths::RUN_HELPER`].
const TIME_SOURCES_SOCKET: &str = "/run/fleet/helper/chronyd.sock";

/// What lays the extended trust store over the image's.
const TRUST_STORE: &str = "etc-ssl-certs.mount";
/// How long a mount may take. Callers wait for ten seconds.
const MOUNT_LIMIT: Duration = Duration::from_secs(5);
/// What sets the regulatory domain; it is started by udev too, for a radio that appears later.
const REGULATORY_DOMAIN: &str = "fleet-regdomain.service";
/// How long that may take: longer than the unit allows itself, and less than callers wait for.
const REGULATORY_DOMAIN_LIMIT: Duration = Duration::from_secs(9);
/// What syncs the journal at errors.
const JOURNAL_SYNC: &str = "fleet-journal-sync.service";
/// How long it may take to start or stop. Callers wait for ten seconds.
const JOURNAL_SYNC_LIMIT: Duration = Duration::from_secs(8);

/// Where it is served. Like the documentation of the interface; a test holds them equal.
pub(crate) const PLACE: Place = Place {
    name: "org.fleetos.Helper1",
    path: "/org/fleetos/Helper1",
    introspection: include_str!("org.fleetos.Helper1.xml"),
};

/// The object on the bus.
pub(crate) struct Helper {
    users: Users,
    /// The unique name and the user of the last caller. A bus gives a unique name once in its life (D-Bus specification,
    /// "Bus names"), and this process ends with the bus, so what was true of it stays true.
    last_caller: Mutex<Option<(String, Uid)>>,
}

impl Helper {
    pub(crate) const fn new(users: Users) -> Self {
        Self {
            users,
            last_caller: Mutex::new(None),
        }
    }

    /// Whether the caller may call `verb`.
    async fn admit(&self, verb: Verb, call: &Call) -> bus::Result<()> {
        self.users.authorise(verb, self.caller(call).await?)
    }

    /// The Unix user of the connection that sent the message, as the bus knows it from the socket.
    async fn caller(&self, call: &Call) -> bus::Result<Uid> {
        let unknown = |reason: String| Error::NotAllowed(format!("the caller's user is not known: {reason}"));
        let sender = call
            .sender()
            .ok_or_else(|| unknown("the message has no sender".to_owned()))?;
        let last = || self.last_caller.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last()
            .as_ref()
            .filter(|(name, _)| *name == sender)
            .map(|(_, uid)| *uid);
        if let Some(uid) = known {
            return Ok(uid);
        }
        let uid = bus::unix_user(&call.connection, &sender)
            .await
            .map_err(|error| unknown(sentence(&error)))?;
        let uid = Uid::from_raw(uid);
        *last() = Some((sender, uid));
        Ok(uid)
    }
}

/// The error that a caller gets when the verb was tried and failed.
pub(crate) fn failed(place: &str, error: &impl std::fmt::Display) -> Error {
    log::warn!("{place}: {error}");
    Error::Failed(format!("{place}: {error}"))
}

impl Object for Helper {
    fn place(&self) -> &'static Place {
        &PLACE
    }

    fn property(&self, _: &str) -> Option<Variant<'static>> {
        None
    }

    fn call<'c>(&'c self, call: &'c Call) -> Answer<'c> {
        Box::pin(async move {
            let connection = &call.connection;
            match call.method().as_str() {
                "SetHostname" => {
                    self.admit(Verb::SetHostname, call).await?;
                    hostname::set(connection, &call.arguments()?.take::<String>()?).await?;
                }
                "ReloadTimeSources" => {
                    self.admit(Verb::ReloadTimeSources, call).await?;
                    return Ok(Some(reload_time_sources().await?.into()));
                }
                "SetConnectionProfiles" => {
                    self.admit(Verb::SetConnectionProfiles, call).await?;
                    return Ok(Some(set_connection_profiles(call.files()?)?.into()));
                }
                "SetDevelopmentMode" => {
                    self.admit(Verb::SetDevelopmentMode, call).await?;
                    set_development_mode(connection, call.arguments()?.take()?).await?;
                }
                "SetKernelParameters" => {
                    self.admit(Verb::SetKernelParameters, call).await?;
                    let wanted = KernelParameters::try_from(call.arguments()?.take::<Dict<'_, '_>>()?)?;
                    return Ok(Some(set_kernel_parameters(&wanted)?));
                }
                "SetProxy" => {
                    self.admit(Verb::SetProxy, call).await?;
                    let mut values = call.arguments()?;
                    let mut value = || ProxyValue::try_from(values.take::<String>()?);
                    manager::set_proxy(connection, &[value()?, value()?, value()?]).await?;
                }
                "SetWatchdog" => {
                    self.admit(Verb::SetWatchdog, call).await?;
                    let mut values = call.arguments()?;
                    let mut limit = || WatchdogLimit::try_from(values.take::<u64>()?);
                    manager::set_watchdog(connection, Path::new(paths::RUN_HELPER), limit()?, limit()?)
                        .await?;
                }
                "ReloadJournal" => {
                    self.admit(Verb::ReloadJournal, call).await?;
                    return Ok(Some(journal::reload(connection).await?.into()));
                }
                "SetJournalSync" => {
                    self.admit(Verb::SetJournalSync, call).await?;
                    set_journal_sync(connection, call.arguments()?.take()?).await?;
                }
                "SetUdevRules" => {
                    self.admit(Verb::SetUdevRules, call).await?;
                    let mut arguments = call.arguments()?;
                    let rules: Vec<(String, String)> = arguments.take()?;
                    let rules = RuleSet::new(rules, arguments.take()?)?;
                    let refused = udev::set(&rules).await.map_err(|error| match error {
                        udev::Error::Busy => Error::Busy(error.to_string()),
                        error => failed("cannot set the udev rules", &error),
                    })?;
                    return Ok(Some(refused.into()));
                }
                "SetTrustStore" => {
                    self.admit(Verb::SetTrustStore, call).await?;
                    set_trust_store(connection, call.arguments()?.take()?).await?;
                }
                "SetRegulatoryDomain" => {
                    self.admit(Verb::SetRegulatoryDomain, call).await?;
                    set_regulatory_domain(connection).await?;
                }
                "SetJournalUpload" => {
                    self.admit(Verb::SetJournalUpload, call).await?;
                    let mut arguments = call.arguments()?;
                    let (on, again) = (arguments.take()?, arguments.take()?);
                    return Ok(Some(upload::set(connection, on, again).await?.into()));
                }
                "SetOpenVpn" => {
                    self.admit(Verb::SetOpenVpn, call).await?;
                    let mut arguments = call.arguments()?;
                    vpn::set_openvpn(connection, arguments.take()?, arguments.take()?).await?;
                }
                "ReadHandshakes" => {
                    self.admit(Verb::ReadHandshakes, call).await?;
                    vpn::read_handshakes(connection).await?;
                }
                "SetDnsFallback" => {
                    self.admit(Verb::SetDnsFallback, call).await?;
                    let on = call.arguments()?.take()?;
                    return Ok(Some(dns_fallback::set(connection, on).await?.into()));
                }
                "SetMeteredPace" => {
                    self.admit(Verb::SetMeteredPace, call).await?;
                    metered_pace::set(connection, call.arguments()?.take()?).await?;
                }
                "Repair" => {
                    self.admit(Verb::Repair, call).await?;
                    let mut arguments = call.arguments()?;
                    let (step, subject): (String, String) = (arguments.take()?, arguments.take()?);
                    repair::repair(connection, &step, &subject).await?;
                }
                "Reboot" => {
                    self.admit(Verb::Reboot, call).await?;
                    repair::reboot(connection, &call.arguments()?.take::<String>()?).await?;
                }
                "FlushJournal" => {
                    self.admit(Verb::FlushJournal, call).await?;
                    journal::flush().await?;
                }
                "RelinquishJournal" => {
                    self.admit(Verb::RelinquishJournal, call).await?;
                    journal::relinquish().await?;
                }
                "TidyJournal" => {
                    self.admit(Verb::TidyJournal, call).await?;
                    return Ok(Some(tidy_journal(call.arguments()?.take()?).await?.into()));
                }
                "SyncJournal" => {
                    self.admit(Verb::SyncJournal, call).await?;
                    command::run("journalctl", &["--sync"], journal::LIMIT)
                        .await
                        .map_err(|error| failed("cannot sync the journal", &error))?;
                }
                _ => return Err(call.unknown()),
            }
            Ok(None)
        })
    }
}

/// Makes chronyd read its source files again. Returns the names of the sources that it has then.
async fn reload_time_sources() -> bus::Result<Vec<String>> {
    let sources = chronyd::reload_sources(Path::new(chronyd::CONTROL_SOCKET), Path::new(TIME_SOURCES_SOCKET))
        .await
        .map_err(|error| failed("cannot reload the time sources (does chronyd run?)", &error))?;
    log::info!("chrony has read its time sources again");
    Ok(sources)
}

/// Makes the keyfiles that come from the boot partition exactly these: (name, content).
///
/// Returns the path of each, in order; an empty path for one that was not changed.
fn set_connection_profiles(profiles: Vec<(String, Vec<u8>)>) -> bus::Result<Vec<String>> {
    let profiles = ProfileSet::try_from(profiles)?;
    // No await in between: two callers cannot mix their sets.
    let replaced = keyfiles::replace(Path::new(keyfiles::FOLDER), &profiles)
        .map_err(|error| failed("cannot set the connection profiles", &error))?;
    let written = replaced.paths.iter().filter(|path| !path.is_empty()).count();
    if written + replaced.removed > 0 {
        log::info!(
            "connection profiles of the boot partition: {written} written, {} removed",
            replaced.removed
        );
    }
    Ok(replaced.paths)
}

/// Makes the kernel parameters that are set exactly these. Returns what is in force of each.
fn set_kernel_parameters(wanted: &KernelParameters) -> bus::Result<Variant<'static>> {
    // No await in between: two callers cannot mix their sets.
    let in_force = kernel_parameters::set(
        Path::new(kernel_parameters::FOLDER),
        Path::new(paths::RUN_HELPER),
        wanted.as_slice(),
    )
    .map_err(|error| failed("cannot set kernel parameters", &error))?;
    Ok(helper::kernel_parameters(&in_force)?)
}

/// Starts or stops what development mode adds.
async fn set_development_mode(connection: &Connection, on: bool) -> bus::Result<()> {
    let systemd = ManagerProxy::new(connection);
    let queued = if on {
        systemd.start_unit(DEVELOPMENT_TARGET, "replace").await
    } else {
        systemd.stop_unit(DEVELOPMENT_TARGET, "replace").await
    };
    let verb = if on { "start" } else { "stop" };
    queued.map_err(|error| failed(&format!("cannot {verb} {DEVELOPMENT_TARGET}"), &sentence(&error)))?;
    log::info!("development mode is {}", if on { "on" } else { "off" });
    Ok(())
}

/// Lays the extended trust store over the image's, or takes it away again.
async fn set_trust_store(connection: &Connection, extended: bool) -> bus::Result<()> {
    let systemd = ManagerProxy::new(connection);
    let (method, verb, wanted) = match extended {
        true => ("StartUnit", "mount", "active"),
        false => ("StopUnit", "unmount", "inactive"),
    };
    let place = format!("cannot {verb} the additional certificates");
    let before = systemd.active_state(TRUST_STORE).await;
    if before.is_ok_and(|state| state == wanted) {
        return Ok(());
    }
    let state = systemd
        .finish(method, TRUST_STORE, MOUNT_LIMIT)
        .await
        .map_err(|error| failed(&place, &sentence(&error)))?;
    if state != wanted {
        let reason = format!("{TRUST_STORE} is {state}; its journal says why");
        return Err(failed(&place, &reason));
    }
    log::info!("the additional certificates are {verb}ed");
    Ok(())
}

/// Removes the oldest files of the journal until all take at most `keep` bytes. Returns the bytes that were freed.
async fn tidy_journal(keep: u64) -> bus::Result<u64> {
    let place = "cannot tidy the journal";
    let flushed = Path::new(paths::JOURNAL_FLUSHED).exists();
    if keep == 0 && flushed {
        // What journald writes to can go only when it is archived.
        command::run("journalctl", &["--rotate"], journal::LIMIT)
            .await
            .map_err(|error| failed(place, &error))?;
    }
    let machine_id = std::fs::read_to_string(MACHINE_ID).map_err(|error| failed(MACHINE_ID, &error))?;
    let folder = Path::new(paths::JOURNAL);
    let tidied = journal_files::tidy(folder, machine_id.trim_end(), flushed, keep)
        .map_err(|error| failed(place, &error))?;
    if tidied != journal_files::Tidied::default() {
        log::info!(
            "the journal on the data partition: {} files of another machine-id taken in, {} of the oldest removed ({} bytes)",
            tidied.adopted,
            tidied.removed,
            tidied.freed
        );
    }
    Ok(tidied.freed)
}

/// Starts or stops what syncs the journal at errors, and waits until it does, or does not.
async fn set_journal_sync(connection: &Connection, on: bool) -> bus::Result<()> {
    let (method, place, wanted) = match on {
        true => ("StartUnit", "cannot have the journal synced at errors", "active"),
        false => (
            "StopUnit",
            "cannot end the syncing of the journal at errors",
            "inactive",
        ),
    };
    let state = ManagerProxy::new(connection)
        .finish(method, JOURNAL_SYNC, JOURNAL_SYNC_LIMIT)
        .await
        .map_err(|error| failed(place, &sentence(&error)))?;
    // One that is killed while it stops has failed, and is gone all the same.
    if (state == "active") != on {
        let reason = format!("{JOURNAL_SYNC} is {state} and not {wanted}; its journal says why");
        return Err(failed(place, &reason));
    }
    log::info!(
        "the journal is synced at {}",
        if on { "errors" } else { "critical messages only" }
    );
    Ok(())
}

/// Sets the regulatory domain of the configuration.
async fn set_regulatory_domain(connection: &Connection) -> bus::Result<()> {
    let place = "cannot set the regulatory domain";
    let state = ManagerProxy::new(connection)
        .finish("StartUnit", REGULATORY_DOMAIN, REGULATORY_DOMAIN_LIMIT)
        .await
        .map_err(|error| failed(place, &sentence(&error)))?;
    if state == "failed" {
        let reason = format!("{REGULATORY_DOMAIN} failed; its journal says why");
        return Err(failed(place, &reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_interface_is_the_one_that_is_served() {
        let object = Helper::new(Users::resolve().unwrap());
        let mismatches = fleet_base::object::mismatches(&object, include_str!("service.rs"));
        assert_eq!(mismatches, [""; 0]);
        assert_eq!(
            PLACE.introspection,
            include_str!("../../../docs/dbus/org.fleetos.Helper1.xml")
        );
    }
}
