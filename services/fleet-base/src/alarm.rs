//! A timer that is set anew for whatever is due next, on the clock of every deadline of ours.
//!
//! One of the kernel's, because tokio's own wakes up several times on the way to one that is far ahead.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::net::unix::pipe;

/// A timer of the kernel's (timerfd_create(2)).
#[derive(Debug)]
pub struct Alarm {
    timer: TimerFd,
    /// The same timer by a second descriptor, in what read(2) and epoll(7) work on.
    expired: pipe::Receiver,
    set: Option<Duration>,
}

impl Alarm {
    /// One that is not set. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)?;
        let copy: OwnedFd = timer.as_fd().try_clone_to_owned()?;
        Ok(Self {
            timer,
            expired: pipe::Receiver::from_owned_fd_unchecked(copy)?,
            set: None,
        })
    }

    /// Waits until `due`, a time of [`boot_clock`](crate::boot_clock), or for ever. Cancel-safe; setting the same time
    /// again costs nothing.
    pub async fn wait(&mut self, due: Option<Duration>) {
        if self.set != due {
            let set = match due {
                // Zero would switch it off.
                Some(due) => {
                    let at = Expiration::OneShot(TimeSpec::from_duration(due.max(Duration::from_nanos(1))));
                    self.timer.set(at, TimerSetTimeFlags::TFD_TIMER_ABSTIME)
                }
                None => self.timer.unset(),
            };
            if let Err(error) = set {
                log::error!("cannot set a timer: {error}");
                return std::future::pending().await;
            }
            self.set = due;
        }
        loop {
            if self.expired.readable().await.is_err() {
                return std::future::pending().await;
            }
            // Reading resets it; one that has not expired says so.
            if self.expired.try_read(&mut [0; 8]).is_ok() {
                self.set = None;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot_clock;

    #[tokio::test]
    async fn rings_when_it_is_due_and_can_be_set_again() {
        let mut alarm = Alarm::new().unwrap();
        let far = boot_clock::now() + Duration::from_secs(3600);
        let waited = tokio::time::timeout(Duration::from_millis(5), alarm.wait(Some(far))).await;
        assert!(waited.is_err());
        for _ in 0..2 {
            let due = boot_clock::now() + Duration::from_millis(20);
            alarm.wait(Some(due)).await;
            assert!(boot_clock::now() >= due);
        }
        alarm.wait(Some(Duration::ZERO)).await;
        let never = tokio::time::timeout(Duration::from_millis(5), alarm.wait(None)).await;
        assert!(never.is_err());
    }
}
