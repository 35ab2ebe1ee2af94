//! The units of the VPN: OpenVPN, and what asks WireGuard for its handshakes.

use std::time::Duration;

use fleet_base::bus::{self, sentence};
use fleet_base::proxy::systemd::{ManagerProxy, OPENVPN};
use zbus::Connection;

use crate::service::failed;

/// How long starting or stopping it may take: it tells its server that it leaves. Callers wait for ten seconds.
const LIMIT: Duration = Duration::from_secs(8);

/// What writes the handshakes of WireGuard down.
const HANDSHAKES: &str = "fleet-handshakes.service";

/// Has it written down when WireGuard's peers were last heard, and waits for it.
pub(crate) async fn read_handshakes(connection: &Connection) -> bus::Result<()> {
    let place = "cannot read the handshakes of WireGuard";
    let state = ManagerProxy::new(connection)
        .finish("StartUnit", HANDSHAKES, LIMIT)
        .await;
    match state.map_err(|error| failed(place, &sentence(&error)))?.as_str() {
        "failed" => Err(failed(
            place,
            &format!("{HANDSHAKES} failed; its journal says why"),
        )),
        _ => Ok(()),
    }
}

/// Starts OpenVPN, anew if `again`, or stops it. Whether it reaches its server is not waited for.
pub(crate) async fn set_openvpn(connection: &Connection, on: bool, again: bool) -> bus::Result<()> {
    let systemd = ManagerProxy::new(connection);
    let (method, place) = match (on, again) {
        (true, true) => ("RestartUnit", "cannot start OpenVPN again"),
        (true, false) => ("StartUnit", "cannot start OpenVPN"),
        (false, _) => ("StopUnit", "cannot stop OpenVPN"),
    };
    let asked = |error| failed(place, &sentence(&error));
    let state = systemd.finish(method, OPENVPN, LIMIT).await.map_err(asked)?;
    if !on && state == "failed" {
        // It ended badly, or hung and was killed: stopped is what is wanted.
        systemd.reset_failed(OPENVPN).await.map_err(asked)?;
    } else if !on && state != "inactive" {
        return Err(failed(place, &format!("{OPENVPN} is {state}")));
    }
    log::info!("OpenVPN is {}", if on { "started" } else { "stopped" });
    Ok(())
}
