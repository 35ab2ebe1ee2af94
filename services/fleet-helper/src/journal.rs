//! journald's configuration, read again where this release of systemd can.

use std::time::Duration;

use fleet_base::bus::{self, sentence};
use fleet_base::proxy::systemd::ManagerProxy;
use tokio::time::sleep;
use zbus::Connection;

use crate::service::failed;

const JOURNALD: &str = "systemd-journald.service";
/// How often it is asked whether it is done, and how often at most: two seconds in all.
const PAUSE: Duration = Duration::from_millis(20);
const PAUSES: u32 = 100;

/// Makes journald read its configuration again. Returns whether it did: journald can from systemd 258 on.
pub(crate) async fn reload(connection: &Connection) -> bus::Result<bool> {
    let systemd = ManagerProxy::new(connection);
    let asked = |error| failed("cannot reload journald", &sentence(&error));
    if !systemd.can_reload(JOURNALD).await.map_err(asked)? {
        return Ok(false);
    }
    systemd.reload_unit(JOURNALD, "replace").await.map_err(asked)?;
    for _ in 0..PAUSES {
        sleep(PAUSE).await;
        match systemd.active_state(JOURNALD).await.map_err(asked)?.as_str() {
            "active" => {
                log::info!("journald has read its configuration again");
                return Ok(true);
            }
            "reloading" => {}
            other => return Err(failed("cannot reload journald", &format!("it is {other}"))),
        }
    }
    Err(failed("cannot reload journald", &"it is still reloading"))
}
