//! Holds back a verdict that is probably gone in an instant.
//!
//! While NetworkManager activates a connection, a reading can see the device activated before its addresses,
//! gateway or resolvers are (measured: for about 100 ms). Such a verdict is published only if it lasts.

use std::time::Duration;

use tokio::time::Instant;

use crate::ladder::{Level, Reason};
use crate::verdict::Verdict;

/// How long such a verdict has to last.
pub(crate) const LAST: Duration = Duration::from_millis(300);

/// A verdict that is held back.
#[derive(Debug, Default)]
pub(crate) struct Settle(Option<Held>);

#[derive(Debug)]
struct Held {
    rung: (Level, Reason),
    until: Instant,
}

impl Settle {
    /// Whether to publish `verdict`, found at `now`, in place of `published`.
    pub(crate) fn admit(&mut self, verdict: &Verdict, published: &Verdict, now: Instant) -> bool {
        let rung = (verdict.level, verdict.reason);
        if !passes_quickly(verdict.reason) || rung == (published.level, published.reason) {
            self.0 = None;
            return true;
        }
        match &self.0 {
            Some(held) if held.rung == rung => {
                let lasted = now >= held.until;
                if lasted {
                    self.0 = None;
                }
                lasted
            }
            _ => {
                self.0 = Some(Held {
                    rung,
                    until: now + LAST,
                });
                false
            }
        }
    }

    /// When to read again although nothing has changed.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.0.as_ref().map(|held| held.until)
    }
}

/// The reasons that every activation passes through.
const fn passes_quickly(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Inactive | Reason::NoAddress | Reason::NoGateway | Reason::NoResolver
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder::Status;

    fn verdict(level: Level, reason: Reason) -> Verdict {
        Verdict {
            level,
            reason,
            status: Status::Offline,
            explanation: String::new(),
            interface: String::new(),
        }
    }

    #[test]
    fn a_passing_verdict_is_never_seen_and_a_lasting_one_is() {
        let online = verdict(Level::Internet, Reason::None);
        let no_address = verdict(Level::Carrier, Reason::NoAddress);
        let no_gateway = verdict(Level::Address, Reason::NoGateway);
        let start = Instant::now();
        let mut settle = Settle::default();

        assert!(!settle.admit(&no_address, &online, start));
        assert!(
            !settle.admit(&no_gateway, &online, start + LAST / 2),
            "another one starts anew"
        );
        assert_eq!(settle.deadline(), Some(start + LAST / 2 + LAST));
        assert!(!settle.admit(&no_gateway, &online, start + LAST), "too early");
        assert!(settle.admit(&online, &online, start + LAST));
        assert_eq!(settle.deadline(), None);

        assert!(!settle.admit(&no_gateway, &online, start));
        assert!(settle.admit(&no_gateway, &online, start + LAST));
        assert!(
            settle.admit(&no_gateway, &no_gateway, start + LAST),
            "other words for it"
        );
        assert_eq!(settle.deadline(), None);
        assert!(
            settle.admit(&verdict(Level::None, Reason::NoCarrier), &online, start),
            "at once"
        );
    }
}
