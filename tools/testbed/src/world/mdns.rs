//! A question by multicast DNS (RFC 6762), as another machine on the link asks it.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::world::ADDRESS;

/// RFC 6762 section 3.
const GROUP: (Ipv4Addr, u16) = (Ipv4Addr::new(224, 0, 0, 251), 5353);
/// A responder answers within 120 ms (section 6); a question may get lost.
const PATIENCE: Duration = Duration::from_millis(700);
const QUESTIONS: usize = 3;
const HEADER: usize = 12;
/// A, class IN.
const TYPE_A: [u8; 4] = [0, 1, 0, 1];

/// Asks for the IPv4 address of `NAME.local`. Says `none` when nobody answers.
///
/// From a port of its own, so that the answer comes to this socket alone (section 6.7).
pub(super) fn ask(name: &str) -> Result<String> {
    let question = question(name)?;
    // Bound to the world's address, which picks the interface for the group too.
    let socket = UdpSocket::bind((ADDRESS, 0)).context("cannot open a socket for mDNS")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    for _ in 0..QUESTIONS {
        socket.send_to(&question, GROUP).context("cannot ask by mDNS")?;
        let mut answer = [0; 9000];
        match socket.recv(&mut answer) {
            Ok(length) => {
                if let Some(address) = address(&answer[..length], &question) {
                    return Ok(format!("{address}\n"));
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error).context("cannot hear answers by mDNS"),
        }
    }
    Ok("none\n".to_owned())
}

/// One question; the id is repeated in the answer.
fn question(name: &str) -> Result<Vec<u8>> {
    let mut message = vec![0xf1, 0xee, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in [name, "local"] {
        let length = u8::try_from(label.len()).unwrap_or(u8::MAX);
        ensure!(
            (1..=63).contains(&length) && !label.contains('.'),
            "{name:?} is not one label"
        );
        message.push(length);
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(TYPE_A);
    Ok(message)
}

/// The address in an answer to this question: the first record, which repeats the name.
fn address(answer: &[u8], question: &[u8]) -> Option<Ipv4Addr> {
    let is_answer = answer.get(..2)? == &question[..2] && answer.get(2)? & 0x80 != 0;
    let [questions, answers] = [4, 6].map(|at| {
        answer
            .get(at..at + 2)
            .map(|count| u16::from_be_bytes([count[0], count[1]]))
    });
    if !is_answer || answers? == 0 {
        return None;
    }
    // A legacy answer repeats the question, and then points to its name or repeats it again.
    let asked = &question[HEADER..];
    let mut rest = answer.get(HEADER..)?;
    if questions? > 0 {
        rest = rest.strip_prefix(asked)?;
    }
    let name = &asked[..asked.len() - TYPE_A.len()];
    rest = rest
        .strip_prefix(name)
        .or_else(|| rest.strip_prefix(&[0xc0, 0x0c]))?;
    // Type, class (with or without the cache-flush bit), time to live, length, data.
    let [0, 1, 0 | 0x80, 1, _, _, _, _, 0, 4, a, b, c, d, ..] = *rest else {
        return None;
    };
    Some(Ipv4Addr::new(a, b, c, d))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_told_from_a_question() {
        let question = question("kitchen").unwrap();
        assert_eq!(&question[HEADER..], b"\x07kitchen\x05local\x00\x00\x01\x00\x01");
        assert_eq!(address(&question, &question), None);
        let mut answer = question.clone();
        answer[2] = 0x84;
        answer[7] = 1;
        answer.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 10, 0, 4, 172, 31, 77, 23]);
        assert_eq!(address(&answer, &question), Some(Ipv4Addr::new(172, 31, 77, 23)));
        answer.truncate(answer.len() - 1);
        assert_eq!(address(&answer, &question), None);
        assert!(super::question("a.b").is_err() && super::question("").is_err());
    }
}
