//! `org.freedesktop.timedate1` (the clock). org.freedesktop.timedate1(5).

use zbus::Connection;

use crate::peer::Peer;

const NAME: &str = "org.freedesktop.timedate1";
const PATH: &str = "/org/freedesktop/timedate1";

/// Whether the kernel's clock is synchronised with a source of time.
///
/// # Errors
/// systemd-timedated does not answer.
pub async fn is_synchronised(connection: &Connection) -> zbus::Result<bool> {
    let properties = Peer::new(connection, NAME).properties(PATH, NAME).await?;
    Ok(properties.flag("NTPSynchronized"))
}
