//! Service notification (`sd_notify(3)`): ready, status, and the watchdog.
//!
//! The watchdog is fed from the service's own loop, not from a thread beside it: a loop that hangs is a service
//! that hangs, and systemd restarts it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use sd_notify::NotifyState;
use tokio::net::unix::pipe;
use tokio::sync::Notify;

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
/// Without `WatchdogSec=` it never ticks, so that a service run by hand idles without wake-ups. A timer of the
/// kernel's, because tokio's own wakes up several times on the way to one that is far ahead.
pub struct Watchdog(Option<Timer>);

struct Timer {
    interval: Duration,
    expired: pipe::Receiver,
    fed: Arc<Notify>,
}

/// When a watchdog is fed, for one other thing in its service that is to be done now and then: it needs no wake-up of its
/// own.
pub struct Beat {
    interval: Option<Duration>,
    fed: Arc<Notify>,
}

impl Beat {
    /// Returns when the watchdog was fed.
    pub async fn next(&self) {
        self.fed.notified().await;
    }

    /// Whether that will be before so much time is over.
    #[must_use]
    pub fn comes_within(&self, pause: Duration) -> bool {
        self.interval.is_some_and(|interval| interval <= pause)
    }
}

impl Watchdog {
    /// Reads `WATCHDOG_USEC` from the environment. Must be called inside a tokio runtime.
    #[must_use]
    pub fn from_environment() -> Self {
        let Some(timeout) = sd_notify::watchdog_enabled() else {
            return Self(None);
        };
        // Never zero, which would switch the timer off.
        match Timer::every((timeout / 2).max(Duration::from_millis(1))) {
            Ok(timer) => Self(Some(timer)),
            Err(error) => {
                log::error!("cannot feed the watchdog, systemd will end this service: no timer: {error}");
                Self(None)
            }
        }
    }

    /// Waits until it is time, and feeds the watchdog. For a branch of `tokio::select!` in the service's loop.
    ///
    /// Cancel-safe.
    pub async fn feed(&mut self) {
        let Some(timer) = &self.0 else {
            return std::future::pending().await;
        };
        loop {
            // Fails only with the runtime; then the missing feed tells systemd.
            if timer.expired.readable().await.is_err() {
                return std::future::pending().await;
            }
            // Reading resets it; one that has not expired says so (timerfd_create(2)).
            if timer.expired.try_read(&mut [0; 8]).is_ok() {
                timer.fed.notify_one();
                return send(&[NotifyState::Watchdog]);
            }
        }
    }

    /// Tells when it is fed.
    #[must_use]
    pub fn beat(&self) -> Beat {
        Beat {
            interval: self.0.as_ref().map(|timer| timer.interval),
            fed: self
                .0
                .as_ref()
                .map(|timer| Arc::clone(&timer.fed))
                .unwrap_or_default(),
        }
    }

    /// Whether it will be fed before that much time is over: what is not urgent then needs no wake-up of its own.
    #[must_use]
    pub fn comes_within(&self, pause: Duration) -> bool {
        self.0.as_ref().is_some_and(|timer| timer.interval <= pause)
    }
}

impl Timer {
    /// One that expires every `interval`, on the clock that the watchdog of systemd uses too.
    ///
    /// In tokio's pipe reader, which takes whatever read(2) and epoll(7) work on: `AsyncFd`, made for this, has no safe
    /// constructor any more.
    fn every(interval: Duration) -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let every = Expiration::Interval(TimeSpec::from_duration(interval));
        timer.set(every, TimerSetTimeFlags::empty())?;
        let expired = pipe::Receiver::from_owned_fd_unchecked(OwnedFd::from(timer))?;
        Ok(Self {
            interval,
            expired,
            fed: Arc::default(),
        })
    }
}

/// Sends to systemd; without systemd (`NOTIFY_SOCKET` unset) it does nothing.
fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        log::debug!("cannot notify systemd: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ticks_again_and_again_and_only_then() {
        let start = std::time::Instant::now();
        let mut watchdog = Watchdog(Some(Timer::every(Duration::from_millis(20)).unwrap()));
        assert!(watchdog.comes_within(Duration::from_millis(20)));
        assert!(!watchdog.comes_within(Duration::from_millis(19)));
        let beat = watchdog.beat();
        assert!(
            beat.comes_within(Duration::from_millis(20)) && !beat.comes_within(Duration::from_millis(19))
        );
        for _ in 0..3 {
            watchdog.feed().await;
            beat.next().await;
        }
        assert!(start.elapsed() >= Duration::from_millis(60));
    }

    #[tokio::test]
    async fn never_ticks_without_a_watchdog() {
        assert!(!Watchdog(None).comes_within(Duration::MAX));
        assert!(!Watchdog(None).beat().comes_within(Duration::MAX));
        let waited = tokio::time::timeout(Duration::from_millis(20), Watchdog(None).feed()).await;
        assert!(waited.is_err());
    }
}
