//! The service's loop: wait for a change or for what a probe finds, read, judge, publish.

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use fleet_base::alarm::Alarm;
use fleet_base::clock_step::ClockStep;
use fleet_base::idle::Activity;
use fleet_base::watchdog::{self, Watchdog};
use fleet_base::{boot_clock, object, paths};
use tokio::sync::mpsc;
use tokio::time::sleep;
use zbus::Connection;

use crate::budget::Budget;
use crate::checks::Checks;
use crate::fallback::Fallback;
use crate::ladder::Level;
use crate::lines::Lines;
use crate::neighbours::Neighbours;
use crate::network_manager::Reader;
use crate::pace::Pace;
use crate::prober::{Prober, Then};
use crate::publish::{Published, write_file, write_status};
use crate::repair::Repair;
use crate::service::{Connectivity, Request};
use crate::settings::Settings;
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
/// The bus refuses a subscription or the name, or there is no timer.
pub(crate) async fn watch(connection: &Connection) -> zbus::Result<()> {
    let mut watchdog = Watchdog::from_environment();
    let mut alarm = Alarm::new()?;
    let clock = ClockStep::watch()?;
    let signals = Signals::subscribe(connection).await?;
    let mut reader = Reader::new(connection.clone());
    let (requests, mut asked) = mpsc::channel(REQUESTS);

    let (openvpn, wireguard) = (OpenVpn::follow(), WireGuard::follow(connection));
    let mut fallback = Fallback::new(connection.clone());
    let mut pace = Pace::new(connection.clone());
    let complete = |snapshot: &mut Snapshot, fallback: &Fallback| {
        wireguard.add_to(snapshot);
        openvpn.add_to(snapshot);
        fallback.add_to(snapshot);
    };
    let mut snapshot = reader.read(&signals, fallback.covers()).await;
    complete(&mut snapshot, &fallback);
    let mut last_read = boot_clock::now();
    let settings = Settings::read(Path::new(paths::RUN_WATCH_SETTINGS));
    let budget = Budget::read(Path::new(paths::PROBE_BUDGET), settings.monthly_budget);
    let mut repair = Repair::new(connection.clone(), &settings, last_read);
    let (mut prober, mut messages) = Prober::new(settings, budget);
    prober.follow(&snapshot, last_read);
    let (mut checks, mut neighbours) = (Checks::new(), Neighbours::listen());
    let mut lines = Lines::new();
    let verdict = judge(&snapshot, prober.findings());
    let mut first = Published::next(None, verdict, repair.published(), boot_clock::now_us());
    first.resume(Path::new(paths::CONNECTIVITY));
    tell(&mut lines, &first);
    let object = Arc::new(Connectivity::new(first.clone(), requests));
    object::serve(connection, Arc::clone(&object) as _, &Activity::default()).await?;
    watchdog::ready(&first.verdict.explanation);

    let mut judged = first.verdict.level;
    let mut published = first;
    let mut settle = Settle::default();
    loop {
        let again = matches!(snapshot, Snapshot::Unreadable(_)).then(|| last_read + RETRY);
        let due = [
            settle.deadline(),
            again,
            lines.due(),
            prober.due(),
            fallback.due(),
            pace.due(),
            repair.due(),
        ]
        .into_iter()
        .flatten()
        .min();
        let mut request: Option<Request> = None;
        let mut checked = None;
        neighbours.expect(prober.is_gateway_silent());
        // Whether NetworkManager is to be read; else only the findings are others.
        let read = tokio::select! {
            () = watchdog.feed() => continue,
            () = connection.closed() => return Ok(()),
            () = signals.changed() => true,
            () = openvpn.changed() => true,
            () = wireguard.changed() => true,
            () = fallback.replied() => {
                // What the check found was found through others.
                checks.ask(connection);
                true
            }
            () = pace.replied() => false,
            reply = repair.replied() => {
                repair.take_reply(&reply, boot_clock::now());
                false
            }
            () = clock.wait() => {
                // What failed for its certificate's sake may not now.
                log::info!("the clock was set");
                checks.ask(connection);
                prober.again(boot_clock::now());
                continue;
            }
            Some(asked) = asked.recv() => {
                request = Some(asked);
                prober.again(boot_clock::now());
                true
            }
            Some(message) = messages.recv() => match prober.take(message, boot_clock::now()) {
                Then::Nothing => continue,
                Then::Judge => false,
                Then::JudgeAndAskNetworkManager => {
                    checks.ask(connection);
                    false
                }
                Then::AskNetworkManager => {
                    checks.ask(connection);
                    continue;
                }
            },
            asked = checks.done() => {
                checked = Some(asked);
                true
            }
            news = neighbours.heard() => {
                prober.hear(news, boot_clock::now());
                continue;
            }
            () = alarm.wait(due) => {
                let now = boot_clock::now();
                let is_due = |due: Option<Duration>| due.is_some_and(|due| due <= now);
                let changed = prober.begin(now);
                let others = [again, settle.deadline(), lines.due(), fallback.due(), pace.due(), repair.due()];
                if !(changed || others.into_iter().any(is_due)) {
                    continue;
                }
                is_due(again) || is_due(settle.deadline())
            }
        };
        if read {
            snapshot = fed(&mut watchdog, async {
                sleep((last_read + PAUSE).saturating_sub(boot_clock::now())).await;
                reader.read(&signals, fallback.covers()).await
            })
            .await;
            complete(&mut snapshot, &fallback);
            last_read = boot_clock::now();
            if connection.is_closed() {
                // What could not be read then says nothing about NetworkManager.
                return Ok(());
            }
            if signals.take_configuration_changed() {
                let settings = Settings::read(Path::new(paths::RUN_WATCH_SETTINGS));
                repair.set(&settings, last_read);
                prober.set(settings, last_read);
                fallback.read_again();
                pace.read_again();
            }
            if prober.follow(&snapshot, last_read) {
                checks.ask(connection);
            }
            if let Some(asked) = checked {
                prober.checked(asked);
            }
        }
        let now = boot_clock::now();
        fallback.tend(&snapshot, prober.findings(), now);
        pace.tend(&snapshot, now);
        let mut verdict = judge(&snapshot, prober.findings());
        if judged == Level::Vpn && verdict.level == Level::Internet {
            // Its silence may be that of the way: the check says what it found before.
            checks.ask(connection);
        }
        judged = verdict.level;
        repair.tend(&snapshot, &verdict, now);
        repair.add_to(&mut verdict);
        if settle.admit(&verdict, &published.verdict, now) || request.is_some() {
            let next = Published::next(
                Some(&published),
                verdict,
                repair.published(),
                boot_clock::now_us(),
            );
            if next != published {
                published = next.clone();
                tell(&mut lines, &published);
                object.publish(next, connection).await?;
            }
        }
        if lines.due().is_some_and(|due| due <= now) {
            lines.tell(&published.verdict, now);
        }
        if let Some(request) = request {
            // A caller that has given up is no fault.
            let _ = request.send(());
        }
    }
}

/// Tells the journal and the files. One that cannot be written is said, and the bus still has the verdict.
fn tell(lines: &mut Lines, published: &Published) {
    lines.tell(&published.verdict, boot_clock::now());
    let written = write_file(Path::new(paths::CONNECTIVITY), published);
    let status = write_status(Path::new(paths::CONNECTIVITY_STATUS), published.verdict.status);
    for error in [written.err(), status.err()].into_iter().flatten() {
        log::warn!("{error}");
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
