use super::*;

/// Plays what OpenVPN said, and what was known after each line.
fn play(lines: &[(&str, VpnState, Option<Trouble>)]) -> Tunnel {
    let mut tunnel = Tunnel::default();
    tunnel.arrived();
    for (line, state, trouble) in lines {
        if let Some(line) = Line::read(line) {
            tunnel.hear(line);
        }
        assert_eq!(tunnel.state(), (*state, *trouble), "after {line}");
    }
    tunnel
}

use Trouble::{Handshake, OwnCertificate, Refused, ServerCertificate, Silent, Unreachable};
use VpnState::{Connecting, Down, Up};

#[test]
fn up_and_gone() {
    let mut tunnel = play(&[
        (">STATE:1,WAIT,,,,,,", Connecting, None),
        (">STATE:1,AUTH,,,,,,", Connecting, None),
        (">STATE:1,CONNECTED,SUCCESS,10.8.0.2,172.31.77.1,1194,,", Up, None),
        (">BYTECOUNT:10,10", Up, None),
        (">BYTECOUNT:20,20", Up, None),
    ]);
    tunnel.gone();
    assert_eq!(tunnel.state(), (Down, None), "never a stale up");
    tunnel.arrived();
    assert_eq!(tunnel.state(), (Connecting, None));
}

#[test]
fn nobody_answers() {
    play(&[
        (">STATE:1,WAIT,,,,,,", Connecting, None),
        (">STATE:1,RECONNECTING,server_poll,,,,,", Down, Some(Unreachable)),
        (">STATE:1,WAIT,,,,,,", Down, Some(Unreachable)),
        (">STATE:1,CONNECTED,SUCCESS,10.8.0.2,172.31.77.1,1194,,", Up, None),
        (">STATE:1,RECONNECTING,ping-restart,,,,,", Down, Some(Silent)),
        (">STATE:1,RECONNECTING,server_poll,,,,,", Down, Some(Unreachable)),
    ]);
    play(&[(
        ">LOG:1,N,RESOLVE: Cannot resolve host address: vpn.example:1194 (Temporary failure in name resolution)",
        Down,
        Some(Unreachable),
    )]);
}

#[test]
fn silent_by_its_bytes() {
    play(&[
        (">STATE:1,CONNECTED,SUCCESS,10.8.0.2,172.31.77.1,1194,,", Up, None),
        (">BYTECOUNT:10,10", Up, None),
        (">BYTECOUNT:10,10", Up, None),
        (">BYTECOUNT:10,20", Down, Some(Silent)),
        (">BYTECOUNT:20,30", Up, None),
    ]);
}

#[test]
fn refused() {
    play(&[
        (">STATE:1,AUTH,,,,,,", Connecting, None),
        (
            ">LOG:1,,AUTH: Received control message: AUTH_FAILED",
            Down,
            Some(Refused),
        ),
        (">PASSWORD:Verification Failed: 'Auth'", Down, Some(Refused)),
        (">STATE:1,RECONNECTING,auth-failure,,,,,", Down, Some(Refused)),
        (">STATE:1,AUTH,,,,,,", Down, Some(Refused)),
        // Now it is something else.
        (">STATE:1,RECONNECTING,server_poll,,,,,", Down, Some(Unreachable)),
    ]);
}

#[test]
fn certificates() {
    play(&[
        (">STATE:1,AUTH,,,,,,", Connecting, None),
        (
            ">LOG:1,N,VERIFY ERROR: depth=0, error=certificate has expired: CN=server, serial=1",
            Down,
            Some(ServerCertificate),
        ),
        (
            ">STATE:1,RECONNECTING,tls-error,,,,,",
            Down,
            Some(ServerCertificate),
        ),
        (">STATE:1,AUTH,,,,,,", Down, Some(ServerCertificate)),
        (
            ">LOG:1,N,OpenSSL: error:0A000415:SSL routines::ssl/tls alert certificate expired",
            Down,
            Some(OwnCertificate),
        ),
        (">STATE:1,RECONNECTING,tls-error,,,,,", Down, Some(OwnCertificate)),
    ]);
    play(&[
        (
            ">LOG:1,W,WARNING: Your certificate has expired!",
            Connecting,
            None,
        ),
        (">STATE:1,AUTH,,,,,,", Connecting, None),
        (">STATE:1,RECONNECTING,tls-error,,,,,", Down, Some(OwnCertificate)),
    ]);
    play(&[
        (">STATE:1,AUTH,,,,,,", Connecting, None),
        (">STATE:1,RECONNECTING,ping-restart,,,,,", Down, Some(Handshake)),
        (">STATE:1,AUTH,,,,,,", Down, Some(Handshake)),
        (">STATE:1,RECONNECTING,tls-error,,,,,", Down, Some(Handshake)),
        (">STATE:1,WAIT,,,,,,", Down, Some(Handshake)),
        (">STATE:1,RECONNECTING,tls-error,,,,,", Down, Some(Unreachable)),
    ]);
}

#[test]
fn another_configuration_begins_without_blame() {
    let mut tunnel = play(&[(">STATE:1,RECONNECTING,auth-failure,,,,,", Down, Some(Refused))]);
    tunnel.renewed();
    assert_eq!(tunnel.state(), (Connecting, None));
    tunnel.hear(Line::Fatal("Cannot open TUN/TAP dev"));
    tunnel.gone();
    assert_eq!(tunnel.state(), (Down, None));
}

#[test]
fn stopped_in_order_is_no_trouble() {
    play(&[
        (">STATE:1,CONNECTED,SUCCESS,10.8.0.2,172.31.77.1,1194,,", Up, None),
        (">STATE:1,EXITING,SIGTERM,,,,,", Connecting, None),
    ]);
}

#[test]
fn what_went_through_it() {
    let mut tunnel = play(&[
        (">STATE:1,CONNECTED,SUCCESS,10.8.0.2,172.31.77.1,1194,,", Up, None),
        (">BYTECOUNT:700,500", Up, None),
    ]);
    let counts = tunnel.counts();
    assert_eq!((counts.received, counts.sent), (700, 500));
    tunnel.hear(Line::State("RECONNECTING", "ping-restart"));
    tunnel.hear(Line::State("CONNECTED", "SUCCESS"));
    assert_eq!(tunnel.counts(), Counts::default(), "another tunnel");
}
