//! Brings the journal to where it is wanted.
//!
//! One loop: look at the truth, [decide](crate::decision), do one thing, look again. A reply that got lost does not
//! count, only what journald does; and a service that was killed in between goes on from what it finds.

use std::time::Duration;

use fleet_base::bus::sentence;
use fleet_base::proxy::helper::HelperProxy;

use crate::decision::{Action, Decision, SELDOM, decide};
use crate::limits::Limits;
use crate::mode::Mode;
use crate::storage::Storage;

/// More than any course has: tidy, flush, or tidy, relinquish.
const MOST_ACTIONS: u32 = 4;

/// What changes the journal.
pub(crate) trait Journald {
    /// Makes it store in `/var/log/journal`.
    async fn flush(&self) -> zbus::Result<()>;
    /// Makes it store in RAM.
    async fn relinquish(&self) -> zbus::Result<()>;
    /// Removes the oldest files on the data partition until all take at most so many bytes.
    async fn tidy(&self, keep: u64) -> zbus::Result<u64>;
}

impl Journald for HelperProxy {
    async fn flush(&self) -> zbus::Result<()> {
        self.flush_journal().await
    }

    async fn relinquish(&self) -> zbus::Result<()> {
        self.relinquish_journal().await
    }

    async fn tidy(&self, keep: u64) -> zbus::Result<u64> {
        self.tidy_journal(keep).await
    }
}

/// How far it got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is where it is wanted; look again after this time, if that can change by itself.
    There(Option<Duration>),
    /// It is not, because of this.
    NotThere(String),
}

/// Brings the journal to where it is wanted, as far as that is possible now.
pub(crate) async fn reconcile(
    storage: &Storage,
    journald: &impl Journald,
    wanted: Mode,
    limits: Limits,
) -> Outcome {
    let mut tidied = false;
    let mut failure = None;
    let mut last = None;
    for _ in 0..MOST_ACTIONS {
        let action = match decide(wanted, &storage.facts(), limits, tidied) {
            Decision::Good(again) => return Outcome::There(again),
            Decision::Bad(reason) => return Outcome::NotThere(reason),
            Decision::Do(action) => action,
        };
        // The same again would only fail again.
        if last.as_ref() == Some(&action) {
            break;
        }
        let told = match action {
            Action::Flush => journald.flush().await,
            Action::Relinquish => journald.relinquish().await,
            Action::Tidy(keep) => {
                tidied = true;
                journald.tidy(keep).await.map(drop)
            }
        };
        if let Err(error) = told {
            log::debug!("{action:?}: {error}");
            failure = Some(sentence(&error));
        }
        last = Some(action);
    }
    let to = match last {
        Some(Action::Flush) => "to the data partition",
        _ => "back to RAM",
    };
    let reason = failure.unwrap_or_else(|| "see its messages in the journal".to_owned());
    Outcome::NotThere(format!("journald did not go {to}: {reason}"))
}

/// When to try again what did not work: nobody is told when a partition has room again.
pub(crate) const AGAIN: Duration = SELDOM;

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::storage::tests::{device, mount, unmount};

    /// What a journald does when it is told something.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Follows {
        Yes,
        /// It follows, but its reply is lost.
        Silently,
        /// It says yes and does nothing.
        No,
        Fails,
    }

    struct Fake<'a>(&'a Storage, Follows, RefCell<Vec<&'static str>>);

    impl Fake<'_> {
        fn told(&self, what: &'static str, change: impl FnOnce()) -> zbus::Result<()> {
            self.2.borrow_mut().push(what);
            if matches!(self.1, Follows::Yes | Follows::Silently) {
                change();
            }
            match self.1 {
                Follows::Yes | Follows::No => Ok(()),
                Follows::Silently | Follows::Fails => Err(zbus::Error::Failure("no answer".to_owned())),
            }
        }
    }

    impl Journald for Fake<'_> {
        async fn flush(&self) -> zbus::Result<()> {
            self.told("flush", || std::fs::write(&self.0.flushed, "").unwrap())
        }
        async fn relinquish(&self) -> zbus::Result<()> {
            self.told("relinquish", || std::fs::remove_file(&self.0.flushed).unwrap())
        }
        async fn tidy(&self, keep: u64) -> zbus::Result<u64> {
            let file = self.0.on_data.join("old.journal");
            self.told("tidy", || {
                std::fs::write(&file, vec![1; usize::try_from(keep).unwrap()]).unwrap()
            })
            .map(|()| 0)
        }
    }

    /// The host's disk has room enough for these.
    const LIMITS: Limits = Limits {
        max_use: 8 << 20,
        keep_free: 1 << 20,
        journald_holds_max_use: true,
        two_files: 2 << 20,
    };

    async fn brought(storage: &Storage, follows: Follows, to: Mode) -> (Outcome, Vec<&'static str>) {
        let journald = Fake(storage, follows, RefCell::default());
        let outcome = reconcile(storage, &journald, to, LIMITS).await;
        (outcome, journald.2.into_inner())
    }

    #[tokio::test]
    async fn on_and_off_again_and_again() {
        let (_root, storage) = device();
        for follows in [Follows::Yes, Follows::Silently] {
            for _ in 0..3 {
                for (to, told) in [
                    (Mode::Persistent, vec!["flush"]),
                    (Mode::Persistent, vec![]),
                    (Mode::Volatile, vec!["relinquish"]),
                    (Mode::Volatile, vec![]),
                ] {
                    let (outcome, actions) = brought(&storage, follows, to).await;
                    assert!(matches!(outcome, Outcome::There(_)), "{outcome:?}");
                    assert_eq!((storage.facts().mode(), actions), (to, told));
                }
            }
        }
    }

    #[tokio::test]
    async fn says_why_journald_did_not_follow() {
        let (_root, storage) = device();
        for (follows, word) in [(Follows::No, "see its messages"), (Follows::Fails, "no answer")] {
            let (outcome, told) = brought(&storage, follows, Mode::Persistent).await;
            let Outcome::NotThere(reason) = outcome else {
                panic!()
            };
            assert!(reason.contains(word), "{reason}");
            assert_eq!(told, ["flush"], "once, not again and again");
        }
    }

    #[tokio::test]
    async fn makes_room_first() {
        let (_root, storage) = device();
        std::fs::write(storage.on_data.join("old.journal"), vec![1; 9 << 20]).unwrap();
        let (outcome, told) = brought(&storage, Follows::Yes, Mode::Persistent).await;
        assert!(matches!(outcome, Outcome::There(Some(_))), "{outcome:?}");
        assert_eq!(told, ["tidy", "flush"]);
    }

    #[tokio::test]
    async fn leaves_a_partition_that_went_away_or_read_only() {
        let (_root, storage) = device();
        for (spoil, word) in [
            (unmount as fn(&Storage), "not mounted"),
            (|storage: &Storage| mount(storage, "ro"), "read-only"),
        ] {
            mount(&storage, "rw");
            brought(&storage, Follows::Yes, Mode::Persistent).await;
            spoil(&storage);
            let (outcome, told) = brought(&storage, Follows::Yes, Mode::Persistent).await;
            let Outcome::NotThere(reason) = outcome else {
                panic!()
            };
            assert!(reason.contains(word), "{reason}");
            assert_eq!(told, ["relinquish"]);
            assert!(!storage.flushed.exists());
        }
        mount(&storage, "rw");
        let (outcome, _) = brought(&storage, Follows::Yes, Mode::Persistent).await;
        assert!(
            matches!(outcome, Outcome::There(_)),
            "it comes back by itself: {outcome:?}"
        );
    }
}
