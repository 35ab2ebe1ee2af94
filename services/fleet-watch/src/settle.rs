//! Holds back a verdict that is probably gone in an instant.
//!
//! While NetworkManager activates a connection, a reading can see the device activated before its addresses,
//! gateway or resolvers are (measured: for about 100 ms). Such a verdict is published only if it lasts.

use std::time::Duration;

use crate::ladder::{Level, Reason};
use crate::verdict::Verdict;

/// How long such a verdict has to last.
pub(crate) const LAST: Duration = Duration::from_millis(300);
/// The longest that anything is held back, whatever else comes and goes meanwhile.
const LONGEST: Duration = Duration::from_secs(1);

/// A rung: of an uplink, or of the device (no interface).
type Rung = (String, Level, Reason);

/// A verdict that is held back. Times are those of [`fleet_base::boot_clock`].
#[derive(Debug, Default)]
pub(crate) struct Settle(Option<Held>);

#[derive(Debug)]
struct Held {
    passing: Vec<Rung>,
    since: Duration,
    until: Duration,
}

impl Settle {
    /// Whether to publish `verdict`, found at `now`, in place of `published`.
    pub(crate) fn admit(&mut self, verdict: &Verdict, published: &Verdict, now: Duration) -> bool {
        let old = rungs(published);
        let passing: Vec<Rung> = rungs(verdict)
            .into_iter()
            .filter(|rung| passes_quickly(rung.2) && !old.contains(rung))
            .collect();
        if passing.is_empty() {
            self.0 = None;
            return true;
        }
        let (since, until) = match &self.0 {
            Some(held) if held.passing == passing => (held.since, held.until),
            Some(held) => (held.since, now + LAST),
            None => (now, now + LAST),
        };
        let until = until.min(since + LONGEST);
        let lasted = now >= until;
        self.0 = (!lasted).then_some(Held {
            passing,
            since,
            until,
        });
        lasted
    }

    /// When to read again although nothing has changed.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        self.0.as_ref().map(|held| held.until)
    }
}

fn rungs(verdict: &Verdict) -> Vec<Rung> {
    let uplinks = verdict.uplinks.iter();
    let uplinks = uplinks.map(|uplink| (uplink.interface.clone(), uplink.level, uplink.reason));
    let device = (String::new(), verdict.level, verdict.reason);
    std::iter::once(device).chain(uplinks).collect()
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
    use crate::verdict::Uplink;

    fn verdict(level: Level, reason: Reason) -> Verdict {
        Verdict {
            level,
            reason,
            status: Status::Offline,
            explanation: String::new(),
            interface: String::new(),
            uplinks: Vec::new(),
            vpns: Vec::new(),
            fallback: Vec::new(),
        }
    }

    #[test]
    fn a_passing_verdict_is_never_seen_and_a_lasting_one_is() {
        let online = verdict(Level::Internet, Reason::None);
        let no_address = verdict(Level::Carrier, Reason::NoAddress);
        let no_gateway = verdict(Level::Address, Reason::NoGateway);
        let start = Duration::from_secs(7);
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

    #[test]
    fn another_uplink_is_held_back_too_but_never_for_long() {
        let online = verdict(Level::Internet, Reason::None);
        let with = |reason| Verdict {
            uplinks: vec![Uplink {
                interface: "wwan0".to_owned(),
                level: Level::Carrier,
                reason,
                explanation: String::new(),
                problems: Vec::new(),
                is_wronged: false,
            }],
            ..online.clone()
        };
        let start = Duration::from_secs(7);
        let mut settle = Settle::default();
        let mut held = Duration::ZERO;
        for flap in 0_u32.. {
            let reason = [Reason::NoAddress, Reason::Inactive][flap as usize % 2];
            held = LAST / 2 * flap;
            if settle.admit(&with(reason), &online, start + held) {
                break;
            }
        }
        assert!((LONGEST..LONGEST + LAST).contains(&held), "{held:?}");
    }
}
