//! A time server (NTP, RFC 5905, as a server of stratum 1) on the world's own address, and a false one on another.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use crate::world::serve::locked;
use crate::world::{ADDRESS, FALSE_TIME, Time};

const PORT: u16 = 123;
/// A packet without extensions (RFC 5905 section 7.3).
const LENGTH: usize = 48;
/// From 1900, where NTP begins, to 1970, in seconds.
const TO_UNIX: u64 = 2_208_988_800;
/// How far ahead [`Time::Ahead`] is.
const AHEAD: Duration = Duration::from_secs(3600);
/// How far ahead the false server is.
const FALSE: Duration = Duration::from_secs(365 * 86_400);

/// Starts to serve.
pub(super) fn start(mode: Arc<Mutex<Time>>) -> Result<()> {
    serve(ADDRESS, move || match *locked(&mode) {
        Time::Off => None,
        Time::On => Some(Duration::ZERO),
        Time::Ahead => Some(AHEAD),
    })?;
    serve(FALSE_TIME, || Some(FALSE))
}

/// Serves on one address: an answer from another than the one that was asked is no answer. `ahead` is asked at each
/// request how far ahead the time is that is told.
fn serve(address: Ipv4Addr, ahead: impl Fn() -> Option<Duration> + Send + 'static) -> Result<()> {
    let socket = UdpSocket::bind((address, PORT)).context("cannot listen on the NTP port")?;
    thread::spawn(move || {
        let mut packet = [0; 512];
        loop {
            // An error is one request without an answer.
            let Ok((length, client)) = socket.recv_from(&mut packet) else {
                continue;
            };
            let received = SystemTime::now();
            let answer = ahead().and_then(|ahead| answer(&packet[..length], received, ahead));
            if let Some(answer) = answer {
                // A client that went away is no news.
                let _ = socket.send_to(&answer, client);
            }
        }
    });
    Ok(())
}

/// The answer to a client's request; `None` for anything else.
fn answer(request: &[u8], received: SystemTime, ahead: Duration) -> Option<[u8; LENGTH]> {
    const CLIENT: u8 = 3;
    const SERVER: u8 = 4;
    let (head, sent) = (*request.first()?, request.get(40..48)?);
    if head & 0b111 != CLIENT {
        return None;
    }
    let mut answer = [0; LENGTH];
    // No leap second, the client's version, a server.
    answer[0] = head & 0b0011_1000 | SERVER;
    // Primary; the client's poll interval; a microsecond of precision (2^-20).
    answer[1] = 1;
    answer[2] = request[2];
    answer[3] = 0xec;
    answer[12..16].copy_from_slice(b"WRLD");
    let stamp = timestamp(received + ahead)?;
    answer[16..24].copy_from_slice(&stamp);
    answer[24..32].copy_from_slice(sent);
    answer[32..40].copy_from_slice(&stamp);
    answer[40..48].copy_from_slice(&timestamp(SystemTime::now() + ahead)?);
    Some(answer)
}

/// Seconds since 1900 and their fraction, 32 bits each.
fn timestamp(time: SystemTime) -> Option<[u8; 8]> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    // Era 0 ends in 2036; the seconds go on modulo 2^32 (RFC 5905 section 6).
    let seconds = (since.as_secs() + TO_UNIX) & u64::from(u32::MAX);
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    Some((seconds << 32 | fraction).to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_answered_with_its_own_stamp() {
        let mut request = [0; LENGTH];
        request[0] = 0b0010_0011;
        request[40..48].copy_from_slice(b"12345678");
        let time = UNIX_EPOCH + Duration::from_millis(1_500);
        let answer = answer(&request, time, AHEAD).unwrap();
        assert_eq!((answer[0], &answer[24..32]), (0b0010_0100, &b"12345678"[..]));
        let expected = (TO_UNIX + 3601) << 32 | 1 << 31;
        assert_eq!(answer[32..40], expected.to_be_bytes());
    }

    #[test]
    fn anything_else_is_not_answered() {
        for bad in [&[][..], &[0x23; 10], &[0x24; LENGTH]] {
            assert!(answer(bad, UNIX_EPOCH, Duration::ZERO).is_none());
        }
    }
}
