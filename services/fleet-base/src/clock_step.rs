//! Tells when the wall clock is set, by whomever: certificates that were not valid may be, and the other way round.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::net::unix::pipe;

/// Later than the wall clock can be.
const NEVER: Duration = Duration::from_secs(1 << 60);

/// A timer of the kernel's that is never due, and is cancelled when the clock is set (timerfd_create(2),
/// `TFD_TIMER_CANCEL_ON_SET`); slewing it is no setting.
#[derive(Debug)]
pub struct ClockStep {
    /// What read(2) and epoll(7) work on; the timer is armed as long as it is open.
    cancelled: pipe::Receiver,
}

impl ClockStep {
    /// Begins to watch. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn watch() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_REALTIME, flags)?;
        timer.set(
            Expiration::OneShot(TimeSpec::from_duration(NEVER)),
            TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET,
        )?;
        let copy: OwnedFd = timer.as_fd().try_clone_to_owned()?;
        Ok(Self {
            cancelled: pipe::Receiver::from_owned_fd_unchecked(copy)?,
        })
    }

    /// Waits until the clock was set. Cancel-safe.
    pub async fn wait(&self) {
        loop {
            if self.cancelled.readable().await.is_err() {
                return std::future::pending().await;
            }
            // Reading says so once, and goes on watching.
            match self.cancelled.try_read(&mut [0; 8]) {
                Err(error) if error.raw_os_error() == Some(Errno::ECANCELED as i32) => return,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(_) | Err(_) => return std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // That it tells is seen in QEMU (clock_qemu.rs): here nobody sets the clock.
    #[tokio::test]
    async fn a_clock_that_goes_on_is_none() {
        let step = ClockStep::watch().unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(20), step.wait()).await;
        assert!(waited.is_err());
    }
}
