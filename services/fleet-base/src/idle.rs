//! Services that leave when nobody calls them.
//!
//! A bus-activated service costs nothing while it is not there. It counts the calls under way, and leaves a while
//! after the last one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;
use zbus::Connection;
use zbus::connection::Builder;

use crate::exit::Exit;
use crate::object::{self, Object};
use crate::pending::Pending;
use crate::{bus, watchdog};

/// How long after the name was given up a call that was sent before may still begin.
const DRAIN: Duration = Duration::from_millis(100);

/// Counts calls under way. Clones count together.
#[derive(Clone, Default)]
pub struct Activity(Arc<Shared>);

#[derive(Default)]
struct Shared {
    under_way: Mutex<usize>,
    changed: Notify,
}

/// A call under way; it ends when this is dropped.
pub struct Call(Activity);

impl Activity {
    /// Marks the beginning of a call. Keep the result until the answer is ready.
    #[must_use]
    pub fn begin(&self) -> Call {
        self.adjust(|calls| calls.saturating_add(1));
        Call(self.clone())
    }

    /// Returns once no call was under way or began for `quiet`.
    pub async fn idle(&self, quiet: Duration) {
        loop {
            let changed = self.0.changed.notified();
            let busy = *self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner) > 0;
            if busy {
                changed.await;
            } else if timeout(quiet, changed).await.is_err() {
                return;
            }
        }
    }

    fn adjust(&self, change: impl FnOnce(usize) -> usize) {
        let mut calls = self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        *calls = change(*calls);
        self.0.changed.notify_one();
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.adjust(|calls| calls.saturating_sub(1));
    }
}

/// Serves an object until no call came for `quiet`, then leaves the bus so that no call is lost: the life of a
/// bus-activated service.
///
/// The order is what makes it safe. systemd hears first that the service is stopping, so that a call that activates
/// it again waits for a new process instead of finding this one *active*. Then the name is given up; the bus answers
/// after everything that it had delivered to us, and that is still served.
///
/// The unit needs `NotifyAccess=main` for the first step.
#[inline(never)]
pub fn serve(object: Arc<dyn Object>, bus: Builder<'static>, quiet: Duration) -> Pending<'static, Exit> {
    serve_beside(
        object,
        bus,
        quiet,
        Box::new(|_, _| Box::pin(std::future::pending())),
    )
}

/// What a service does beside its calls.
pub type Beside = Pending<'static, ()>;

/// [`serve`], with something to do beside the calls: it begins when the object is served, and keeps the service there
/// for as long as it holds a [`Call`] of the activity.
#[inline(never)]
pub fn serve_beside(
    object: Arc<dyn Object>,
    bus: Builder<'static>,
    quiet: Duration,
    beside: Box<dyn FnOnce(Connection, Activity) -> Beside + Send>,
) -> Pending<'static, Exit> {
    Box::pin(come_and_go(object, bus, quiet, beside))
}

async fn come_and_go(
    object: Arc<dyn Object>,
    bus: Builder<'static>,
    quiet: Duration,
    beside: Box<dyn FnOnce(Connection, Activity) -> Beside + Send>,
) -> Exit {
    let name = object.place().name;
    let activity = Activity::default();
    let served = async {
        let connection = bus::open(bus).await?;
        object::serve(&connection, object, &activity).await?;
        Ok(connection)
    };
    let connection: Connection = match served.await {
        Ok(connection) => connection,
        Err(error) => {
            let error: zbus::Error = error;
            log::error!("cannot serve {name} on the system bus: {error}");
            return Exit::Unavailable;
        }
    };
    let beside = async {
        beside(connection.clone(), activity.clone()).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = activity.idle(quiet) => {}
        () = beside => {}
        () = connection.closed() => {
            log::error!("{name} stops: the bus closed the connection");
            return Exit::Unavailable;
        }
    }
    watchdog::stopping();
    if let Err(error) = bus::release_name(&connection, name).await {
        log::warn!("cannot release {name}: {error}");
    }
    // A call counts until its answer is sent.
    activity.idle(DRAIN).await;
    Exit::Done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_for_the_last_call_to_end() {
        let activity = Activity::default();
        let call = activity.begin();
        let second = Duration::from_secs(1);
        assert!(
            timeout(second * 10, activity.idle(second)).await.is_err(),
            "a call is under way"
        );
        drop(call);
        let before = tokio::time::Instant::now();
        activity.idle(second).await;
        assert_eq!(before.elapsed(), second);
    }
}
