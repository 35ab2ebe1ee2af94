//! journald: its configuration, read again where this release of systemd can, and where it stores.

use std::path::Path;
use std::time::Duration;

use fleet_base::bus::{self, sentence};
use fleet_base::file::{self, Durability};
use fleet_base::proxy::systemd::ManagerProxy;
use fleet_base::{command, paths};
use tokio::time::sleep;
use zbus::Connection;

use crate::service::failed;

const JOURNALD: &str = "systemd-journald.service";
/// Where it stores in RAM: a folder a machine-id.
const IN_RAM: &str = "/run/log/journal";
/// How often it is asked whether it is done, and how often at most: two seconds in all.
const PAUSE: Duration = Duration::from_millis(20);
const PAUSES: u32 = 100;

/// How long journalctl may take: it waits until journald has copied the volatile journal to a slow SD card.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Makes journald store on the data partition.
///
/// journalctl asks only for a journald that has not been told yet. One that ran out of room while it copied has been told,
/// and stays in RAM; it follows when it is told anew.
pub(crate) async fn flush() -> bus::Result<()> {
    let place = "cannot flush the journal";
    untell().map_err(|error| failed(place, &error))?;
    command::run("journalctl", &["--flush"], LIMIT)
        .await
        .map_err(|error| failed(place, &error))
}

/// Makes journald store in RAM. One that is there already is not told again; see [`flush`].
pub(crate) async fn relinquish() -> bus::Result<()> {
    let place = "cannot relinquish the journal";
    command::run("journalctl", &["--relinquish-var"], LIMIT)
        .await
        .map_err(|error| failed(place, &error))?;
    untell().map_err(|error| failed(place, &error))
}

/// Removes the flag of a journald that was told to leave RAM and writes there.
fn untell() -> Result<(), file::Error> {
    let machines = std::fs::read_dir(IN_RAM).into_iter().flatten().flatten();
    if machines
        .map(|machine| machine.path())
        .any(|machine| machine.join("system.journal").exists())
    {
        file::remove(Path::new(paths::JOURNAL_FLUSHED), Durability::Volatile)?;
    }
    Ok(())
}

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
