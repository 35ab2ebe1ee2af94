//! The service's loop: wait for a change, read, judge, publish.

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use fleet_base::idle::Activity;
use fleet_base::watchdog::{self, Watchdog};
use fleet_base::{boot_clock, object, paths};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use zbus::Connection;

use crate::network_manager::Reader;
use crate::publish::{Published, write_file, write_journal};
use crate::service::{Connectivity, Request};
use crate::settle::Settle;
use crate::signals::Signals;
use crate::snapshot::Snapshot;
use crate::verdict::judge;
use crate::vpn::{OpenVpn, WireGuard};

/// The shortest time between two readings. The first signal of a burst is acted on at once, the rest together.
const PAUSE: Duration = Duration::from_millis(100);
/// When a NetworkManager that does not answer is asked again: it may come back without a signal.
const RETRY: Duration = Duration::from_secs(30);
/// Callers of `Recheck` that may wait for the loop; more wait in their own call.
const REQUESTS: usize = 4;

/// Watches until the bus closes the connection.
///
/// # Errors
/// The bus refuses a subscription or the name.
pub(crate) async fn watch(connection: &Connection) -> zbus::Result<()> {
    let mut watchdog = Watchdog::from_environment();
    let signals = Signals::subscribe(connection).await?;
    let mut reader = Reader::new(connection.clone());
    let (requests, mut asked) = mpsc::channel(REQUESTS);

    let (openvpn, wireguard) = (OpenVpn::follow(), WireGuard::follow(connection));
    let add_vpns = |snapshot: &mut Snapshot| {
        wireguard.add_to(snapshot);
        openvpn.add_to(snapshot);
    };
    let mut snapshot = reader.read(&signals).await;
    add_vpns(&mut snapshot);
    let mut last_read = Instant::now();
    let first = Published::next(None, judge(&snapshot), boot_clock::now_us());
    tell(None, &first);
    let object = Arc::new(Connectivity::new(first.clone(), requests));
    object::serve(connection, Arc::clone(&object) as _, &Activity::default()).await?;
    watchdog::ready(&first.verdict.explanation);

    let mut published = first;
    let mut settle = Settle::default();
    loop {
        let again = matches!(snapshot, Snapshot::Unreadable(_)).then(|| last_read + RETRY);
        let request: Option<Request> = tokio::select! {
            () = watchdog.feed() => continue,
            () = connection.closed() => return Ok(()),
            () = signals.changed() => None,
            () = openvpn.changed() => None,
            () = wireguard.changed() => None,
            Some(request) = asked.recv() => Some(request),
            () = at(settle.deadline().or(again)) => None,
        };
        snapshot = fed(&mut watchdog, async {
            sleep_until(last_read + PAUSE).await;
            reader.read(&signals).await
        })
        .await;
        add_vpns(&mut snapshot);
        last_read = Instant::now();
        if connection.is_closed() {
            // What could not be read then says nothing about NetworkManager.
            return Ok(());
        }
        let verdict = judge(&snapshot);
        if !settle.admit(&verdict, &published.verdict, last_read) && request.is_none() {
            continue;
        }
        let next = Published::next(Some(&published), verdict, boot_clock::now_us());
        if next != published {
            tell(Some(&published), &next);
            published = next.clone();
            object.publish(next, connection).await?;
        }
        if let Some(request) = request {
            // A caller that has given up is no fault.
            let _ = request.send(());
        }
    }
}

/// Tells the journal and the file. A file that cannot be written is said, and the bus still has the verdict.
fn tell(before: Option<&Published>, published: &Published) {
    let transition = before.is_none_or(|before| {
        let (old, new) = (&before.verdict, &published.verdict);
        (old.level, old.reason, old.status, &old.interface)
            != (new.level, new.reason, new.status, &new.interface)
    });
    if transition {
        write_journal(before.map(|before| before.verdict.level), &published.verdict);
    }
    if let Err(error) = write_file(Path::new(paths::CONNECTIVITY), published) {
        log::warn!("{error}");
    }
}

/// Waits until `instant`, or for ever.
async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// Feeds the watchdog while something that has a time limit of its own is awaited.
async fn fed<T>(watchdog: &mut Watchdog, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = watchdog.feed() => {}
        }
    }
}
