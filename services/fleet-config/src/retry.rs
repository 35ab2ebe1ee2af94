//! When to try again what failed: a peer may have been starting, or the bus been restarted under it.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The first pause; each further one is twice as long.
const FIRST: Duration = Duration::from_secs(2);
/// The longest pause: what fails for ever costs a few calls an hour.
const LONGEST: Duration = Duration::from_secs(600);

/// Counts failures in a row. While nothing fails it never wakes up.
#[derive(Default)]
pub(crate) struct Retry {
    pause: Duration,
    at: Option<Instant>,
}

impl Retry {
    /// An apply ended; whether something in it failed.
    pub(crate) fn set(&mut self, failed: bool) {
        if failed {
            self.pause = (self.pause * 2).clamp(FIRST, LONGEST);
            self.at = Some(Instant::now() + self.pause);
        } else {
            *self = Self::default();
        }
    }

    /// Waits until it is time. Cancel-safe.
    pub(crate) async fn due(&self) {
        match self.at {
            Some(at) => sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_success_ends_them() {
        let mut retry = Retry::default();
        let mut pauses = Vec::new();
        for _ in 0..12 {
            retry.set(true);
            let before = Instant::now();
            retry.due().await;
            pauses.push(before.elapsed().as_secs());
        }
        assert_eq!(pauses[..4], [2, 4, 8, 16]);
        assert_eq!(pauses[11], 600);
        retry.set(false);
        assert!(tokio::time::timeout(LONGEST * 10, retry.due()).await.is_err());
    }
}
