//! The verbs on the bus.

use std::path::Path;
use std::time::Duration;

use fleet_base::bus::{self, Error, sentence};
use fleet_base::idle::{Activity, Call};
use fleet_base::proxy::hostname::HostnameProxy;
use fleet_base::proxy::systemd::ManagerProxy;
use nix::unistd::Uid;
use zbus::message::Header;
use zbus::{Connection, interface};

use crate::argument::{HostName, ProfileSet};
use crate::verb::{Users, Verb};
use crate::{command, keyfiles};

/// How long chronyc may take: it asks chronyd over a local socket.
const TIME_SOURCES_LIMIT: Duration = Duration::from_secs(5);
/// How long journalctl may take: it waits until journald has copied the volatile journal to a slow SD card.
const JOURNAL_LIMIT: Duration = Duration::from_secs(60);
/// What development mode starts.
const DEVELOPMENT_TARGET: &str = "fleet-development.target";

/// The object on the bus.
pub(crate) struct Helper {
    users: Users,
    activity: Activity,
}

impl Helper {
    pub(crate) fn new(users: Users, activity: Activity) -> Self {
        Self { users, activity }
    }

    /// Keeps the process for as long as the result lives, if the caller may call `verb`.
    async fn admit(&self, verb: Verb, connection: &Connection, header: &Header<'_>) -> bus::Result<Call> {
        let call = self.activity.begin();
        let uid = caller(connection, header).await?;
        self.users.authorise(verb, uid)?;
        Ok(call)
    }
}

/// The Unix user of the connection that sent the message, as the bus knows it from the socket.
async fn caller(connection: &Connection, header: &Header<'_>) -> bus::Result<Uid> {
    let unknown = |reason: String| Error::NotAllowed(format!("the caller's user is not known: {reason}"));
    let sender = header
        .sender()
        .ok_or_else(|| unknown("the message has no sender".to_owned()))?;
    let uid = bus::unix_user(connection, sender.as_str())
        .await
        .map_err(|error| unknown(sentence(&error)))?;
    Ok(Uid::from_raw(uid))
}

/// The error that a caller gets when the verb was tried and failed.
fn failed(place: &str, error: &impl std::fmt::Display) -> Error {
    log::warn!("{place}: {error}");
    Error::Failed(format!("{place}: {error}"))
}

#[interface(name = "org.fleetos.Helper1", introspection_docs = false)]
impl Helper {
    /// Sets the transient host name (RFC 1123), unless it is in force already.
    async fn set_hostname(
        &self,
        name: &str,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> bus::Result<()> {
        let _call = self.admit(Verb::SetHostname, connection, &header).await?;
        let name = HostName::try_from(name)?;
        let hostnamed = HostnameProxy::new(connection);
        let asked = |error| failed("cannot set the host name", &sentence(&error));
        if hostnamed.hostname().await.map_err(asked)? == name.as_str() {
            return Ok(());
        }
        hostnamed
            .set_hostname(name.as_str(), false)
            .await
            .map_err(asked)?;
        // hostnamed takes a transient name, and ignores it, while there is a static one.
        let in_force = hostnamed.hostname().await.map_err(asked)?;
        if in_force != name.as_str() {
            return Err(failed(
                "cannot set the host name",
                &format!("{in_force} stays in force: remove the static name in /etc/hostname"),
            ));
        }
        log::info!("the host name is {}", name.as_str());
        Ok(())
    }

    /// Makes chrony read its source files again. Fails if chronyd does not run.
    async fn reload_time_sources(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> bus::Result<()> {
        let _call = self.admit(Verb::ReloadTimeSources, connection, &header).await?;
        command::run("chronyc", &["reload", "sources"], TIME_SOURCES_LIMIT)
            .await
            .map_err(|error| failed("cannot reload the time sources (does chronyd run?)", &error))?;
        log::info!("chrony has read its time sources again");
        Ok(())
    }

    /// Makes the keyfiles that come from the boot partition exactly these: (name, content).
    ///
    /// Returns the path of each, in order; an empty path for one that was not changed.
    async fn set_connection_profiles(
        &self,
        profiles: Vec<(String, Vec<u8>)>,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> bus::Result<Vec<String>> {
        let _call = self
            .admit(Verb::SetConnectionProfiles, connection, &header)
            .await?;
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

    /// Starts or stops what development mode adds.
    async fn set_development_mode(
        &self,
        on: bool,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> bus::Result<()> {
        let _call = self.admit(Verb::SetDevelopmentMode, connection, &header).await?;
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

    /// Makes journald store in /var/log/journal, with what is still only in RAM. Returns when that is done.
    async fn flush_journal(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> bus::Result<()> {
        let _call = self.admit(Verb::FlushJournal, connection, &header).await?;
        command::run("journalctl", &["--flush"], JOURNAL_LIMIT)
            .await
            .map_err(|error| failed("cannot flush the journal", &error))
    }

    /// Makes journald store in RAM again. Returns when that is done.
    async fn relinquish_journal(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> bus::Result<()> {
        let _call = self.admit(Verb::RelinquishJournal, connection, &header).await?;
        command::run("journalctl", &["--relinquish-var"], JOURNAL_LIMIT)
            .await
            .map_err(|error| failed("cannot relinquish the journal", &error))
    }
}

#[cfg(test)]
mod tests {
    use zbus::object_server::Interface;

    use super::*;

    #[test]
    fn the_documented_interface_is_the_one_that_is_served() {
        let object = Helper::new(Users::resolve().unwrap(), Activity::default());
        let mut xml = String::new();
        object.introspect_to_writer(&mut xml, 0);
        assert_eq!(xml, include_str!("../../../docs/dbus/org.fleetos.Helper1.xml"));
    }
}
