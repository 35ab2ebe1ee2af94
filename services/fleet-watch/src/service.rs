//! The verdict on the bus.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleet_base::bus::{self, Error, sentence};
use fleet_base::object::{self, Answer, Call, Object, Place};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use zbus::{Connection, Variant};

use crate::network_manager;
use crate::publish::Published;
use crate::repair::Entry;
use crate::verdict::{Problem, Tunnel, Uplink};

/// Where it is served. Like the documentation of the interface; a test holds them equal.
const PLACE: Place = Place {
    name: "org.fleetos.Connectivity1",
    path: "/org/fleetos/Connectivity1",
    introspection: include_str!("org.fleetos.Connectivity1.xml"),
};

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
    pub(crate) async fn publish(&self, next: Published, connection: &Connection) -> zbus::Result<()> {
        let before = object::properties(self, true);
        *self.published() = next;
        object::announce(connection, self, &before).await
    }

    /// Makes NetworkManager check its connectivity now, and returns when the outcome is published.
    async fn recheck(&self, connection: &Connection) -> bus::Result<()> {
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
}

/// What is done about it: state, subject, and when, microseconds of `CLOCK_BOOTTIME`.
type RepairState = (String, String, u64);

/// A step that was taken: step, subject, reason, outcome, detail, and when, seconds since 1970.
type StepRow = (String, String, String, String, String, u64);

fn step_row(entry: &Entry) -> StepRow {
    let entry = entry.clone();
    (
        entry.step.as_str().to_owned(),
        entry.subject,
        entry.reason,
        entry.outcome.as_str().to_owned(),
        entry.detail,
        entry.wall,
    )
}

/// An uplink as it is on the bus: interface, level, reason, explanation, since; and what is at fault on it: reason,
/// address, explanation.
type Row = (String, String, String, String, u64, Vec<(String, String, String)>);

fn row((uplink, since): (&Uplink, u64)) -> Row {
    let problem = |problem: &Problem| {
        let problem = problem.clone();
        (problem.reason, problem.subject, problem.explanation)
    };
    (
        uplink.interface.clone(),
        uplink.level.as_str().to_owned(),
        uplink.reason.as_str().to_owned(),
        uplink.explanation.clone(),
        since,
        uplink.problems.iter().map(problem).collect(),
    )
}

/// A VPN as it is on the bus: name, state, reason, explanation, since; bytes in and out, and when a peer was heard last.
type VpnRow = (String, String, String, String, u64, u64, u64, u64);

fn vpn_row((vpn, since): (&Tunnel, u64)) -> VpnRow {
    (
        vpn.name.clone(),
        vpn.state.as_str().to_owned(),
        vpn.reason.as_str().to_owned(),
        vpn.explanation.clone(),
        since,
        vpn.counts.received,
        vpn.counts.sent,
        vpn.counts.handshake,
    )
}

impl Object for Connectivity {
    fn place(&self) -> &'static Place {
        &PLACE
    }

    fn property(&self, name: &str) -> Option<Variant<'static>> {
        let published = self.published();
        let verdict = &published.verdict;
        Some(match name {
            "Level" => verdict.level.as_str().into(),
            "Reason" => verdict.reason.as_str().into(),
            "Status" => verdict.status.as_str().into(),
            "Explanation" => verdict.explanation.clone().into(),
            "Interface" => verdict.interface.clone().into(),
            "Since" => published.since.into(),
            "Repair" => {
                let repairs = &published.repairs;
                let state: RepairState = (repairs.state.to_owned(), repairs.subject.clone(), repairs.at);
                state.into()
            }
            "Repairs" => {
                let steps = published.repairs.steps.iter().map(step_row);
                steps.collect::<Vec<StepRow>>().into()
            }
            "Uplinks" => published.uplinks().map(row).collect::<Vec<Row>>().into(),
            "Vpns" => published.vpns().map(vpn_row).collect::<Vec<VpnRow>>().into(),
            _ => return None,
        })
    }

    fn call<'c>(&'c self, call: &'c Call) -> Answer<'c> {
        Box::pin(async move {
            match call.method().as_str() {
                "Recheck" => self.recheck(&call.connection).await.map(|()| None),
                _ => Err(call.unknown()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Findings;
    use crate::repair::Repairs;
    use crate::snapshot::Snapshot;
    use crate::verdict::judge;

    #[test]
    fn the_documented_interface_is_the_one_that_is_served() {
        let (requests, _) = mpsc::channel(1);
        let object = Connectivity::new(
            Published::next(
                None,
                judge(&Snapshot::Absent, &Findings::default()),
                Repairs::default(),
                0,
            ),
            requests,
        );
        let mismatches = object::mismatches(&object, include_str!("service.rs"));
        assert_eq!(mismatches, [""; 0]);
        assert_eq!(
            PLACE.introspection,
            include_str!("../../../docs/dbus/org.fleetos.Connectivity1.xml")
        );
    }
}
