//! The DNS fallback: the resolvers that the configuration names for it, in place of all that NetworkManager has.
//!
//! Which they are is not the caller's to say: he listens to the network.

use std::net::IpAddr;
use std::path::Path;

use fleet_base::bus::{self, name_owner, sentence};
use fleet_base::dns_fallback::{AVAILABLE, IN_USE, available, content};
use fleet_base::file::{self, Durability};
use fleet_base::proxy::network_manager::{NAME, NetworkManagerProxy, RELOAD_CONF};
use zbus::Connection;

use crate::service::failed;

/// Puts them in the place of all others, or takes them away again; waits until NetworkManager has done so. Returns those that
/// are in use then.
pub(crate) async fn set(connection: &Connection, on: bool) -> bus::Result<Vec<String>> {
    let servers = if on {
        available(Path::new(AVAILABLE))
    } else {
        Vec::new()
    };
    put(&servers)?;
    // One that does not run reads the file when it starts; it is not started by this.
    let runs = name_owner(connection, NAME).await;
    let place = "cannot have NetworkManager read its configuration again";
    if runs.map_err(|error| failed(place, &sentence(&error)))?.is_some() {
        let manager = NetworkManagerProxy::new(connection);
        let reloaded = manager.reload(RELOAD_CONF).await;
        reloaded.map_err(|error| failed(place, &sentence(&error)))?;
        let in_force = manager.in_force().await;
        let in_force = in_force.map_err(|error| failed(place, &sentence(&error)))?;
        if !(servers.is_empty() || is_same(&in_force.resolvers, &servers)) {
            put(&[])?;
            let reloaded = manager.reload(RELOAD_CONF).await;
            reloaded.map_err(|error| failed(place, &sentence(&error)))?;
            return Err(failed(
                "cannot use the fallback resolvers",
                &"another of NetworkManager's configuration files overrides them (NetworkManager --print-config)",
            ));
        }
    }
    Ok(servers.iter().map(ToString::to_string).collect())
}

/// Makes the file hold these; there is none for none.
fn put(servers: &[IpAddr]) -> bus::Result<()> {
    let path = Path::new(IN_USE);
    let done = if servers.is_empty() {
        file::remove(path, Durability::Volatile)
    } else {
        file::write(path, content(servers).as_bytes(), 0o644, Durability::Volatile)
    };
    done.map(drop)
        .map_err(|error| failed("cannot set the fallback resolvers", &error))
}

/// Whether the texts are these addresses, however they are written.
fn is_same(texts: &[String], addresses: &[IpAddr]) -> bool {
    texts.len() == addresses.len()
        && texts
            .iter()
            .zip(addresses)
            .all(|(text, address)| text.parse() == Ok(*address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_force_is_compared_as_addresses() {
        let addresses = [IpAddr::from([9, 9, 9, 9]), "2620:fe::fe".parse().unwrap()];
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert!(is_same(&texts(&["9.9.9.9", "2620:00fe::00fe"]), &addresses));
        assert!(!is_same(&texts(&["9.9.9.9"]), &addresses));
        assert!(!is_same(
            &texts(&["9.9.9.9", "dns+tls://2620:fe::fe"]),
            &addresses
        ));
    }
}
