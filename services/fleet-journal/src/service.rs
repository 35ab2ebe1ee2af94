//! The journal on the bus.

use fleet_base::bus;
use fleet_base::idle::Activity;
use fleet_base::proxy::helper::HelperProxy;
use tokio::sync::Mutex;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, interface};

use crate::storage::{Mode, Storage};
use crate::switch;

/// The object on the bus.
pub(crate) struct Journal {
    storage: Storage,
    activity: Activity,
    /// Callers that switch go one after the other.
    turn: Mutex<()>,
}

impl Journal {
    pub(crate) fn new(storage: Storage, activity: Activity) -> Self {
        Self {
            storage,
            activity,
            turn: Mutex::default(),
        }
    }

    /// Switches, says so once, and tells who listens, also when it failed: the truth may have changed all the same.
    async fn switch(
        &self,
        to: Mode,
        connection: &Connection,
        emitter: &SignalEmitter<'_>,
    ) -> bus::Result<()> {
        let _call = self.activity.begin();
        let _turn = self.turn.lock().await;
        let helper = HelperProxy::new(connection);
        let before = self.state();
        let switched = match to {
            Mode::Persistent => switch::persist(&self.storage, &helper).await,
            Mode::Volatile => switch::volatile(&self.storage, &helper).await,
        };
        self.tell(&before, emitter).await?;
        match switched {
            Ok(true) => log::info!("the journal is {} now and at the next boot", self.storage.mode()),
            Ok(false) => {}
            Err(error) => {
                log::warn!("cannot make the journal {to}: {}", detail(&error));
                return Err(error);
            }
        }
        Ok(())
    }

    fn state(&self) -> (Mode, Mode, String) {
        (
            self.storage.mode(),
            self.storage.configured(),
            self.storage.problem(),
        )
    }

    /// Emits `PropertiesChanged` for what is not as `before`.
    async fn tell(&self, before: &(Mode, Mode, String), emitter: &SignalEmitter<'_>) -> zbus::Result<()> {
        let now = self.state();
        if now.0 != before.0 {
            self.mode_changed(emitter).await?;
        }
        if now.1 != before.1 {
            self.configured_changed(emitter).await?;
        }
        if now.2 != before.2 {
            self.problem_changed(emitter).await?;
        }
        Ok(())
    }
}

/// The sentence in an error of ours.
fn detail(error: &bus::Error) -> String {
    use zbus::DBusError;
    error
        .description()
        .map_or_else(|| error.to_string(), ToOwned::to_owned)
}

#[interface(name = "org.fleetos.Journal1", introspection_docs = false)]
impl Journal {
    /// Stores on the data partition from now on, with what is still only in RAM.
    async fn persist(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> bus::Result<()> {
        self.switch(Mode::Persistent, connection, &emitter).await
    }

    /// Stores in RAM from now on; what is on flash stays readable.
    async fn volatile(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> bus::Result<()> {
        self.switch(Mode::Volatile, connection, &emitter).await
    }

    /// `volatile` or `persistent`: what journald does now.
    #[zbus(property)]
    fn mode(&self) -> String {
        let _call = self.activity.begin();
        self.storage.mode().to_string()
    }

    /// `volatile` or `persistent`: what the next boot does.
    #[zbus(property)]
    fn configured(&self) -> String {
        let _call = self.activity.begin();
        self.storage.configured().to_string()
    }

    /// Bytes that the journal's files take on the data partition. No signal: it changes with every line.
    #[zbus(property(emits_changed_signal = "false"))]
    fn usage(&self) -> u64 {
        let _call = self.activity.begin();
        self.storage.usage()
    }

    /// What is wrong, as a sentence; empty if nothing is.
    #[zbus(property)]
    fn problem(&self) -> String {
        let _call = self.activity.begin();
        self.storage.problem()
    }
}

#[cfg(test)]
mod tests {
    use zbus::object_server::Interface;

    use super::*;

    #[test]
    fn the_documented_interface_is_the_one_that_is_served() {
        let object = Journal::new(Storage::default(), Activity::default());
        let mut xml = String::new();
        object.introspect_to_writer(&mut xml, 0);
        assert_eq!(xml, include_str!("../../../docs/dbus/org.fleetos.Journal1.xml"));
    }
}
