//! The two switches, on and off.
//!
//! What was asked for is written down first, then journald is told, then the truth is looked at: a reply that got
//! lost does not count, only what journald does.

use fleet_base::bus::{self, Error, sentence};
use fleet_base::proxy::helper::HelperProxy;

use crate::storage::{Mode, Storage};

/// What makes journald go to flash and back.
pub(crate) trait Journald {
    /// Makes it store in `/var/log/journal`.
    async fn flush(&self) -> zbus::Result<()>;
    /// Makes it store in RAM.
    async fn relinquish(&self) -> zbus::Result<()>;
}

impl Journald for HelperProxy {
    async fn flush(&self) -> zbus::Result<()> {
        self.flush_journal().await
    }

    async fn relinquish(&self) -> zbus::Result<()> {
        self.relinquish_journal().await
    }
}

/// Stores on the data partition from now on. Returns whether that was a change.
///
/// # Errors
/// [`Error::Refused`] without the data partition, and nothing is changed; [`Error::Failed`] if journald did not
/// follow, and then the next boot does what it would have done before.
pub(crate) async fn persist(storage: &Storage, journald: &impl Journald) -> bus::Result<bool> {
    storage.check_data().map_err(|error| {
        Error::Refused(format!(
            "the journal stays in RAM: {error}; repair or replace the data partition, then ask again"
        ))
    })?;
    let configured = storage
        .configure(Mode::Persistent)
        .map_err(|error| Error::Failed(error.to_string()))?;
    if storage.mode() == Mode::Persistent {
        return Ok(configured);
    }
    let told = journald.flush().await;
    if storage.mode() == Mode::Persistent {
        return Ok(true);
    }
    let reason = match told {
        Ok(()) => "journald did not go to the data partition; see its messages in the journal".to_owned(),
        Err(error) => sentence(&error),
    };
    let mut text = format!("the journal stays in RAM: {reason}");
    if configured && let Err(error) = storage.configure(Mode::Volatile) {
        text = format!("{text}; and the next boot tries again: {error}");
    }
    Err(Error::Failed(text))
}

/// Stores in RAM from now on. Returns whether that was a change.
///
/// # Errors
/// [`Error::Failed`]; if journald did not follow, it stores in RAM from the next boot on.
pub(crate) async fn volatile(storage: &Storage, journald: &impl Journald) -> bus::Result<bool> {
    let configured = storage
        .configure(Mode::Volatile)
        .map_err(|error| Error::Failed(error.to_string()))?;
    // Not the mode: journald may store in a folder that is not on the data partition, and shall leave that too.
    if !storage.flushed.exists() {
        return Ok(configured);
    }
    let told = journald.relinquish().await;
    if !storage.flushed.exists() {
        return Ok(true);
    }
    let reason = match told {
        Ok(()) => "journald did not go back to RAM; see its messages in the journal".to_owned(),
        Err(error) => sentence(&error),
    };
    Err(Error::Failed(format!(
        "the journal stays on the data partition until the next boot: {reason}"
    )))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::storage::tests::{device, unmount};

    /// What a journald does when it is told something.
    #[derive(Clone, Copy)]
    enum Follows {
        Yes,
        /// It follows, but its reply is lost.
        Silently,
        /// It says yes and does nothing.
        No,
        Fails,
    }

    struct Fake<'a>(&'a Storage, Follows, Cell<usize>);

    impl Fake<'_> {
        fn told(&self, change: impl FnOnce()) -> zbus::Result<()> {
            self.2.set(self.2.get() + 1);
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
            self.told(|| std::fs::write(&self.0.flushed, "").unwrap())
        }
        async fn relinquish(&self) -> zbus::Result<()> {
            self.told(|| std::fs::remove_file(&self.0.flushed).unwrap())
        }
    }

    fn state(storage: &Storage) -> (Mode, Mode) {
        (storage.mode(), storage.configured())
    }

    #[tokio::test]
    async fn on_and_off_again_and_again() {
        let (_root, storage) = device();
        for follows in [Follows::Yes, Follows::Silently] {
            let journald = Fake(&storage, follows, Cell::new(0));
            for _ in 0..3 {
                assert!(persist(&storage, &journald).await.unwrap());
                assert!(!persist(&storage, &journald).await.unwrap(), "is on already");
                assert_eq!(state(&storage), (Mode::Persistent, Mode::Persistent));
                assert!(volatile(&storage, &journald).await.unwrap());
                assert!(!volatile(&storage, &journald).await.unwrap(), "is off already");
                assert_eq!(state(&storage), (Mode::Volatile, Mode::Volatile));
            }
            assert_eq!(journald.2.get(), 6, "journald is only told what is new");
        }
    }

    #[tokio::test]
    async fn a_failed_flush_takes_the_flag_back() {
        let (_root, storage) = device();
        for follows in [Follows::No, Follows::Fails] {
            let journald = Fake(&storage, follows, Cell::new(0));
            assert!(matches!(
                persist(&storage, &journald).await,
                Err(Error::Failed(_))
            ));
            assert_eq!(state(&storage), (Mode::Volatile, Mode::Volatile));
        }
        storage.configure(Mode::Persistent).unwrap();
        let journald = Fake(&storage, Follows::Fails, Cell::new(0));
        assert!(persist(&storage, &journald).await.is_err());
        assert_eq!(storage.configured(), Mode::Persistent, "it was so before");
    }

    #[tokio::test]
    async fn a_failed_relinquish_holds_for_the_next_boot() {
        let (_root, storage) = device();
        persist(&storage, &Fake(&storage, Follows::Yes, Cell::new(0)))
            .await
            .unwrap();
        let journald = Fake(&storage, Follows::Fails, Cell::new(0));
        assert!(matches!(
            volatile(&storage, &journald).await,
            Err(Error::Failed(_))
        ));
        assert_eq!(state(&storage), (Mode::Persistent, Mode::Volatile));
        assert!(!storage.problem().is_empty());
    }

    #[tokio::test]
    async fn without_the_data_partition_nothing_is_changed() {
        let (_root, storage) = device();
        unmount(&storage);
        let journald = Fake(&storage, Follows::Yes, Cell::new(0));
        assert!(matches!(
            persist(&storage, &journald).await,
            Err(Error::Refused(_))
        ));
        assert_eq!(
            (state(&storage), journald.2.get()),
            ((Mode::Volatile, Mode::Volatile), 0)
        );
    }

    #[tokio::test]
    async fn one_that_stores_in_the_wrong_place_is_called_back() {
        let (_root, storage) = device();
        persist(&storage, &Fake(&storage, Follows::Yes, Cell::new(0)))
            .await
            .unwrap();
        unmount(&storage);
        assert!(
            volatile(&storage, &Fake(&storage, Follows::Yes, Cell::new(0)))
                .await
                .unwrap()
        );
        assert!(!storage.flushed.exists());
    }
}
