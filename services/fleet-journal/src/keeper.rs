//! Looks after the journal while `fleet-journal` is not there, in a service that is there anyway: a stored journal costs no
//! process of its own.
//!
//! It only looks, as often as `fleet-journal` would, and hears of the partition from the kernel. What is to be done is left
//! to `fleet-journal`, which is started for it and looks first thing.

use std::time::Duration;

use fleet_base::boot_clock;
use fleet_base::bus::{self, sentence};
use fleet_base::watchdog::Beat;
use futures_util::StreamExt;
use tokio::time::sleep;
use zbus::Connection;

use crate::alarm::Alarm;
use crate::decision::{Action, Decision, decide};
use crate::intent::Intent;
use crate::service;
use crate::storage::Storage;
use crate::switch::AGAIN;

/// Who looks.
#[derive(Clone, Debug)]
pub struct Keeper {
    storage: Storage,
}

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// Nothing to do. Look again after this time, if that can change by itself.
    Good(Option<Duration>),
    /// `fleet-journal` has something to do.
    Due(Cause),
}

/// What for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// A call is over, or a step of its time is to be written down.
    Time,
    /// The journal is not where it is wanted, and can be.
    Flush,
    /// The same, back to RAM.
    Relinquish,
    /// The journal takes too much room.
    Tidy,
    /// The journal cannot be where it is wanted, which is to be said.
    Trouble,
}

impl Keeper {
    /// That of a device.
    #[must_use]
    pub fn device() -> Self {
        Self {
            storage: Storage::default(),
        }
    }

    /// Looks until the bus is gone. Must be called inside a tokio runtime.
    pub async fn keep(&self, connection: &Connection, beat: &Beat) {
        if let Err(error) = self.look_again_and_again(connection, beat).await {
            log::warn!("nobody looks after the journal any more: {}", sentence(&error));
        }
    }

    async fn look_again_and_again(&self, connection: &Connection, beat: &Beat) -> zbus::Result<()> {
        let name = service::PLACE.name;
        let mut owners = bus::subscribe(connection, bus::owner_changed(name)?).await?;
        let mut is_there = bus::name_owner(connection, name).await?.is_some();
        // What it was started for last.
        let mut called = None;
        loop {
            let mut pause = None;
            let mut alarm = None;
            if !is_there {
                // Before it looks, so that nothing falls between.
                let set = self.storage.alarm();
                match self.look(boot_clock::now()) {
                    Found::Good(again) => {
                        called = None;
                        pause = again;
                    }
                    Found::Due(cause) if called == Some(cause) => {
                        // It was there and could not help it: tried again, but not at once.
                        called = None;
                        pause = Some(AGAIN);
                    }
                    Found::Due(cause) => match bus::start(connection, name).await {
                        Ok(()) => called = Some(cause),
                        Err(error) => {
                            log::warn!(
                                "{name}, which has to look after the journal: {}",
                                sentence(&error)
                            );
                            pause = Some(AGAIN);
                        }
                    },
                }
                // With nothing to look after no mount is to wake anybody; nor while it is there.
                alarm = pause.map(|_| set);
            }
            tokio::select! {
                changed = owners.next() => match changed {
                    Some(changed) => is_there = bus::has_owner(&changed?),
                    None => return Ok(()),
                },
                () = rest(pause, beat) => {}
                () = rings(alarm.as_ref()) => {}
            }
        }
    }

    /// Looks at what `fleet-journal` looks at, and changes nothing.
    fn look(&self, now: Duration) -> Found {
        let mut intent = Intent::load(&self.storage.intent, now);
        if intent.take_time(now) {
            return Found::Due(Cause::Time);
        }
        let limits = intent.stricter().within(self.storage.limits());
        Found::Due(
            match decide(intent.wanted(), &self.storage.facts(), limits, false) {
                Decision::Good(again) => {
                    let next = intent.next(now);
                    return Found::Good([again, next].into_iter().flatten().min());
                }
                Decision::Do(Action::Flush) => Cause::Flush,
                Decision::Do(Action::Relinquish) => Cause::Relinquish,
                Decision::Do(Action::Tidy(_)) => Cause::Tidy,
                // It was said already, by whichever run.
                Decision::Bad(_) if !self.storage.trouble().is_empty() => return Found::Good(Some(AGAIN)),
                Decision::Bad(_) => Cause::Trouble,
            },
        )
    }
}

async fn rings(alarm: Option<&Alarm>) {
    match alarm {
        Some(alarm) => alarm.rings().await,
        None => std::future::pending().await,
    }
}

/// Waits until it is time, for ever without one. What is not urgent waits for the watchdog and needs no wake-up.
async fn rest(pause: Option<Duration>, beat: &Beat) {
    match pause {
        Some(pause) if beat.comes_within(pause) => beat.next().await,
        Some(pause) => sleep(pause).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intent::Temporary;
    use crate::limits::Stricter;
    use crate::mode::Mode;
    use crate::storage::tests::{device, mount, unmount};

    const NOW: Duration = Duration::from_secs(100);

    fn want(keeper: &Keeper, configured: Mode, temporary: Option<Temporary>) {
        let intent = Intent {
            configured,
            temporary,
        };
        intent.save(&keeper.storage.intent).unwrap();
    }

    #[test]
    fn rests_while_nothing_is_stored_and_sees_what_is_due() {
        let (_root, storage) = device();
        let keeper = Keeper { storage };
        let storage = &keeper.storage;
        // Less than any disk has.
        std::fs::write(&storage.limits, "[X-Fleet]\nMaxUse=8388608\nKeepFree=1048576\n").unwrap();
        assert_eq!(keeper.look(NOW), Found::Good(None));
        // What a service that was killed left to be done.
        want(&keeper, Mode::Persistent, None);
        assert_eq!(keeper.look(NOW), Found::Due(Cause::Flush));
        std::fs::write(&storage.flushed, "").unwrap();
        assert!(matches!(keeper.look(NOW), Found::Good(Some(_))));
        std::fs::write(storage.on_data.join("old.journal"), vec![1; 9 << 20]).unwrap();
        assert_eq!(keeper.look(NOW), Found::Due(Cause::Tidy));
        mount(storage, "ro");
        assert_eq!(keeper.look(NOW), Found::Due(Cause::Relinquish));
        std::fs::remove_file(&storage.flushed).unwrap();
        assert_eq!(keeper.look(NOW), Found::Due(Cause::Trouble));
        unmount(storage);
        assert_eq!(keeper.look(NOW), Found::Due(Cause::Trouble));
        storage.keep_trouble("it is not mounted");
        assert_eq!(keeper.look(NOW), Found::Good(Some(AGAIN)), "it is said");
        want(&keeper, Mode::Volatile, None);
        assert_eq!(keeper.look(NOW), Found::Good(None));
    }

    #[test]
    fn takes_the_time_of_a_call() {
        let (_root, storage) = device();
        let keeper = Keeper { storage };
        let call = Temporary::new(Mode::Volatile, 3600, Stricter::default(), NOW).unwrap();
        want(&keeper, Mode::Volatile, Some(call));
        let Found::Good(Some(pause)) = keeper.look(NOW) else {
            panic!()
        };
        assert_eq!(pause.as_secs(), 3600 / 24, "a step");
        assert_eq!(keeper.look(NOW + pause), Found::Due(Cause::Time));
        assert_eq!(
            keeper.look(NOW + Duration::from_secs(3600)),
            Found::Due(Cause::Time)
        );
    }
}
