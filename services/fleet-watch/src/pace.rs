//! The pace of NetworkManager's connectivity check: slower while an uplink is paid by volume.
//!
//! Its interval is one for all devices, so that it is slow on the others as well; there our own requests take its place.

use std::time::Duration;

use fleet_base::bus::sentence;
use fleet_base::metered_pace::{available, in_use};
use fleet_base::proxy::helper::HelperProxy;
use zbus::Connection;

use crate::errand::Errand;
use crate::snapshot::{Network, Snapshot};
use crate::verdict::is_uplink;

/// Whether the check costs something somewhere.
pub(crate) fn is_metered(network: &Network) -> bool {
    let mut uplinks = (network.devices.iter()).filter(|device| is_uplink(network, device) && device.gateway);
    network.checked && uplinks.any(|device| device.metered)
}

/// Keeps it as it shall be.
pub(crate) struct Pace {
    connection: Connection,
    /// What is in use.
    in_use: String,
    /// What is to be in use while it is slow.
    available: String,
    errand: Errand,
}

impl Pace {
    pub(crate) fn new(connection: Connection) -> Self {
        Self {
            connection,
            in_use: in_use(),
            available: available(),
            errand: Errand::new(),
        }
    }

    /// The configuration may say something else of it.
    pub(crate) fn read_again(&mut self) {
        self.available = available();
        self.errand.forget();
    }

    /// Has it made slow or not, if that is not as it should be.
    pub(crate) fn tend(&mut self, snapshot: &Snapshot, now: Duration) {
        let Snapshot::Read(network) = snapshot else {
            // A NetworkManager that comes back is read, and this is called then.
            self.errand.forget();
            return;
        };
        let on = is_metered(network);
        let wanted = if on { self.available.as_str() } else { "" };
        if wanted == self.in_use {
            self.errand.forget();
        } else if self.errand.is_due(now) {
            let connection = self.connection.clone();
            let work = async move {
                let done = HelperProxy::new(&connection).set_metered_pace(on).await;
                done.map(|()| Vec::new())
            };
            self.errand.send(now, Box::pin(work));
        }
    }

    /// Waits for the helper's answer. Cancel-safe.
    pub(crate) async fn replied(&mut self) {
        if let Err(error) = self.errand.replied().await {
            let error = sentence(&error);
            log::warn!("cannot set the pace of NetworkManager's check for a metered uplink: {error}");
        }
        self.in_use = in_use();
    }

    /// When to [`tend`](Self::tend) it again although nothing has changed.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.errand.due()
    }
}
