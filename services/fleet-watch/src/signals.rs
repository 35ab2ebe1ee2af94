//! What wakes the watcher up: NetworkManager's signals, and its coming and going.
//!
//! Nothing is learned from a signal but that something changed (and why an activation failed, which no property
//! keeps); the state is read afterwards. So a signal that is lost, doubled or forged does no harm.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleet_base::body::Values;
use fleet_base::proxy::network_manager::NAME;
use fleet_base::{boot_clock, bus};
use futures_util::StreamExt;
use tokio::sync::Notify;
use zbus::{Connection, MatchRule, Message, message::Type};

use crate::snapshot::Failure;

/// The interfaces whose properties make the verdict. Matched one by one, so that the signal strength of an access
/// point or a device's byte counters wake nobody up.
const INTERFACES: [&str; 7] = [
    "org.freedesktop.NetworkManager",
    "org.freedesktop.NetworkManager.Device",
    "org.freedesktop.NetworkManager.IP4Config",
    "org.freedesktop.NetworkManager.IP6Config",
    "org.freedesktop.NetworkManager.Connection.Active",
    "org.freedesktop.NetworkManager.DnsManager",
    "org.freedesktop.NetworkManager.Settings",
];

/// `NMDeviceState` values that begin or end a failure.
const STATE_UNAVAILABLE: u32 = 20;
const STATE_IP_CONFIG: u32 = 70;
const STATE_ACTIVATED: u32 = 100;
const STATE_DEACTIVATING: u32 = 110;
const STATE_FAILED: u32 = 120;

/// See [`Signals::failed_at_once`].
const AT_ONCE: Duration = Duration::from_secs(4);

/// What the signals have told since they were last asked for.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    changed: Notify,
    /// A profile was added, edited or removed.
    profiles_changed: AtomicBool,
    /// `fleet-config` has applied something.
    configuration_changed: AtomicBool,
    /// Object path of a device → why its last activation failed.
    failures: Mutex<Vec<(String, Failure)>>,
    /// Object path of a device → since when it is getting its addresses.
    configuring: Mutex<Vec<(String, Duration)>>,
}

impl Signals {
    /// Subscribes. From then on nothing is missed.
    ///
    /// # Errors
    /// The bus refuses a match rule, or is gone.
    pub(crate) async fn subscribe(connection: &Connection) -> zbus::Result<Arc<Self>> {
        let signals = Arc::new(Self::default());
        let network_manager = || {
            MatchRule::builder()
                .msg_type(Type::Signal)
                .sender(NAME)
                .path_namespace("/org/freedesktop/NetworkManager")
        };
        for interface in INTERFACES {
            let rule = network_manager()
                .interface("org.freedesktop.DBus.Properties")
                .member("PropertiesChanged")
                .arg(0, interface)
                .build()?;
            let note = match interface {
                "org.freedesktop.NetworkManager.Settings" => Self::note_profiles,
                _ => Self::note_change,
            };
            signals.follow(connection, rule, note).await?;
        }
        let rule = network_manager()
            .interface("org.freedesktop.NetworkManager.Settings.Connection")
            .member("Updated")
            .build()?;
        signals.follow(connection, rule, Self::note_profiles).await?;
        let rule = network_manager()
            .interface("org.freedesktop.NetworkManager.Device")
            .member("StateChanged")
            .build()?;
        signals.follow(connection, rule, Self::note_state).await?;
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender("org.fleetos.Config1")
            .path("/org/fleetos/Config1")
            .interface("org.freedesktop.DBus.Properties")
            .member("PropertiesChanged")
            .build()?;
        signals.follow(connection, rule, Self::note_configuration).await?;
        let rule = bus::owner_changed(NAME)?;
        signals.follow(connection, rule, Self::note_owner).await?;
        Ok(signals)
    }

    /// Waits for a change since the last call. Cancel-safe.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Whether profiles changed since the last call.
    pub(crate) fn take_profiles_changed(&self) -> bool {
        self.profiles_changed.swap(false, Ordering::Relaxed)
    }

    /// Whether `fleet-config` has applied something since the last call.
    pub(crate) fn take_configuration_changed(&self) -> bool {
        self.configuration_changed.swap(false, Ordering::Relaxed)
    }

    /// Why the last activation of the device failed, if none has succeeded since.
    pub(crate) fn failure(&self, device: &str) -> Option<Failure> {
        let failures = self.failures();
        failures
            .iter()
            .find(|(failed, _)| failed == device)
            .map(|&(_, failure)| failure)
    }

    /// Forgets devices that are not there any more.
    pub(crate) fn retain_devices(&self, devices: &[String]) {
        self.failures().retain(|(device, _)| devices.contains(device));
        locked(&self.configuring).retain(|(device, _)| devices.contains(device));
    }

    /// Takes messages off the connection at once, in a task of its own: a queue that nobody empties would hold up
    /// every reply on the connection.
    async fn follow(
        self: &Arc<Self>,
        connection: &Connection,
        rule: MatchRule<'static>,
        note: fn(&Self, &Message),
    ) -> zbus::Result<()> {
        let mut messages = bus::subscribe(connection, rule).await?;
        let signals = Arc::clone(self);
        tokio::spawn(async move {
            while let Some(Ok(message)) = messages.next().await {
                note(&signals, &message);
                signals.changed.notify_one();
            }
        });
        Ok(())
    }

    fn note_change(&self, _: &Message) {}

    fn note_profiles(&self, _: &Message) {
        self.profiles_changed.store(true, Ordering::Relaxed);
    }

    fn note_configuration(&self, _: &Message) {
        self.configuration_changed.store(true, Ordering::Relaxed);
    }

    /// Another NetworkManager has other profiles, and other devices under the same paths.
    fn note_owner(&self, _: &Message) {
        self.profiles_changed.store(true, Ordering::Relaxed);
        self.failures().clear();
        locked(&self.configuring).clear();
    }

    /// `Device.StateChanged(new, old, reason)`.
    fn note_state(&self, message: &Message) {
        let header = message.header();
        let values = Values::of(message)
            .and_then(|mut values| Ok::<[u32; 3], _>([values.take()?, values.take()?, values.take()?]));
        if let (Some(path), Ok([new, old, reason])) = (header.path(), values) {
            self.remember(path.as_str(), (old, new), reason, boot_clock::now());
        }
    }

    /// A failure counts until an activation succeeds, somebody ends it, or the device goes away.
    fn remember(&self, device: &str, (old_state, new_state): (u32, u32), reason: u32, now: Duration) {
        if new_state == STATE_IP_CONFIG {
            put(&mut locked(&self.configuring), device, now);
        }
        let failure = match new_state {
            STATE_FAILED => match Failure::from_number(reason) {
                Some(Failure::NoLease) if self.failed_at_once(device, now) => Some(Failure::Duplicate),
                // A call that worked has ended, and the next one may work.
                Some(Failure::NoBearer) if old_state == STATE_ACTIVATED => None,
                failure => failure,
            },
            STATE_ACTIVATED | STATE_DEACTIVATING | 0..=STATE_UNAVAILABLE => None,
            _ => return,
        };
        let mut failures = self.failures();
        match failure {
            Some(failure) => put(&mut failures, device, failure),
            None => failures.retain(|(failed, _)| failed != device),
        }
    }

    /// Whether an address was refused sooner than one could be waited for. NetworkManager 1.52 says of a static address
    /// that another machine has (RFC 5227) no more than that it cannot be reserved, as of a lease that does not come; but
    /// it knows after `ipv4.dad-timeout`, 0.2 s, and waits for a lease or a router for 30 s and more.
    fn failed_at_once(&self, device: &str, now: Duration) -> bool {
        let configuring = locked(&self.configuring);
        let since = configuring.iter().find(|(listed, _)| listed == device);
        since.is_some_and(|(_, since)| now < *since + AT_ONCE)
    }

    fn failures(&self) -> MutexGuard<'_, Vec<(String, Failure)>> {
        locked(&self.failures)
    }
}

/// Sets the value of a key.
fn put<V>(list: &mut Vec<(String, V)>, key: &str, value: V) {
    list.retain(|(listed, _)| listed != key);
    list.push((key.to_owned(), value));
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_counts_until_something_else_is_known() {
        // The states that NetworkManager 1.52 goes through: (new state, reason), and what is known after it.
        for (story, states) in [
            (
                "wrong Wi-Fi key, then the right one",
                vec![
                    (50, 0, None),
                    (60, 8, None),
                    (120, 7, Some(Failure::Auth)),
                    (30, 0, Some(Failure::Auth)),
                    (40, 0, Some(Failure::Auth)),
                    (70, 0, Some(Failure::Auth)),
                    (100, 0, None),
                ],
            ),
            (
                "no DHCP server, then the cable is pulled",
                vec![
                    (70, 0, None),
                    (120, 5, Some(Failure::NoLease)),
                    (30, 0, Some(Failure::NoLease)),
                    (20, 40, None),
                ],
            ),
            (
                "a SIM that no network takes, then coverage, then a call that is hung up",
                vec![
                    (40, 0, None),
                    (120, 32, Some(Failure::NotRegistered)),
                    (30, 0, Some(Failure::NotRegistered)),
                    (40, 0, Some(Failure::NotRegistered)),
                    (100, 0, None),
                    (120, 13, None),
                    (30, 0, None),
                ],
            ),
            (
                "no DHCP server, then another reason",
                vec![(120, 5, Some(Failure::NoLease)), (120, 36, None)],
            ),
        ] {
            let signals = Signals::default();
            // Ten seconds a step.
            let mut now = Duration::ZERO;
            let mut old = 0;
            for (state, reason, known) in states {
                now += Duration::from_secs(10);
                signals.remember("/device/1", (old, state), reason, now);
                old = state;
                assert_eq!(signals.failure("/device/1"), known, "{story}: after {state}");
            }
        }
    }

    #[test]
    fn an_address_that_is_refused_at_once_is_another_machines() {
        let signals = Signals::default();
        let second = Duration::from_secs(1);
        for (wait, failure) in [(second / 4, Failure::Duplicate), (second * 45, Failure::NoLease)] {
            signals.remember("/device/1", (50, STATE_IP_CONFIG), 0, second);
            signals.remember("/device/1", (STATE_IP_CONFIG, STATE_FAILED), 5, second + wait);
            assert_eq!(signals.failure("/device/1"), Some(failure));
        }
    }

    #[test]
    fn forgets_devices_that_are_gone() {
        let signals = Signals::default();
        for device in ["/device/1", "/device/2"] {
            signals.remember(device, (50, STATE_FAILED), 7, Duration::ZERO);
        }
        signals.retain_devices(&["/device/2".to_owned()]);
        assert_eq!(signals.failure("/device/1"), None);
        assert_eq!(signals.failure("/device/2"), Some(Failure::Auth));
    }
}
