//! The journal on the bus.

use fleet_base::bus;
use fleet_base::object::{self, Answer, Call, Object, Place};
use fleet_base::proxy::helper::HelperProxy;
use tokio::sync::Mutex;
use zbus::{Connection, Variant};

use crate::storage::{Mode, Storage};
use crate::{reboot, switch};

/// Where it is served. Like the documentation of the interface; a test holds them equal.
const PLACE: Place = Place {
    name: "org.fleetos.Journal1",
    path: "/org/fleetos/Journal1",
    introspection: include_str!("org.fleetos.Journal1.xml"),
};

/// The object on the bus.
pub(crate) struct Journal {
    storage: Storage,
    /// Callers that switch go one after the other.
    turn: Mutex<()>,
}

impl Journal {
    pub(crate) fn new(storage: Storage) -> Self {
        Self {
            storage,
            turn: Mutex::default(),
        }
    }

    /// Switches, says so once, and tells who listens, also when it failed: the truth may have changed all the same.
    async fn switch(&self, to: Mode, connection: &Connection) -> bus::Result<()> {
        let _turn = self.turn.lock().await;
        let helper = HelperProxy::new(connection);
        let before = object::properties(self, true);
        let switched = match to {
            Mode::Persistent => switch::persist(&self.storage, &helper).await,
            Mode::Volatile => switch::volatile(&self.storage, &helper).await,
        };
        object::announce(connection, self, &before).await?;
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
}

/// The sentence in an error of ours.
fn detail(error: &bus::Error) -> String {
    use zbus::DBusError;
    error
        .description()
        .map_or_else(|| error.to_string(), ToOwned::to_owned)
}

impl Object for Journal {
    fn place(&self) -> &'static Place {
        &PLACE
    }

    fn property(&self, name: &str) -> Option<Variant<'static>> {
        Some(match name {
            "Mode" => self.storage.mode().to_string().into(),
            "Configured" => self.storage.configured().to_string().into(),
            "Usage" => self.storage.usage().into(),
            "Problem" => self.storage.problem().into(),
            "RebootReason" => reboot::published().reason.into(),
            "RebootDetail" => reboot::published().detail.into(),
            _ => return None,
        })
    }

    fn call<'c>(&'c self, call: &'c Call) -> Answer<'c> {
        Box::pin(async move {
            let to = match call.method().as_str() {
                "Persist" => Mode::Persistent,
                "Volatile" => Mode::Volatile,
                _ => return Err(call.unknown()),
            };
            self.switch(to, &call.connection).await?;
            Ok(None)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_interface_is_the_one_that_is_served() {
        let object = Journal::new(Storage::default());
        let mismatches = object::mismatches(&object, include_str!("service.rs"));
        assert_eq!(mismatches, [""; 0]);
        assert_eq!(
            PLACE.introspection,
            include_str!("../../../docs/dbus/org.fleetos.Journal1.xml")
        );
    }
}
