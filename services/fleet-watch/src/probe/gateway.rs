//! Whether a gateway answers on the link: the kernel's own neighbour table, after a datagram that makes it ask.
//!
//! Nothing here needs a privilege, and a gateway that answers no ping is found all the same: one that speaks IP has to
//! answer ARP (RFC 826) or neighbour solicitations (RFC 4861).

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::resolver::bound;
use super::{Interface, datagram};
use crate::neighbours::{FAILED, INCOMPLETE, NOARP, PERMANENT, REACHABLE, lookup};

/// Nobody answers there; all that counts is that the kernel has to find the neighbour.
const DISCARD: u16 = 9;
/// When the table is looked at. The kernel asks thrice, once a second, a neighbour that it does not know. One that it has
/// known it believes for a while first: with our settings (`dist/usr/lib/sysctl.d`) at most 3 s, and one more until it
/// asks (arp(7), `base_reachable_time_ms`, `delay_first_probe_time`).
const LOOKS: [Duration; 8] = [
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_millis(1500),
    Duration::from_millis(3250),
    Duration::from_millis(4400),
    Duration::from_millis(5500),
    Duration::from_millis(7300),
    Duration::from_millis(9000),
];
/// How long the kernel asks before it gives up; for an instant only, where other programs go on sending: so this long without
/// an answer is none.
const ASKED: Duration = Duration::from_millis(3050);
/// The same where it has given up before: two more questions.
const ASKED_AGAIN: Duration = Duration::from_millis(1350);
/// When a neighbour that is being asked for was known last, if the kernel has given up on it meanwhile: it believes it for a
/// second at least, waits for one, and asks for three.
const GIVEN_UP: Duration = Duration::from_secs(5);
/// What ARP or neighbour discovery add, there and back.
const DISCOVERY: u64 = 150;

/// Whether the gateway answers (`None`: not known), and the bytes that it took.
pub(super) async fn ask(interface: &Interface, gateway: IpAddr) -> (Option<bool>, u64) {
    let address = interface.address(gateway, DISCARD);
    let mut bytes = DISCOVERY;
    let start = Instant::now();
    let Ok(socket) = bound(interface, &address).await else {
        return (None, 0);
    };
    if socket.connect(address).await.is_err() {
        return (None, 0);
    }
    let gave_up = lookup(interface.index, gateway).is_ok_and(|neighbour| {
        neighbour.state == FAILED || (neighbour.state == INCOMPLETE && neighbour.confirmed >= GIVEN_UP)
    });
    let patience = if gave_up { ASKED_AGAIN } else { ASKED };
    let mut asked = None;
    let mut last = None;
    for look in LOOKS {
        // The kernel asks for a neighbour while something is sent to it. An error of before is not one of this.
        if last != Some(INCOMPLETE) && socket.send(&[]).await.is_ok() {
            bytes += datagram(&address, 0);
        }
        // That its port is closed is an answer of the gateway's as well. Any other error is the kernel's, and in its table.
        match timeout_at(start + look, socket.recv(&mut [0; 1])).await {
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return (Some(true), bytes + 28);
            }
            Ok(_) => sleep_until(start + look).await,
            Err(_) => {}
        }
        let neighbour = match lookup(interface.index, gateway) {
            Ok(neighbour) => neighbour,
            Err(error) => {
                log::debug!("{gateway} on {}: {error}", interface.name);
                return (None, bytes);
            }
        };
        match neighbour.state {
            // That it answered before we asked says nothing of now.
            REACHABLE if neighbour.confirmed <= start.elapsed() => return (Some(true), bytes),
            PERMANENT => return (Some(true), bytes),
            FAILED => return (Some(false), bytes),
            INCOMPLETE if look - *asked.get_or_insert(look) >= patience => return (Some(false), bytes),
            // A link without neighbours: nothing to be asked.
            NOARP => return (None, bytes),
            state => last = Some(state),
        }
    }
    match last {
        // A kernel with other settings believes it for longer.
        Some(REACHABLE) => (Some(true), bytes),
        // The kernel has given up on it meanwhile, and asks again.
        Some(INCOMPLETE) => (Some(false), bytes),
        _ => (None, bytes),
    }
}
