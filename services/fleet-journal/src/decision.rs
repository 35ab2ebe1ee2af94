//! What to do so that the journal is where it is wanted, and keeps within its limits. Pure.
//!
//! journald alone does not watch. On a partition that is full it goes to RAM by itself and never comes back, or hangs
//! between the two; on one that takes no writes after an error it drops every line (seen with systemd 257). So the journal
//! goes back to RAM before, and returns when there is room again.

use std::time::Duration;

use crate::limits::Limits;
use crate::mode::Mode;
use crate::storage::{Facts, Room};

/// The fastest that anybody fills a card.
const BYTES_PER_SECOND: u64 = 20 * 1024 * 1024;
/// When to look again if nothing is near.
pub(crate) const SELDOM: Duration = Duration::from_secs(30);
/// When to look again at the soonest: journald leaves half of what is to be kept free to us.
const OFTEN: Duration = Duration::from_secs(1);
/// The same for a maximum that journald does not know: what is above it is removed a moment later.
const SOMETIMES: Duration = Duration::from_secs(10);

/// The next thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Tell journald to go to the data partition.
    Flush,
    /// Tell journald to go back to RAM.
    Relinquish,
    /// Remove the oldest files until all take at most so many bytes.
    Tidy(u64),
}

/// What follows from the facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// First this, then look again.
    Do(Action),
    /// It is as it is wanted. Look again after this time, if it can change by itself.
    Good(Option<Duration>),
    /// It cannot be as it is wanted, because of this; look again after a while.
    Bad(String),
}

/// Decides. `tidied`: files were removed just now, and more are not to be had.
pub(crate) fn decide(wanted: Mode, facts: &Facts, limits: Limits, tidied: bool) -> Decision {
    let Mode::Persistent = wanted else {
        return match facts.told {
            // Also from a folder that is not on the data partition.
            true => Decision::Do(Action::Relinquish),
            false => Decision::Good(None),
        };
    };
    match &facts.data {
        Err(_) if facts.told => Decision::Do(Action::Relinquish),
        Err(reason) => Decision::Bad(reason.clone()),
        Ok(room) if facts.left_ram() => stay(*room, limits, tidied),
        Ok(room) => go(*room, facts, limits, tidied),
    }
}

/// journald stores on the data partition.
fn stay(Room { free, used }: Room, limits: Limits, tidied: bool) -> Decision {
    let lack = limits.keep_free.saturating_sub(free);
    let most = limits.max_use.min(without(lack, used, limits));
    if used > most && !tidied {
        // A little less, so that it is not to be done again at once.
        return Decision::Do(Action::Tidy(most - most / 8));
    }
    if lack > 0 {
        return Decision::Do(Action::Relinquish);
    }
    let until_full = Duration::from_secs((free - limits.keep_free) / BYTES_PER_SECOND);
    let mut again = until_full.clamp(OFTEN, SELDOM);
    if !limits.journald_holds_max_use && !tidied {
        let until_most = Duration::from_secs((limits.max_use - used) / BYTES_PER_SECOND);
        again = again.min(until_most.max(SOMETIMES));
    }
    Decision::Good(Some(again))
}

/// journald stores in RAM.
fn go(Room { free, used }: Room, facts: &Facts, limits: Limits, tidied: bool) -> Decision {
    // What is in RAM, and the files that journald begins: more than it needs to stay, so that it does not go to and fro.
    let more = facts.ram_used.saturating_add(limits.two_files);
    let needed = limits.keep_free.saturating_add(more);
    let lack = needed.saturating_sub(free);
    let most = limits
        .max_use
        .saturating_sub(more)
        .min(without(lack, used, limits));
    if used > most && !tidied {
        return Decision::Do(Action::Tidy(most));
    }
    if lack > 0 && facts.told {
        return Decision::Do(Action::Relinquish);
    }
    if lack > 0 {
        return Decision::Bad(format!(
            "the data partition has {} free, and {} are needed: the journal itself, and what os.journal.keepFree keeps \
             free; remove something from it",
            mebibytes(free),
            mebibytes(needed)
        ));
    }
    Decision::Do(Action::Flush)
}

/// What may stay of the files for as much room as is lacking. The newest are not given up for what others fill the
/// partition with: they say who.
fn without(lack: u64, used: u64, limits: Limits) -> u64 {
    match lack {
        0 => used,
        lack => used.saturating_sub(lack).max(limits.two_files).min(used),
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes / (1024 * 1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;
    const LIMITS: Limits = Limits {
        max_use: 128 * MIB,
        keep_free: 64 * MIB,
        journald_holds_max_use: true,
        two_files: 32 * MIB,
    };

    /// on flash, MiB in RAM, MiB free, MiB used
    fn facts(told: bool, ram_used: u64, free: u64, used: u64) -> Facts {
        Facts {
            told,
            in_ram: !told,
            ram_used: ram_used * MIB,
            data: Ok(Room {
                free: free * MIB,
                used: used * MIB,
            }),
        }
    }

    fn decided(wanted: Mode, facts: &Facts, tidied: bool) -> Decision {
        decide(wanted, facts, LIMITS, tidied)
    }

    #[test]
    fn to_ram_from_wherever_it_is() {
        let gone = Facts {
            data: Err("gone".to_owned()),
            ..facts(true, 0, 0, 0)
        };
        let hangs_between = Facts {
            told: true,
            ..facts(false, 0, 1000, 10)
        };
        for facts in [
            facts(true, 0, 1000, 10),
            facts(true, 0, 0, 200),
            gone,
            hangs_between,
        ] {
            assert_eq!(
                decided(Mode::Volatile, &facts, false),
                Decision::Do(Action::Relinquish)
            );
        }
        assert_eq!(
            decided(Mode::Volatile, &facts(false, 8, 0, 200), false),
            Decision::Good(None)
        );
    }

    #[test]
    fn to_the_data_partition_if_there_is_room() {
        let to =
            |in_ram, free, used, tidied| decided(Mode::Persistent, &facts(false, in_ram, free, used), tidied);
        assert_eq!(to(8, 1000, 0, false), Decision::Do(Action::Flush));
        assert_eq!(to(8, 104, 0, false), Decision::Do(Action::Flush), "just enough");
        // What is in RAM has to fit below the limit with what is there.
        assert_eq!(to(8, 1000, 125, false), Decision::Do(Action::Tidy(88 * MIB)));
        assert_eq!(to(8, 1000, 88, true), Decision::Do(Action::Flush));
        // Old files give way to new lines.
        assert_eq!(to(8, 94, 50, false), Decision::Do(Action::Tidy(40 * MIB)));
        assert_eq!(
            to(8, 0, 50, false),
            Decision::Do(Action::Tidy(32 * MIB)),
            "the newest stay"
        );
        let Decision::Bad(reason) = to(8, 103, 0, false) else {
            panic!()
        };
        assert!(
            reason.contains("103 MiB free") && reason.contains("104 MiB are needed"),
            "{reason}"
        );
        assert!(
            matches!(to(8, 0, 500, true), Decision::Bad(_)),
            "it does not try for ever"
        );
    }

    #[test]
    fn does_not_hang_between_the_two() {
        let at = |free| {
            let facts = Facts {
                told: true,
                ..facts(false, 8, free, 0)
            };
            decided(Mode::Persistent, &facts, false)
        };
        assert_eq!(at(1000), Decision::Do(Action::Flush));
        assert_eq!(at(10), Decision::Do(Action::Relinquish));
    }

    #[test]
    fn stays_within_its_limits_or_leaves() {
        let at = |free, used, tidied| decided(Mode::Persistent, &facts(true, 0, free, used), tidied);
        assert_eq!(at(1000, 100, false), Decision::Good(Some(SELDOM)));
        assert_eq!(at(264, 128, false), Decision::Good(Some(Duration::from_secs(10))));
        assert_eq!(at(64, 8, false), Decision::Good(Some(OFTEN)), "soon, it is near");
        assert_eq!(at(1000, 129, false), Decision::Do(Action::Tidy(112 * MIB)));
        assert_eq!(at(60, 100, false), Decision::Do(Action::Tidy(84 * MIB)));
        assert_eq!(
            at(0, 33, false),
            Decision::Do(Action::Tidy(28 * MIB)),
            "the newest stay"
        );
        assert_eq!(at(0, 32, false), Decision::Do(Action::Relinquish));
        assert_eq!(at(63, 8, true), Decision::Do(Action::Relinquish));
        assert_eq!(at(0, 8, true), Decision::Do(Action::Relinquish));
        // More than allowed of which nothing can be removed is journald's open file.
        assert_eq!(at(1000, 129, true), Decision::Good(Some(SELDOM)));
    }

    #[test]
    fn looks_more_often_at_a_limit_that_journald_does_not_know() {
        let limits = Limits {
            max_use: 32 * MIB,
            journald_holds_max_use: false,
            ..LIMITS
        };
        let at = |used, tidied| decide(Mode::Persistent, &facts(true, 0, 5000, used), limits, tidied);
        assert_eq!(at(31, false), Decision::Good(Some(SOMETIMES)));
        assert_eq!(at(33, false), Decision::Do(Action::Tidy(28 * MIB)));
        assert_eq!(
            at(33, true),
            Decision::Good(Some(SELDOM)),
            "it does not try for ever"
        );
    }

    #[test]
    fn leaves_what_is_gone_or_read_only() {
        for told in [true, false] {
            let facts = Facts {
                data: Err("gone".to_owned()),
                ..facts(told, 0, 0, 0)
            };
            let wanted = match told {
                true => Decision::Do(Action::Relinquish),
                false => Decision::Bad("gone".to_owned()),
            };
            assert_eq!(decided(Mode::Persistent, &facts, false), wanted);
        }
    }

    #[test]
    fn does_not_go_to_and_fro() {
        for free in 0..200 {
            let leaves =
                decided(Mode::Persistent, &facts(true, 0, free, 0), true) == Decision::Do(Action::Relinquish);
            let returns =
                decided(Mode::Persistent, &facts(false, 8, free, 0), true) == Decision::Do(Action::Flush);
            assert!(!(leaves && returns), "{free} MiB free");
        }
    }
}
