//! What ModemManager knows of a modem that cannot be used, and NetworkManager does not tell.

use fleet_base::bus::name_owner;
use fleet_base::peer::Peer;
use zbus::Connection;

const NAME: &str = "org.freedesktop.ModemManager1";
const MODEM: &str = "org.freedesktop.ModemManager1.Modem";

/// `MMModemStateFailedReason`: SIM missing, SIM error, eSIM without profiles.
const WITHOUT_SIM: [u32; 3] = [2, 3, 5];

/// Whether the modem, an object of ModemManager's, has no SIM that works. It does not change while the object is there.
pub(crate) async fn lacks_sim(connection: &Connection, modem: &str) -> bool {
    // Addressed by its unique name, so that it is not started by asking.
    let Ok(Some(owner)) = name_owner(connection, NAME).await else {
        return false;
    };
    let arguments = vec![MODEM.into(), "StateFailedReason".into()];
    let answer = Peer::new(connection, owner.as_str())
        .call(modem, "org.freedesktop.DBus.Properties", "Get", arguments)
        .await;
    match answer.and_then(|mut values| values.take::<u32>()) {
        Ok(reason) => WITHOUT_SIM.contains(&reason),
        Err(error) => {
            log::debug!("cannot ask ModemManager about {modem}: {error}");
            false
        }
    }
}
