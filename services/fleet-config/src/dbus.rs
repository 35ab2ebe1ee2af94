//! `org.fleetos.Config1`, the face on the bus.
//!
//! It owns nothing: methods become requests to the service's loop, properties are what the loop published last. So
//! a client that reads the state never waits for an apply that is under way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use fleet_base::bus::{Error, Result};
use tokio::sync::{mpsc, oneshot};
use zbus::object_server::SignalEmitter;
use zbus::{Connection, Variant, interface};

use crate::report::KeyRow;

/// The name on the bus.
pub(crate) const NAME: &str = "org.fleetos.Config1";
/// The object.
pub(crate) const PATH: &str = "/org/fleetos/Config1";

/// One key as it is on the bus: key, state, value in force as JSON, detail.
pub(crate) type Row = (String, String, String, String);

/// What the service says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) revision: u64,
    pub(crate) problem: String,
    pub(crate) keys: Vec<Row>,
    pub(crate) hostname: String,
    pub(crate) uuid: String,
    /// Microseconds of `CLOCK_BOOTTIME`.
    pub(crate) applied_at: u64,
}

/// What a method asks of the service.
#[derive(Debug)]
pub(crate) enum Request {
    /// The value of a key as JSON text.
    Get(String, Answer<String>),
    /// A key and its JSON text.
    Set(String, String, Answer<()>),
    /// A key.
    Unset(String, Answer<()>),
    /// A document.
    Check(String, Answer<Vec<Row>>),
    /// Everything, again.
    Apply(Answer<()>),
}

/// Where an answer goes.
pub(crate) type Answer<T> = oneshot::Sender<Result<T>>;

/// What the loop published last, shared with the face.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Published>>);

impl Shared {
    fn read<T>(&self, part: impl FnOnce(&Published) -> T) -> T {
        part(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Publishes what differs, in one signal.
    pub(crate) async fn publish(&self, connection: &Connection, now: Published) -> zbus::Result<()> {
        let before = std::mem::replace(
            &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner),
            now.clone(),
        );
        let mut changed: HashMap<&str, Variant<'_>> = HashMap::new();
        if now.revision != before.revision {
            changed.insert("Revision", now.revision.into());
        }
        if now.problem != before.problem {
            changed.insert("Problem", now.problem.as_str().into());
        }
        if now.hostname != before.hostname {
            changed.insert("Hostname", now.hostname.as_str().into());
        }
        if now.uuid != before.uuid {
            changed.insert("Uuid", now.uuid.as_str().into());
        }
        if now.keys != before.keys {
            changed.insert("Keys", now.keys.into());
        }
        if now.applied_at != before.applied_at {
            changed.insert("AppliedAt", now.applied_at.into());
        }
        if changed.is_empty() {
            return Ok(());
        }
        let emitter = SignalEmitter::new(connection, PATH)?;
        let name = zbus::names::InterfaceName::try_from(NAME)?;
        zbus::fdo::Properties::properties_changed(&emitter, name, changed, (&[]).into()).await
    }
}

/// The object on the bus.
pub(crate) struct Face {
    requests: mpsc::Sender<Request>,
    shared: Shared,
}

impl Face {
    pub(crate) const fn new(requests: mpsc::Sender<Request>, shared: Shared) -> Self {
        Self { requests, shared }
    }

    /// Hands a request over and waits for its answer.
    async fn ask<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let gone = || Error::Failed("the configuration service is stopping; try again".to_owned());
        self.requests.send(request(answer)).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

#[interface(name = "org.fleetos.Config1", introspection_docs = false)]
impl Face {
    /// The value of a key (dotted path) as JSON text; the empty key is the whole document. Secrets read `"…"`.
    #[zbus(out_args("json"))]
    async fn get(&self, key: String) -> Result<String> {
        self.ask(|answer| Request::Get(key, answer)).await
    }

    /// Sets a key to a JSON value, stores and applies.
    async fn set(&self, key: String, json: String) -> Result<()> {
        self.ask(|answer| Request::Set(key, json, answer)).await
    }

    /// Removes a key, stores and applies.
    async fn unset(&self, key: String) -> Result<()> {
        self.ask(|answer| Request::Unset(key, answer)).await
    }

    /// What the report of this document would be, without applying anything.
    #[zbus(out_args("keys"))]
    async fn check(&self, document: String) -> Result<Vec<Row>> {
        self.ask(|answer| Request::Check(document, answer)).await
    }

    /// Reads the boot partition and applies everything again now.
    async fn apply(&self) -> Result<()> {
        self.ask(Request::Apply).await
    }

    /// Counts accepted configurations.
    #[zbus(property)]
    fn revision(&self) -> u64 {
        self.shared.read(|now| now.revision)
    }

    /// What is wrong with the document as a whole; empty if nothing is.
    #[zbus(property)]
    fn problem(&self) -> String {
        self.shared.read(|now| now.problem.clone())
    }

    /// The state of every key: key, state, value in force as JSON, detail.
    #[zbus(property)]
    fn keys(&self) -> Vec<Row> {
        self.shared.read(|now| now.keys.clone())
    }

    /// The host name that the configuration asks for.
    #[zbus(property)]
    fn hostname(&self) -> String {
        self.shared.read(|now| now.hostname.clone())
    }

    /// The device's identity, 32 hexadecimal digits.
    #[zbus(property)]
    fn uuid(&self) -> String {
        self.shared.read(|now| now.uuid.clone())
    }

    /// When the last apply ended, in microseconds of CLOCK_BOOTTIME; 0 before the first.
    #[zbus(property)]
    fn applied_at(&self) -> u64 {
        self.shared.read(|now| now.applied_at)
    }
}

impl From<KeyRow> for Row {
    fn from(row: KeyRow) -> Self {
        (row.key, row.state.as_str().to_owned(), row.value, row.detail)
    }
}

#[cfg(test)]
mod tests {
    use zbus::object_server::Interface;

    use super::*;

    #[test]
    fn the_committed_introspection_is_current() {
        let (requests, _) = mpsc::channel(1);
        let mut xml = String::new();
        Face::new(requests, Shared::default()).introspect_to_writer(&mut xml, 0);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write("../../docs/dbus/org.fleetos.Config1.xml", &xml).unwrap();
        }
        let committed =
            std::fs::read_to_string("../../docs/dbus/org.fleetos.Config1.xml").unwrap_or_default();
        assert_eq!(xml, committed);
    }
}
