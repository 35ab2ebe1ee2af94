//! The pace of NetworkManager's connectivity check while an uplink is paid by volume.
//!
//! What it is to be the configuration says, not the caller: he listens to the network.

use std::path::Path;

use fleet_base::bus::{self, name_owner, sentence};
use fleet_base::file::{self, Durability};
use fleet_base::metered_pace::{IN_USE, available};
use fleet_base::proxy::network_manager::{NAME, NetworkManagerProxy, RELOAD_CONF};
use zbus::Connection;

use crate::service::failed;

/// Has the check made at the pace of the probes on metered uplinks, or at its own again.
pub(crate) async fn set(connection: &Connection, on: bool) -> bus::Result<()> {
    let path = Path::new(IN_USE);
    let done = if on {
        file::write(path, available().as_bytes(), 0o644, Durability::Volatile)
    } else {
        file::remove(path, Durability::Volatile)
    };
    let place = "cannot set the pace of NetworkManager's check";
    done.map_err(|error| failed(place, &error))?;
    // One that does not run reads the file when it starts; it is not started by this.
    let owner = name_owner(connection, NAME).await;
    let owner = owner.map_err(|error| failed(place, &sentence(&error)))?;
    if owner.is_some() {
        let reloaded = NetworkManagerProxy::new(connection).reload(RELOAD_CONF).await;
        reloaded.map_err(|error| failed(place, &sentence(&error)))?;
    }
    Ok(())
}
