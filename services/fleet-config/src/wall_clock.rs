//! The time of day, to show to people; no deadline rests on it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Microseconds at the beginning of 2026-06-01 UTC. No device ran this release before: a clock that shows an earlier
/// time was not set (a board without a battery begins at the time at which systemd was built).
const EARLIEST: u64 = 1_780_272_000_000_000;

/// Microseconds since 1970 (`CLOCK_REALTIME`); 0 if the clock was not set.
pub(crate) fn now_us() -> u64 {
    us_before(Duration::ZERO)
}

/// So long before now, in the same way.
pub(crate) fn us_before(time: Duration) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    match u64::try_from(now.as_micros()) {
        Ok(micros) if micros >= EARLIEST => micros - u64::try_from(time.as_micros()).unwrap_or(0).min(micros),
        _ => 0,
    }
}
