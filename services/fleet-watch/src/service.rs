//! The verdict on the bus.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleet_base::bus::{self, Error, sentence};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use zbus::fdo::Properties;
use zbus::names::InterfaceName;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, Variant, interface};

use crate::network_manager;
use crate::publish::Published;

/// The interface, and the name on the bus.
pub(crate) const NAME: &str = "org.fleetos.Connectivity1";
/// The object.
pub(crate) const PATH: &str = "/org/fleetos/Connectivity1";

/// How long `Recheck` waits for NetworkManager's check. It may take 20 s itself; the caller's own time limit is
/// usually 10 s, and a sentence serves better than a timeout.
const CHECK_LIMIT: Duration = Duration::from_secs(8);

/// Asks the service's loop to read again; answered when the result is published.
pub(crate) type Request = oneshot::Sender<()>;

/// The object on the bus.
pub(crate) struct Connectivity {
    /// Locked for an instant only: `Recheck` waits for a publication, so that publishing must not wait for it.
    published: Mutex<Published>,
    requests: mpsc::Sender<Request>,
}

impl Connectivity {
    pub(crate) const fn new(published: Published, requests: mpsc::Sender<Request>) -> Self {
        Self {
            published: Mutex::new(published),
            requests,
        }
    }

    fn published(&self) -> MutexGuard<'_, Published> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces what is published, and tells who listens what of it changed, in one signal.
    pub(crate) async fn publish(&self, next: Published, emitter: &SignalEmitter<'_>) -> zbus::Result<()> {
        let before = std::mem::replace(&mut *self.published(), next.clone());
        let (old, new) = (&before.verdict, &next.verdict);
        let mut changed = HashMap::new();
        let texts = [
            ("Level", old.level.as_str(), new.level.as_str()),
            ("Reason", old.reason.as_str(), new.reason.as_str()),
            ("Status", old.status.as_str(), new.status.as_str()),
            ("Explanation", &old.explanation, &new.explanation),
            ("Interface", &old.interface, &new.interface),
        ];
        for (property, old, new) in texts {
            if old != new {
                changed.insert(property, Variant::from(new));
            }
        }
        if before.since != next.since {
            changed.insert("Since", Variant::from(next.since));
        }
        if changed.is_empty() {
            return Ok(());
        }
        let interface = InterfaceName::from_static_str_unchecked(NAME);
        Properties::properties_changed(emitter, interface, changed, (&[]).into()).await
    }
}

#[interface(name = "org.fleetos.Connectivity1", introspection_docs = false)]
impl Connectivity {
    /// Makes NetworkManager check its connectivity now, and returns when the outcome is published.
    async fn recheck(&self, #[zbus(connection)] connection: &Connection) -> bus::Result<()> {
        let checked = timeout(CHECK_LIMIT, network_manager::check_connectivity(connection)).await;
        let (done, published) = oneshot::channel();
        // The loop is gone only when the process is.
        if self.requests.send(done).await.is_ok() {
            let _ = published.await;
        }
        match checked {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(Error::Failed(
                "cannot check the connectivity: NetworkManager does not run; see its unit".to_owned(),
            )),
            Ok(Err(error)) => Err(Error::Failed(format!(
                "cannot check the connectivity: {}",
                sentence(&error)
            ))),
            Err(_) => Err(Error::Busy(
                "the connectivity check is still waiting for an answer; its outcome will be published"
                    .to_owned(),
            )),
        }
    }

    /// The highest rung that holds.
    #[zbus(property)]
    fn level(&self) -> &'static str {
        self.published().verdict.level.as_str()
    }

    /// Why the next rung does not hold; `none` while nothing is wrong.
    #[zbus(property)]
    fn reason(&self) -> &'static str {
        self.published().verdict.reason.as_str()
    }

    /// `online`, `heartbeat-only`, `vpn-only` or `offline`.
    #[zbus(property)]
    fn status(&self) -> &'static str {
        self.published().verdict.status.as_str()
    }

    /// The same as a sentence.
    #[zbus(property)]
    fn explanation(&self) -> String {
        self.published().verdict.explanation.clone()
    }

    /// The interface that the level was measured on; empty if there is none.
    #[zbus(property)]
    fn interface(&self) -> String {
        self.published().verdict.interface.clone()
    }

    /// When this level and reason began, in microseconds of `CLOCK_BOOTTIME`.
    #[zbus(property)]
    fn since(&self) -> u64 {
        self.published().since
    }
}

#[cfg(test)]
mod tests {
    use zbus::object_server::Interface;

    use super::*;
    use crate::snapshot::Snapshot;
    use crate::verdict::judge;

    #[test]
    fn the_documented_interface_is_the_one_that_is_served() {
        let (requests, _) = mpsc::channel(1);
        let object = Connectivity::new(Published::next(None, judge(&Snapshot::Absent), 0), requests);
        let mut xml = String::new();
        object.introspect_to_writer(&mut xml, 0);
        assert_eq!(
            xml,
            include_str!("../../../docs/dbus/org.fleetos.Connectivity1.xml")
        );
    }
}
