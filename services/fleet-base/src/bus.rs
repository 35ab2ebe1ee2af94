//! The connection to the system bus, and the one error domain of our interfaces.

use std::time::Duration;

use zbus::connection::Builder;
use zbus::{Connection, DBusError};

/// How long a call may take before it fails: without a limit a hung peer hangs its caller for ever.
pub const METHOD_TIMEOUT: Duration = Duration::from_secs(10);

/// A builder for a connection to the system bus with our time limit.
///
/// Serve objects and take a name on it before `build`, so that no call reaches a half-made service.
pub fn system() -> Builder<'static> {
    Builder::system().method_timeout(METHOD_TIMEOUT)
}

/// Connects to the system bus as a client.
///
/// # Errors
/// The bus is not there or refuses us.
pub async fn connect() -> zbus::Result<Connection> {
    system().build().await
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
            other => other.to_string(),
        },
        other => other.to_string(),
    }
}
