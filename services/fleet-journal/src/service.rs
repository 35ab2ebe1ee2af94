//! The journal on the bus, and what is watched over while it is on flash.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleet_base::boot_clock;
use fleet_base::bus::{self, Error, sentence};
use fleet_base::idle::Activity;
use fleet_base::object::{self, Answer, Call, Object, Place};
use fleet_base::proxy::helper::HelperProxy;
use fleet_base::watchdog::Watchdog;
use tokio::sync::Notify;
use tokio::time::sleep;
use zbus::{Connection, Variant};

use crate::decision::{Decision, decide};
use crate::intent::{Intent, Temporary};
use crate::limits::{Limits, Stricter};
use crate::mode::Mode;
use crate::reboot;
use crate::storage::Storage;
use crate::switch::{AGAIN, Outcome, reconcile};

/// Where it is served. Like the documentation of the interface; a test holds them equal.
pub(crate) const PLACE: Place = Place {
    name: "org.fleetos.Journal1",
    path: "/org/fleetos/Journal1",
    introspection: include_str!("org.fleetos.Journal1.xml"),
};

/// What "remove everything" keeps.
const NOTHING: u64 = 0;

/// The object on the bus.
pub(crate) struct Journal {
    storage: Storage,
    known: Mutex<Known>,
    /// Callers, and the watch, go one after the other.
    turn: tokio::sync::Mutex<()>,
    /// Something was asked for: look again.
    asked: Notify,
}

/// What cannot be read from the files of others.
struct Known {
    intent: Intent,
    /// Why it is not as it is wanted; empty if it is.
    trouble: String,
    /// Why that it is wanted cannot be kept; empty if it can.
    unkept: String,
}

impl Journal {
    pub(crate) fn new(storage: Storage) -> Self {
        let known = Known {
            intent: Intent::load(&storage.intent, boot_clock::now()),
            trouble: storage.trouble(),
            unkept: Intent::unkept(&storage.intent),
        };
        Self {
            storage,
            known: Mutex::new(known),
            turn: tokio::sync::Mutex::default(),
            asked: Notify::new(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn intent(&self) -> Intent {
        self.known().intent.clone()
    }

    fn limits(&self) -> Limits {
        self.intent().stricter().within(self.storage.limits())
    }

    /// This is wanted from now on. On a state partition that cannot be written it is so until the power goes: logs are
    /// needed then more than ever.
    fn keep(&self, intent: Intent) {
        let saved = intent.save(&self.storage.intent);
        let unkept = saved.map_or_else(|error| error.to_string(), |_| String::new());
        let mut known = self.known();
        if !unkept.is_empty() && unkept != known.unkept {
            log::warn!("what is wanted of the journal is forgotten at power-off: {unkept}");
        }
        known.intent = intent;
        known.unkept = unkept;
    }

    /// Brings the journal to where it is wanted, and says of a change what there is to say, once.
    async fn bring(&self, connection: &Connection) -> Outcome {
        let wanted = self.intent().wanted();
        let before = self.storage.facts().mode();
        let helper = HelperProxy::new(connection);
        let outcome = reconcile(&self.storage, &helper, wanted, self.limits()).await;
        let now = self.storage.facts().mode();
        if now != before {
            log::info!("the journal is {now} now");
        }
        let trouble = match &outcome {
            Outcome::There(_) => String::new(),
            Outcome::NotThere(reason) => reason.clone(),
        };
        let old = std::mem::replace(&mut self.known().trouble, trouble.clone());
        if old != trouble {
            self.storage.keep_trouble(&trouble);
            if !trouble.is_empty() {
                log::warn!("the journal cannot be {wanted}: {trouble}");
            }
        }
        outcome
    }

    /// Does `change` in turn, and tells who listens what it changed, also when it failed.
    async fn in_turn<T>(
        &self,
        connection: &Connection,
        change: impl Future<Output = bus::Result<T>>,
    ) -> bus::Result<T> {
        let _turn = self.turn.lock().await;
        let before = object::properties(self, true);
        let changed = change.await;
        object::announce(connection, self, &before).await?;
        self.asked.notify_one();
        changed
    }

    /// For a time, whatever the configuration says.
    async fn call_for(
        &self,
        mode: Mode,
        seconds: u64,
        stricter: (u64, u64),
        connection: &Connection,
    ) -> bus::Result<()> {
        let storage = &self.storage;
        let stricter =
            Stricter::new(stricter.0, stricter.1, storage.limits()).map_err(Error::InvalidArgument)?;
        let call =
            Temporary::new(mode, seconds, stricter, boot_clock::now()).map_err(Error::InvalidArgument)?;
        let before = self.intent();
        let mut intent = before.clone();
        // What the configuration says anyway needs no call.
        intent.temporary = (mode != intent.configured || stricter.is_some()).then_some(call);
        // Said before it is tried, so that a refusal changes nothing.
        let limits = stricter.within(storage.limits());
        if let Decision::Bad(reason) = decide(mode, &storage.facts(), limits, false) {
            return Err(Error::Refused(format!("the journal stays in RAM: {reason}")));
        }
        self.keep(intent);
        let Outcome::NotThere(reason) = self.bring(connection).await else {
            log::info!("asked to be {mode}{}", self.until());
            return Ok(());
        };
        if mode == Mode::Volatile {
            return Err(Error::Failed(format!(
                "the journal stays on the data partition until the next boot: {reason}"
            )));
        }
        self.keep(before);
        self.bring(connection).await;
        Err(Error::Failed(format!("the journal stays in RAM: {reason}")))
    }

    /// For the log.
    fn until(&self) -> String {
        let now = boot_clock::now();
        let remaining = self.intent().temporary.map(|call| call.remaining(now).as_secs());
        remaining.map_or_else(String::new, |seconds| format!(" for {seconds} s"))
    }

    /// What the key `persistentLogging` says. A change of it ends what a call said.
    async fn configure(&self, mode: Mode, connection: &Connection) -> bus::Result<()> {
        let mut intent = self.intent();
        if intent.configured != mode {
            intent = Intent {
                configured: mode,
                temporary: None,
            };
        }
        self.keep(intent);
        match self.bring(connection).await {
            Outcome::There(_) => Ok(()),
            Outcome::NotThere(reason) => Err(Error::Failed(format!(
                "{reason}; it is tried again by itself, and `fleet journal status` says how it is"
            ))),
        }
    }

    /// Ends what a call said.
    async fn reset(&self, connection: &Connection) -> bus::Result<()> {
        let mut intent = self.intent();
        intent.temporary = None;
        self.keep(intent);
        match self.bring(connection).await {
            Outcome::There(_) => Ok(()),
            Outcome::NotThere(reason) => Err(Error::Failed(reason)),
        }
    }

    /// Removes what is on the data partition, but for what journald writes to.
    async fn purge(&self, connection: &Connection) -> bus::Result<u64> {
        if let Err(reason) = self.storage.facts().data {
            return Err(Error::Refused(format!("nothing can be removed: {reason}")));
        }
        let freed = HelperProxy::new(connection)
            .tidy_journal(NOTHING)
            .await
            .map_err(|error| Error::Failed(sentence(&error)))?;
        log::info!("purged: {freed} bytes of the journal removed from the data partition");
        Ok(freed)
    }

    /// Looks after the journal. Returns when to look again; `None` if nothing can change by itself.
    async fn look(&self, connection: &Connection) -> Option<Duration> {
        let looked = self.in_turn_quietly(connection).await;
        looked.unwrap_or_else(|error| {
            log::warn!("cannot look after the journal: {error}");
            Some(AGAIN)
        })
    }

    async fn in_turn_quietly(&self, connection: &Connection) -> bus::Result<Option<Duration>> {
        let _turn = self.turn.lock().await;
        let before = object::properties(self, true);
        let mut intent = self.intent();
        let had_call = intent.temporary.is_some();
        intent.take_time(boot_clock::now());
        if had_call && intent.temporary.is_none() {
            log::info!(
                "the time of the call is over: the journal is {} again",
                intent.configured
            );
        }
        // Also what a power cut or another release left half done.
        self.keep(intent);
        let outcome = self.bring(connection).await;
        object::announce(connection, self, &before).await?;
        let again = match outcome {
            Outcome::There(again) => again,
            Outcome::NotThere(_) => Some(AGAIN),
        };
        let now = boot_clock::now();
        let next = self.intent().next(now);
        Ok([again, next].into_iter().flatten().min())
    }

    /// Looks after the journal while this service is there; from then on [`keeper`](crate::keeper) does. What is due
    /// sooner than it would leave keeps it there.
    pub(crate) async fn watch(self: Arc<Self>, connection: Connection, activity: Activity) {
        let mut watchdog = Watchdog::from_environment();
        loop {
            // Before it looks, so that nothing falls between.
            let alarm = self.storage.alarm();
            let again = {
                // It does not leave in the middle.
                let _under_way = activity.begin();
                let mut look = std::pin::pin!(self.look(&connection));
                loop {
                    tokio::select! {
                        again = &mut look => break again,
                        // A slow card is no reason to be killed while journald copies to it; calls have limits of their own.
                        () = watchdog.feed() => {}
                    }
                }
            };
            // It looks whenever it feeds the watchdog: what is due later needs no timer.
            let sooner = again.filter(|pause| !watchdog.comes_within(*pause));
            let pause = async {
                match sooner {
                    Some(pause) => sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = pause => {}
                () = alarm.rings() => {}
                () = watchdog.feed() => {}
                () = self.asked.notified() => {}
            }
        }
    }

    /// What is wrong, as a sentence; empty if nothing is.
    fn problem(&self) -> String {
        let facts = self.storage.facts();
        let (wanted, trouble, unkept) = {
            let known = self.known();
            (known.intent.wanted(), known.trouble.clone(), known.unkept.clone())
        };
        match (wanted, facts.mode()) {
            (Mode::Persistent, Mode::Volatile) => {
                // From what is so now: what the last look found may be about to change.
                let reason = match (&facts.data, decide(wanted, &facts, self.limits(), true)) {
                    (Err(reason), _) => reason.clone(),
                    (Ok(_), Decision::Bad(reason)) => reason,
                    _ if trouble.is_empty() => "it is about to go there".to_owned(),
                    _ => trouble,
                };
                format!("the journal is to be on the data partition and is in RAM: {reason}")
            }
            (Mode::Volatile, Mode::Persistent) => format!(
                "the journal is to be in RAM and is on the data partition{}",
                match trouble.as_str() {
                    "" => String::new(),
                    trouble => format!(": {trouble}"),
                }
            ),
            (Mode::Volatile, Mode::Volatile) if facts.told => format!(
                "the journal is to be in RAM, and journald stores in {}",
                self.storage.folder.display()
            ),
            (Mode::Persistent, Mode::Persistent) if self.storage.state_volatile.exists() => {
                "persistent is forgotten at power-off: the state partition is not usable".to_owned()
            }
            _ if !unkept.is_empty() => format!("forgotten at power-off: {unkept}"),
            _ => String::new(),
        }
    }
}

impl Object for Journal {
    fn place(&self) -> &'static Place {
        &PLACE
    }

    fn property(&self, name: &str) -> Option<Variant<'static>> {
        let temporary = || self.intent().temporary;
        Some(match name {
            "Mode" => self.storage.facts().mode().to_string().into(),
            "Wanted" => self.intent().wanted().to_string().into(),
            "Configured" => self.intent().configured.to_string().into(),
            "Override" => temporary()
                .map_or_else(String::new, |call| call.mode.to_string())
                .into(),
            "OverrideRemaining" => {
                let now = boot_clock::now();
                let remaining = temporary().map_or(Duration::ZERO, |call| call.remaining(now));
                remaining.as_secs().into()
            }
            "Usage" => self.storage.facts().data.map_or(0, |room| room.used).into(),
            "MaxUse" => self.limits().max_use.into(),
            "KeepFree" => self.limits().keep_free.into(),
            "Problem" => self.problem().into(),
            "RebootReason" => reboot::published().reason.into(),
            "RebootDetail" => reboot::published().detail.into(),
            _ => return None,
        })
    }

    fn call<'c>(&'c self, call: &'c Call) -> Answer<'c> {
        Box::pin(async move {
            let connection = &call.connection;
            let mut arguments = call.arguments()?;
            match call.method().as_str() {
                "Configure" => {
                    let mode = Mode::from(arguments.take::<bool>()?);
                    self.in_turn(connection, self.configure(mode, connection)).await?;
                }
                "Persist" => {
                    let seconds = arguments.take()?;
                    let stricter = (arguments.take()?, arguments.take()?);
                    let call = self.call_for(Mode::Persistent, seconds, stricter, connection);
                    self.in_turn(connection, call).await?;
                }
                "Volatile" => {
                    let call = self.call_for(Mode::Volatile, arguments.take()?, (0, 0), connection);
                    self.in_turn(connection, call).await?;
                }
                "Reset" => self.in_turn(connection, self.reset(connection)).await?,
                "Purge" => {
                    let freed = self.in_turn(connection, self.purge(connection)).await?;
                    return Ok(Some(freed.into()));
                }
                _ => return Err(call.unknown()),
            }
            Ok(None)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_interface_is_the_one_that_is_served() {
        let object = Journal::new(Storage::default());
        let mismatches = object::mismatches(&object, include_str!("service.rs"));
        assert_eq!(mismatches, [""; 0]);
        assert_eq!(
            PLACE.introspection,
            include_str!("../../../docs/dbus/org.fleetos.Journal1.xml")
        );
    }
}
