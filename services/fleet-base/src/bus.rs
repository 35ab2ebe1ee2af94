//! The connection to the system bus, and the one error domain of our interfaces.

use std::num::NonZeroUsize;
use std::time::Duration;

use zbus::connection::Builder;
use zbus::message::Type;
use zbus::{Connection, DBusError, MatchRule, Message, MessageStream, Variant};

use crate::body::Values;
use crate::peer::Peer;
use crate::pending::Pending;

/// How long a call may take before it fails: without a limit a hung peer hangs its caller for ever.
pub const METHOD_TIMEOUT: Duration = Duration::from_secs(10);

/// How many messages of a rule may wait to be taken; a place is 72 bytes. When all are taken, the connection is not read
/// until one is free: none is lost.
const QUEUE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(15);

/// The bus itself, as a peer and as its interface.
const BUS: &str = "org.freedesktop.DBus";

/// A builder for a connection to the system bus with our time limit.
///
/// [`object::serve`](crate::object::serve) serves an object on it and takes its name.
pub fn system() -> Builder<'static> {
    Builder::system().method_timeout(METHOD_TIMEOUT)
}

/// Connects to the system bus as a client.
///
/// # Errors
/// The bus is not there or refuses us.
pub async fn connect() -> zbus::Result<Connection> {
    open(system()).await
}

/// Connects as this builder says.
///
/// # Errors
/// The bus is not there or refuses us.
#[inline(never)]
pub fn open(builder: Builder<'static>) -> Pending<'static, zbus::Result<Connection>> {
    Box::pin(builder.build())
}

/// Who owns a well-known name now: its unique name, or `None`. Never starts the owner.
///
/// # Errors
/// The bus is gone.
#[inline(never)]
pub fn name_owner<'a>(
    connection: &'a Connection,
    name: &'a str,
) -> Pending<'a, zbus::Result<Option<String>>> {
    Box::pin(async move {
        match ask_bus(connection, "GetNameOwner", vec![name.into()]).await {
            Ok(mut values) => values.take().map(Some),
            Err(zbus::Error::FDO(error)) if matches!(*error, zbus::fdo::Error::NameHasNoOwner(_)) => Ok(None),
            Err(error) => Err(error),
        }
    })
}

/// The rule for the signal that a well-known name came, went, or has another owner: `NameOwnerChanged(name, old, new)`,
/// each owner empty for none.
///
/// # Errors
/// Not for a well-known name.
pub fn owner_changed(name: &'static str) -> zbus::Result<MatchRule<'static>> {
    MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(BUS)
        .interface(BUS)
        .member("NameOwnerChanged")
        .arg(0, name)
        .build()
}

/// Whether the name has an owner after this signal of [`owner_changed`].
#[must_use]
pub fn has_owner(changed: &Message) -> bool {
    let new_owner = Values::of(changed).and_then(|mut values| {
        let (_name, _old): (String, String) = (values.take()?, values.take()?);
        values.take::<String>()
    });
    new_owner.is_ok_and(|owner| !owner.is_empty())
}

/// Starts the owner of a well-known name, if it has none. Returns when it has one.
///
/// # Errors
/// It does not start.
#[inline(never)]
pub fn start<'a>(connection: &'a Connection, name: &'a str) -> Pending<'a, zbus::Result<()>> {
    const NO_FLAGS: u32 = 0;
    Box::pin(async move {
        ask_bus(
            connection,
            "StartServiceByName",
            vec![name.into(), NO_FLAGS.into()],
        )
        .await
        .map(drop)
    })
}

/// The messages of a rule, from now on.
///
/// # Errors
/// The bus refuses the rule, or is gone.
#[inline(never)]
pub fn subscribe<'a>(
    connection: &'a Connection,
    rule: MatchRule<'static>,
) -> Pending<'a, zbus::Result<MessageStream>> {
    // A copy has no room for the 128 arguments that zbus's builder keeps free: 4 KiB a rule, for as long as it holds.
    let rule = MatchRule::clone(&rule);
    Box::pin(MessageStream::for_match_rule(rule, connection, Some(QUEUE)))
}

/// The Unix user of the connection with this unique name, as the bus knows it from the socket.
///
/// # Errors
/// The connection is gone, or the bus is.
#[inline(never)]
pub fn unix_user<'a>(connection: &'a Connection, unique_name: &'a str) -> Pending<'a, zbus::Result<u32>> {
    Box::pin(async move {
        ask_bus(connection, "GetConnectionUnixUser", vec![unique_name.into()])
            .await?
            .take()
    })
}

/// Takes a well-known name, and does not wait for it.
///
/// # Errors
/// Somebody else has it, or the bus refuses.
pub async fn request_name(connection: &Connection, name: &str) -> zbus::Result<()> {
    const DO_NOT_QUEUE: u32 = 4;
    const PRIMARY_OWNER: u32 = 1;
    let mut values = ask_bus(connection, "RequestName", vec![name.into(), DO_NOT_QUEUE.into()]).await?;
    match values.take()? {
        PRIMARY_OWNER => Ok(()),
        _ => Err(zbus::Error::NameTaken),
    }
}

/// Gives a well-known name back. Returns after all that the bus had delivered for it.
///
/// # Errors
/// The bus is gone.
pub async fn release_name(connection: &Connection, name: &str) -> zbus::Result<()> {
    ask_bus(connection, "ReleaseName", vec![name.into()])
        .await
        .map(drop)
}

/// Calls a method of the bus.
///
/// Not `zbus::fdo::DBusProxy`, whose unused half costs tens of KiB.
async fn ask_bus(connection: &Connection, method: &str, arguments: Vec<Variant<'_>>) -> zbus::Result<Values> {
    Peer::new(connection, BUS)
        .call("/org/freedesktop/DBus", BUS, method, arguments)
        .await
}

/// The errors that our interfaces answer with, as `org.fleetos.Error.*` on the bus.
///
/// Each carries a sentence that names the place, the rule and what to do next.
#[derive(Debug, DBusError)]
#[zbus(prefix = "org.fleetos.Error")]
pub enum Error {
    /// An error of the bus itself.
    #[zbus(error)]
    Bus(zbus::Error),
    /// An argument breaks a rule.
    InvalidArgument(String),
    /// The change was understood but is not made, and why.
    Refused(String),
    /// The state is another than the caller expected; read it again and try again.
    Conflict(String),
    /// There is no such key or object.
    NotFound(String),
    /// This caller may not do this.
    NotAllowed(String),
    /// It was tried and failed.
    Failed(String),
    /// Something else is under way; the same call may succeed later.
    Busy(String),
}

/// The result of a method of our interfaces.
pub type Result<T> = std::result::Result<T, Error>;

/// The sentence in an error that came over the bus, without the error's name before it.
///
/// What a person reads; the name is for programs.
#[must_use]
pub fn sentence(error: &zbus::Error) -> String {
    match error {
        zbus::Error::MethodError(name, None, _) => name.to_string(),
        zbus::Error::MethodError(_, Some(sentence), _) => sentence.clone(),
        zbus::Error::FDO(error) => match error.as_ref() {
            zbus::fdo::Error::ZBus(error) => sentence(error),
            other => match other.description() {
                Some(text) if !text.is_empty() => text.to_owned(),
                _ => other.name().to_string(),
            },
        },
        other => other.to_string(),
    }
}
