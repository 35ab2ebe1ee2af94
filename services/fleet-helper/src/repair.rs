//! The steps of the repair ladder. When one is taken is fleet-watch's to say, who listens to the network; what it is done to
//! is not: an uplink of NetworkManager's, or the one unit that the step itself is about.

use std::path::Path;
use std::time::Duration;

use fleet_base::bus::{self, Error, name_owner, sentence};
use fleet_base::file::{self, Durability};
use fleet_base::paths::{OPENVPN_CONFIG, REBOOT_FAULT, RUN_VPN, RUN_WATCH_SETTINGS, STATE_CONFIG};
use fleet_base::peer::{Peer, Properties};
use fleet_base::proxy::network_manager::{NAME, PATH};
use fleet_base::proxy::systemd::{ManagerProxy, NETWORK_MANAGER, OPENVPN};
use tokio::time::{sleep, timeout};
use zbus::{Connection, ObjectPath, OwnedObjectPath, Variant};

use crate::service::failed;

/// How long a unit may take to stop and start. Callers wait for ten seconds.
const LIMIT: Duration = Duration::from_secs(8);
/// How long NetworkManager may take to answer before it counts as hung.
const ANSWER: Duration = Duration::from_secs(3);
/// How long a device stays down, and how long its link may take to come back.
const DOWN: Duration = Duration::from_secs(1);
const UP: Duration = Duration::from_secs(5);
/// `NMDeviceState`: usable, and no profile is active.
const DISCONNECTED: u32 = 30;
/// Two configurations of a VPN, escaped.
const TRIAL_BYTES: u64 = 1024 * 1024;

const DEVICE: &str = "org.freedesktop.NetworkManager.Device";
const ACTIVE: &str = "org.freedesktop.NetworkManager.Connection.Active";
const PROFILE: &str = "org.freedesktop.NetworkManager.Settings.Connection";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// The name of the WireGuard profile of `os.vpn`.
const VPN_PROFILE: &str = "fleet-vpn";

/// Takes a step.
pub(crate) async fn repair(connection: &Connection, step: &str, subject: &str) -> bus::Result<()> {
    match step {
        "reactivate" | "bounce" => {
            let is_bounce = step == "bounce";
            check_interface(subject)?;
            let network_manager = network_manager(connection).await?;
            let place = format!("cannot {step} {subject}");
            let done = reactivate(&network_manager, subject, is_bounce).await;
            done.map_err(|error| failed(&place, &sentence(&error)))?;
        }
        "restart-vpn" => restart_vpn(connection).await?,
        "restart-network-manager" => restart_network_manager(connection).await?,
        _ => {
            return Err(Error::InvalidArgument(format!(
                "there is no step {step:?} of repair"
            )));
        }
    }
    log::info!("repair: {step} ({subject})");
    Ok(())
}

/// What the kernel takes as the name of an interface (`dev_valid_name`), without what nobody has in one.
fn check_interface(name: &str) -> bus::Result<()> {
    let is_valid = matches!(name.len(), 1..=15)
        && !matches!(name, "." | "..")
        && name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':'));
    if is_valid {
        return Ok(());
    }
    Err(Error::InvalidArgument(format!(
        "{name:?} is not the name of an interface"
    )))
}

/// NetworkManager, if it runs; it is not started by asking.
async fn network_manager(connection: &Connection) -> bus::Result<Peer> {
    match name_owner(connection, NAME).await {
        Ok(Some(owner)) => Ok(Peer::new(connection, owner.as_str())),
        Ok(None) => Err(Error::Failed("NetworkManager does not run".to_owned())),
        Err(error) => Err(failed("cannot find NetworkManager", &sentence(&error))),
    }
}

/// Activates the device's profile anew, after the device was down for a moment if `bounce`.
async fn reactivate(manager: &Peer, interface: &str, bounce: bool) -> zbus::Result<()> {
    let mut found = manager
        .call(PATH, NAME, "GetDeviceByIpIface", vec![interface.into()])
        .await?;
    let path: OwnedObjectPath = found.take()?;
    let mut device = manager.properties(path.as_str(), DEVICE).await?;
    let profile = profile(manager, &mut device).await?;
    if bounce {
        // A device that is managed no more is taken down, one that is managed is brought up: nl80211 and ethtool alike.
        manage(manager, &path, false).await?;
        sleep(DOWN).await;
        manage(manager, &path, true).await?;
        let up = async {
            while let Ok(device) = manager.properties(path.as_str(), DEVICE).await {
                if device.number("State") >= DISCONNECTED {
                    break;
                }
                sleep(DOWN / 10).await;
            }
        };
        if timeout(UP, up).await.is_err() {
            // NetworkManager activates what it finds when the link is there.
            return Ok(());
        }
    }
    let any = OwnedObjectPath::from(ObjectPath::default());
    let arguments = vec![profile.into(), path.into(), any.into()];
    manager.tell(PATH, NAME, "ActivateConnection", arguments).await
}

async fn manage(manager: &Peer, device: &OwnedObjectPath, on: bool) -> zbus::Result<()> {
    let arguments = vec![
        DEVICE.into(),
        "Managed".into(),
        Variant::Variant(Box::new(on.into())),
    ];
    manager.tell(device.as_str(), PROPERTIES, "Set", arguments).await
}

/// The profile that is active on the device, else the best that is activated by itself.
async fn profile(manager: &Peer, device: &mut Properties) -> zbus::Result<OwnedObjectPath> {
    let mut best: Option<(i32, u64, String)> = None;
    if let Some(active) = device.path("ActiveConnection")
        && let Some(profile) = manager.properties(&active, ACTIVE).await?.path("Connection")
    {
        best = Some((0, 0, profile));
    } else {
        for path in device.paths("AvailableConnections") {
            let mut answer = manager.call(&path, PROFILE, "GetSettings", vec![]).await?;
            let mut sections: Properties = answer.take()?;
            let mut section: Properties = sections.take("connection").unwrap_or_default();
            // Defaults are left out on the bus.
            let priority = section.take("autoconnect-priority").unwrap_or(0);
            let rank = (priority, section.long("timestamp"), path);
            if section.flag_or("autoconnect", true) && best.as_ref().is_none_or(|best| rank > *best) {
                best = Some(rank);
            }
        }
    }
    match best {
        Some((_, _, path)) => Ok(ObjectPath::try_from(path)?.into()),
        None => Err(zbus::Error::Failure(
            "there is no profile for it that is activated by itself".to_owned(),
        )),
    }
}

/// Restarts OpenVPN, or activates WireGuard's profile anew: the VPN of `os.vpn`.
async fn restart_vpn(connection: &Connection) -> bus::Result<()> {
    let place = "cannot restart the VPN";
    if !Path::new(RUN_VPN).join(OPENVPN_CONFIG).exists() {
        let manager = network_manager(connection).await?;
        let done = reactivate(&manager, VPN_PROFILE, false).await;
        return done.map_err(|error| failed(place, &sentence(&error)));
    }
    let systemd = ManagerProxy::new(connection);
    let before = systemd.active_state(OPENVPN).await;
    if before.as_deref().unwrap_or("inactive") == "inactive" {
        // systemd starts it again however it ended, but by this.
        return Err(Error::Refused(
            "somebody has stopped OpenVPN: start it, or take os.vpn away".to_owned(),
        ));
    }
    restart(&systemd, OPENVPN, LIMIT, place).await
}

/// Restarts NetworkManager; one that does not answer is killed, because it would not stop either.
async fn restart_network_manager(connection: &Connection) -> bus::Result<()> {
    let place = "cannot restart NetworkManager";
    let systemd = ManagerProxy::new(connection);
    if let Ok(manager) = network_manager(connection).await {
        let asked = timeout(ANSWER, manager.text(PATH, NAME, "Version")).await;
        if !matches!(asked, Ok(Ok(_))) {
            let killed = systemd.kill_unit(NETWORK_MANAGER, nix::libc::SIGKILL).await;
            killed.map_err(|error| failed(place, &sentence(&error)))?;
        }
    }
    // Whether it may be started again so soon is not systemd's to say here.
    let _ = systemd.reset_failed(NETWORK_MANAGER).await;
    let limit = LIMIT.saturating_sub(ANSWER);
    restart(&systemd, NETWORK_MANAGER, limit, place).await
}

/// Restarts a unit. One that takes longer than is waited for goes on, and will be seen when it is there.
async fn restart(systemd: &ManagerProxy, unit: &str, limit: Duration, place: &str) -> bus::Result<()> {
    match systemd.finish("RestartUnit", unit, limit).await.as_deref() {
        Ok("active" | "activating") | Err(zbus::Error::InputOutput(_)) => Ok(()),
        Ok(state) => Err(failed(place, &format!("{unit} is {state}"))),
        Err(error) => Err(failed(place, &sentence(error))),
    }
}

/// Restarts the system in order, if the configuration allows it and nothing is on trial.
pub(crate) async fn reboot(connection: &Connection, reason: &str) -> bus::Result<()> {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
    if !(matches!(reason.len(), 1..=40) && reason.bytes().all(is_word)) {
        return Err(Error::InvalidArgument(
            "that is not the name of a reason".to_owned(),
        ));
    }
    let settings = file::read(Path::new(RUN_WATCH_SETTINGS), 4096).unwrap_or_default();
    if !allows_reboot(&String::from_utf8_lossy(&settings)) {
        return Err(Error::Refused(
            "os.network.repair.reboot does not allow it".to_owned(),
        ));
    }
    let trial = file::read(&Path::new(STATE_CONFIG).join("vpn-trial"), TRIAL_BYTES);
    if trial.is_ok_and(|trial| is_running(&String::from_utf8_lossy(&trial))) {
        return Err(Error::Busy(
            "a change of the configuration is on trial".to_owned(),
        ));
    }
    log::warn!("the system restarts to repair the network: {reason}");
    // For who tells afterwards why it did.
    let noted = file::write(
        Path::new(REBOOT_FAULT),
        reason.as_bytes(),
        0o644,
        Durability::Volatile,
    );
    noted.map_err(|error| failed("cannot note why the system restarts", &error))?;
    let started = ManagerProxy::new(connection)
        .start_unit("reboot.target", "replace-irreversibly")
        .await;
    started.map_err(|error| failed("cannot restart the system", &sentence(&error)))
}

/// fleet-config's file, as fleet-watch reads it.
fn allows_reboot(settings: &str) -> bool {
    settings.lines().any(|line| line == "repair_reboot=1")
}

/// What fleet-config keeps of a trial: one that is over has the reason why it failed. Quotes inside of texts are escaped.
fn is_running(trial: &str) -> bool {
    !trial.contains(r#""reason":""#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_interfaces() {
        for good in ["eth0", "wlp2s0", "enx0a1b2c3d4e5f", "eth0.100", "br-lan"] {
            assert!(check_interface(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "eth0:1",
            "a b",
            "a\n",
            "sixteen-letters-x",
            "ä",
        ] {
            assert!(check_interface(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_reboot_is_allowed_by_the_one_line() {
        assert!(allows_reboot("# x\nrepair=1\nrepair_reboot=1\n"));
        for no in [
            "",
            "repair_reboot=0\n",
            "# repair_reboot=1\n",
            "repair_reboot=10\n",
        ] {
            assert!(!allows_reboot(no), "{no:?}");
        }
    }

    #[test]
    fn a_trial_that_failed_is_over() {
        assert!(is_running(
            r#"{"before":{"config":"remote \"reason\":\" x"},"tried":"00"}"#
        ));
        assert!(is_running(r#"{"before":{},"tried":"00","reason":null}"#));
        assert!(!is_running(r#"{"before":{},"tried":"00","reason":"its server"}"#));
    }
}
