//! Whether the other side of WireGuard answers: by the age of its last handshake.
//!
//! NetworkManager calls the tunnel up as soon as its interface is. The kernel knows more, and tells it only to who may
//! change the network: `fleet-handshakes.service` asks it, which the helper starts. That is seldom: after a change, and at
//! long intervals.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fleet_base::bus::sentence;
use fleet_base::file;
use fleet_base::paths::{HANDSHAKES, RUN_VPN, WIREGUARD_KEEPALIVE};
use fleet_base::proxy::helper::HelperProxy;
use tokio::sync::Notify;
use tokio::time::sleep;
use zbus::Connection;

use super::NAME;
use super::folder::Folders;
use crate::snapshot::{Counts, Snapshot, Trouble, VpnState};

/// Pauses between looks after a change: a handshake takes two ways, and is tried every five seconds.
const AT_FIRST: [u64; 4] = [1, 5, 10, 20];
/// While it answers, and while it does not.
const FRESH_PAUSE: Duration = Duration::from_secs(300);
const OTHER_PAUSE: Duration = Duration::from_secs(60);
/// When to try again what should not fail.
const AGAIN: Duration = Duration::from_secs(30);
/// A session ends after this long, and a new one begins with a handshake (`REJECT_AFTER_TIME` of the WireGuard paper).
const SESSION: u64 = 180;

/// What was heard of the peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Heard {
    /// Nobody looked yet, or the kernel said nothing.
    #[default]
    Unknown,
    /// One of them answers.
    Fresh,
    /// None of them has ever answered since the interface is there.
    Never,
    /// One did, too long ago.
    Stale,
    /// None of them has to say anything while nothing is sent, so that being silent says nothing.
    Idle,
}

/// The VPN by WireGuard.
#[derive(Default)]
pub(crate) struct WireGuard {
    seen: Mutex<Seen>,
    changed: Notify,
    /// NetworkManager changed something about it.
    look: Notify,
}

#[derive(Clone, Copy, Default)]
struct Seen {
    heard: Heard,
    counts: Counts,
    /// Looks since the last change.
    looks: usize,
    /// What NetworkManager said last.
    state: Option<VpnState>,
}

impl WireGuard {
    /// Begins to follow, in a task of its own.
    pub(crate) fn follow(connection: &Connection) -> Arc<Self> {
        let wireguard = Arc::new(Self::default());
        let (own, connection) = (Arc::clone(&wireguard), connection.clone());
        tokio::spawn(async move {
            loop {
                if let Err(error) = own.run(&connection).await {
                    log::warn!("cannot follow WireGuard: {error}");
                }
                sleep(AGAIN).await;
            }
        });
        wireguard
    }

    /// Waits for a change since the last call. Cancel-safe.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Corrects what NetworkManager says of it.
    pub(crate) fn add_to(&self, snapshot: &mut Snapshot) {
        let Snapshot::Read(network) = snapshot else { return };
        let vpn = network
            .vpns
            .iter_mut()
            .find(|vpn| vpn.name == NAME && !vpn.proven);
        let mut seen = self.seen();
        let state = vpn.as_ref().map(|vpn| vpn.state);
        if seen.state != state {
            *seen = Seen {
                state,
                ..Seen::default()
            };
            self.look.notify_one();
        }
        if let Some(vpn) = vpn.filter(|vpn| vpn.state == VpnState::Up) {
            (vpn.state, vpn.trouble) = judged(*seen);
            vpn.counts = seen.counts;
            vpn.proven = seen.heard == Heard::Fresh;
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(&self, connection: &Connection) -> std::io::Result<()> {
        let folders = Folders::watch(&[RUN_VPN])?;
        loop {
            let keepalive = keepalive();
            let is_up = self.seen().state == Some(VpnState::Up);
            let Some(keepalive) = keepalive.filter(|_| is_up) else {
                tokio::select! {
                    changed = folders.changed() => { changed?; }
                    () = self.look.notified() => {}
                }
                continue;
            };
            if let Err(error) = HelperProxy::new(connection).read_handshakes().await {
                log::debug!("the handshakes of WireGuard cannot be read: {}", sentence(&error));
            }
            let text = file::read(Path::new(HANDSHAKES), 64 * 1024).unwrap_or_default();
            let latest = latest(&String::from_utf8_lossy(&text));
            let pause = self.note(heard(latest, now(), keepalive), counts(latest));
            tokio::select! {
                changed = folders.changed() => { changed?; self.seen().looks = 0; }
                () = self.look.notified() => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Notes a look. Returns when to look again.
    fn note(&self, heard: Heard, counts: Counts) -> Duration {
        let mut seen = self.seen();
        let before = (judged(*seen), seen.counts);
        seen.heard = heard;
        seen.counts = counts;
        seen.looks += 1;
        if (judged(*seen), seen.counts) != before {
            self.changed.notify_one();
        }
        match (heard, AT_FIRST.get(seen.looks - 1)) {
            (Heard::Fresh | Heard::Idle, _) => FRESH_PAUSE,
            (_, Some(pause)) => Duration::from_secs(*pause),
            (_, None) => OTHER_PAUSE,
        }
    }
}

/// What a tunnel is whose interface is up.
fn judged(seen: Seen) -> (VpnState, Option<Trouble>) {
    let is_new = seen.looks < AT_FIRST.len();
    match seen.heard {
        Heard::Fresh | Heard::Idle => (VpnState::Up, None),
        Heard::Stale => (VpnState::Down, Some(Trouble::Silent)),
        Heard::Unknown | Heard::Never if is_new => (VpnState::Connecting, None),
        Heard::Never => (VpnState::Down, Some(Trouble::Unreachable)),
        Heard::Unknown => (VpnState::Down, None),
    }
}

/// Seconds between the signs of life that each peer is sent at least; `None` while there shall be no WireGuard.
fn keepalive() -> Option<u64> {
    let text = file::read(&Path::new(RUN_VPN).join(WIREGUARD_KEEPALIVE), 64).ok()?;
    String::from_utf8_lossy(&text).trim().parse().ok()
}

/// Reads `PUBLIC KEY<tab>SECONDS SINCE 1970`, a line a peer; 0 is never (wg(8)).
fn latest(text: &str) -> Option<u64> {
    let mut latest = None;
    for line in text.lines() {
        let at = line.split_once('\t').and_then(|(_, at)| at.trim().parse().ok());
        latest = latest.max(at);
    }
    latest
}

/// What the interface has counted (sysfs-class-net-statistics).
fn counts(latest: Option<u64>) -> Counts {
    let read = |name: &str| {
        let path = format!("/sys/class/net/{NAME}/statistics/{name}");
        let text = file::read(Path::new(&path), 64).unwrap_or_default();
        String::from_utf8_lossy(&text).trim().parse().unwrap_or(0)
    };
    Counts {
        received: read("rx_bytes"),
        sent: read("tx_bytes"),
        handshake: latest.unwrap_or(0),
    }
}

/// What that says of the peers.
fn heard(latest: Option<u64>, now: u64, keepalive: u64) -> Heard {
    match latest {
        None => Heard::Unknown,
        // Of a clock that was set back since then nothing is known.
        Some(at) if at > 0 && now.saturating_sub(at) <= SESSION + keepalive => Heard::Fresh,
        Some(_) if keepalive == 0 => Heard::Idle,
        Some(0) => Heard::Never,
        Some(_) => Heard::Stale,
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{Network, Vpn};

    #[test]
    fn handshakes() {
        for (text, keepalive, expected) in [
            ("", 25, Heard::Unknown),
            ("interface not found\n", 25, Heard::Unknown),
            ("KEY=\t0\n", 25, Heard::Never),
            ("KEY=\t0\n", 0, Heard::Idle),
            ("KEY=\t0\nOTHER=\t900\n", 25, Heard::Fresh),
            ("KEY=\t795\n", 25, Heard::Fresh),
            ("KEY=\t794\n", 25, Heard::Stale),
            ("KEY=\t5\n", 0, Heard::Idle),
            ("KEY=\t2000\n", 25, Heard::Fresh),
        ] {
            assert_eq!(
                heard(latest(text), 1000, keepalive),
                expected,
                "{text:?} {keepalive}"
            );
        }
    }

    #[test]
    fn an_interface_alone_is_no_tunnel() {
        let wireguard = WireGuard::default();
        let read = |state| {
            let vpn = Vpn {
                name: NAME.to_owned(),
                state,
                trouble: None,
                proven: false,
                counts: Counts::default(),
            };
            let mut snapshot = Snapshot::Read(Network {
                vpns: vec![vpn],
                ..Network::default()
            });
            wireguard.add_to(&mut snapshot);
            let Snapshot::Read(network) = snapshot else {
                unreachable!()
            };
            (
                network.vpns[0].state,
                network.vpns[0].trouble,
                network.vpns[0].proven,
            )
        };
        let (connecting, up) = ((VpnState::Connecting, None, false), (VpnState::Up, None, true));
        assert_eq!(read(VpnState::Up), connecting);
        for seconds in AT_FIRST {
            assert_eq!(read(VpnState::Up), connecting);
            assert_eq!(
                wireguard.note(Heard::Never, Counts::default()),
                Duration::from_secs(seconds)
            );
        }
        assert_eq!(
            read(VpnState::Up),
            (VpnState::Down, Some(Trouble::Unreachable), false)
        );
        assert_eq!(wireguard.note(Heard::Fresh, Counts::default()), FRESH_PAUSE);
        assert_eq!(read(VpnState::Up), up);
        assert_eq!(wireguard.note(Heard::Stale, Counts::default()), OTHER_PAUSE);
        assert_eq!(read(VpnState::Up), (VpnState::Down, Some(Trouble::Silent), false));
        // Activated anew: nothing is known of it.
        assert_eq!(read(VpnState::Connecting), connecting);
        assert_eq!(read(VpnState::Up), connecting);
    }
}
