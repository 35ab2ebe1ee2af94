//! `org.fleetos.Config1`, the face on the bus.
//!
//! It owns nothing: methods become requests to the service's loop, properties are what the loop published last. So
//! a client that reads the state never waits for an apply that is under way.

use std::sync::{Mutex, MutexGuard, PoisonError};

use fleet_base::bus::{Error, Result, sentence, unix_user};
use fleet_base::object::{self, Call, Object, Place};
use tokio::sync::{mpsc, oneshot};
use zbus::{Connection, Variant};

use crate::report::KeyRow;

/// Where it is served. Like the documentation of the interface; a test holds them equal.
const PLACE: Place = Place {
    name: "org.fleetos.Config1",
    path: "/org/fleetos/Config1",
    introspection: include_str!("org.fleetos.Config1.xml"),
};

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

/// One change as it is on the bus: revision, time, who, how, keys.
pub(crate) type Past = (u64, u64, String, String, Vec<String>);

/// What a method asks of the service, and where the answer goes.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) what: Question,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// What a method asks of the service.
#[derive(Debug)]
pub(crate) enum Question {
    /// The value of a key as JSON text.
    Get(String),
    /// A change, by whom.
    Change(Change, String),
    /// A document.
    Check(String),
    /// The last changes.
    History,
    /// Everything, again.
    Apply,
}

/// A change that a client asks for.
#[derive(Debug)]
pub(crate) enum Change {
    /// A key and its JSON text.
    Set(String, String),
    /// A key.
    Unset(String),
    /// The expected revision, and a merge patch as JSON text.
    Patch(u64, String),
    /// A revision.
    Revert(u64),
}

/// What a method returns. One type for all of them: each more is a channel and a state machine of its own.
pub(crate) type Answer = Result<Option<Variant<'static>>>;

/// The object on the bus.
pub(crate) struct Face {
    requests: mpsc::Sender<Request>,
    /// What the loop published last.
    published: Mutex<Published>,
}

impl Face {
    pub(crate) fn new(requests: mpsc::Sender<Request>) -> Self {
        Self {
            requests,
            published: Mutex::default(),
        }
    }

    fn published(&self) -> MutexGuard<'_, Published> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is known before the first apply: a client that asks while the service starts is not told of revision 0.
    pub(crate) fn begin(&self, now: Published) {
        *self.published() = now;
    }

    /// Replaces what is published, and tells who listens what of it changed, in one signal.
    pub(crate) async fn publish(&self, connection: &Connection, now: Published) -> zbus::Result<()> {
        let before = object::properties(self, true);
        *self.published() = now;
        object::announce(connection, self, &before).await
    }

    /// Hands a question over and waits for its answer.
    async fn ask(&self, what: Question) -> Answer {
        let (answer, answered) = oneshot::channel();
        let gone = || Error::Failed("the configuration service is stopping; try again".to_owned());
        let request = Request { what, answer };
        self.requests.send(request).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

impl Object for Face {
    fn place(&self) -> &'static Place {
        &PLACE
    }

    fn property(&self, name: &str) -> Option<Variant<'static>> {
        let now = self.published();
        Some(match name {
            "Revision" => now.revision.into(),
            "Problem" => now.problem.clone().into(),
            "Keys" => now.keys.clone().into(),
            "Hostname" => now.hostname.clone().into(),
            "Uuid" => now.uuid.clone().into(),
            "AppliedAt" => now.applied_at.into(),
            _ => return None,
        })
    }

    fn call<'c>(&'c self, call: &'c Call) -> object::Answer<'c> {
        Box::pin(async move {
            let method = call.method();
            let mut arguments = call.arguments()?;
            let is_change = matches!(method.as_str(), "Set" | "Unset" | "Patch" | "Revert");
            let who = if is_change {
                caller(call).await?
            } else {
                String::new()
            };
            let what = match method.as_str() {
                "Get" => Question::Get(arguments.take()?),
                "Set" => Question::Change(Change::Set(arguments.take()?, arguments.take()?), who),
                "Unset" => Question::Change(Change::Unset(arguments.take()?), who),
                "Patch" => Question::Change(Change::Patch(arguments.take()?, arguments.take()?), who),
                "Check" => Question::Check(arguments.take()?),
                "Apply" => Question::Apply,
                "History" => Question::History,
                "Revert" => Question::Change(Change::Revert(arguments.take()?), who),
                _ => return Err(call.unknown()),
            };
            self.ask(what).await
        })
    }
}

/// The Unix user that calls, as the history has it.
async fn caller(call: &Call) -> Result<String> {
    let unknown = |reason: String| Error::NotAllowed(format!("the caller's user is not known: {reason}"));
    let sender = call
        .sender()
        .ok_or_else(|| unknown("the message has no sender".to_owned()))?;
    let user = unix_user(&call.connection, &sender)
        .await
        .map_err(|error| unknown(sentence(&error)))?;
    Ok(match user {
        0 => "root".to_owned(),
        user => format!("user {user}"),
    })
}

impl From<KeyRow> for Row {
    fn from(row: KeyRow) -> Self {
        (row.key, row.state.as_str().to_owned(), row.value, row.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_introspection_is_current() {
        let (requests, _) = mpsc::channel(1);
        let mismatches = object::mismatches(&Face::new(requests), include_str!("dbus.rs"));
        assert_eq!(mismatches, [""; 0]);
        assert_eq!(
            PLACE.introspection,
            include_str!("../../../docs/dbus/org.fleetos.Config1.xml")
        );
    }
}
