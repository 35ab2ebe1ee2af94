//! The clock for deadlines and "since when".
//!
//! `CLOCK_BOOTTIME` never jumps when NTP steps the time and counts while suspended; wall time is only to show.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The time since the kernel started.
///
/// The clock is part of every kernel we run on (Linux 2.6.39); should it fail all the same, zero is returned,
/// which a reader sees as "unknown".
#[must_use]
pub fn now() -> Duration {
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

/// [`now`] in microseconds, the unit of every D-Bus time stamp of ours.
#[must_use]
pub fn now_us() -> u64 {
    u64::try_from(now().as_micros()).unwrap_or(u64::MAX)
}
