//! The connection to the system bus, for one command.

use std::time::Duration;

use fleet_base::bus::{self, METHOD_TIMEOUT};
use zbus::Connection;

use super::failure::Failure;

/// Connects. A call may take [`METHOD_TIMEOUT`].
pub(super) async fn open() -> Result<Connection, Failure> {
    open_for(METHOD_TIMEOUT).await
}

/// Connects for calls that may take this long.
pub(super) async fn open_for(timeout: Duration) -> Result<Connection, Failure> {
    let connection = bus::open(bus::system().method_timeout(timeout)).await;
    connection.map_err(|error| Failure::call("dbus", &error))
}
