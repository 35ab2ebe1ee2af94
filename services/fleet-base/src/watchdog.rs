//! Service notification (`sd_notify(3)`): ready, status, and the watchdog.
//!
//! The watchdog is fed from the service's own loop, not from a thread beside it: a loop that hangs is a service
//! that hangs, and systemd restarts it.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Tells systemd that start-up is finished, with a sentence for `systemctl status`.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Replaces the sentence in `systemctl status`.
pub fn status(status: &str) {
    send(&[NotifyState::Status(status)]);
}

/// Tells systemd that the service is going away by itself.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// Feeds the watchdog from a service's loop, in half the interval that the unit asks for.
///
/// Without `WatchdogSec=` it never ticks, so that a service run by hand idles without wake-ups.
pub struct Watchdog(Option<Interval>);

impl Watchdog {
    /// Reads `WATCHDOG_USEC` from the environment. Must be called inside a tokio runtime.
    #[must_use]
    pub fn from_environment() -> Self {
        Self(sd_notify::watchdog_enabled().map(|timeout| {
            // Half of it, and never zero, which `interval` refuses.
            let mut interval = interval((timeout / 2).max(Duration::from_millis(1)));
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        }))
    }

    /// Waits until it is time, and feeds the watchdog. For a branch of `tokio::select!` in the service's loop.
    ///
    /// Cancel-safe.
    pub async fn feed(&mut self) {
        match &mut self.0 {
            Some(interval) => {
                interval.tick().await;
                send(&[NotifyState::Watchdog]);
            }
            None => std::future::pending().await,
        }
    }
}

/// Sends to systemd; without systemd (`NOTIFY_SOCKET` unset) it does nothing.
fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        log::debug!("cannot notify systemd: {error}");
    }
}
