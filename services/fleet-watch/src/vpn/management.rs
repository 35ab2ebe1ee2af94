//! What OpenVPN says on its management socket (management-notes.txt of OpenVPN), line by line. Pure.

/// What to ask for once connected: states, log and, every five minutes, bytes from now on; then the last lines of the log
/// and the state as they are, so that the state has the last word.
pub(super) const QUESTIONS: &[u8] = b"state on\nlog on\nbytecount 300\nlog 30\nstate\n";

/// A line that says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line<'l> {
    /// The state by its name, and why.
    State(&'l str, &'l str),
    /// A line of the log.
    Log(&'l str),
    /// Bytes that came in and went out since the connection began.
    Bytes { received: u64, sent: u64 },
    /// The server refuses name and password, or OpenVPN has none to give.
    Refused,
    /// OpenVPN ends, why.
    Fatal(&'l str),
}

impl<'l> Line<'l> {
    /// Reads a line; `None` for what is of no interest.
    pub(super) fn read(line: &'l str) -> Option<Self> {
        let Some(event) = line.strip_prefix('>') else {
            return history(line);
        };
        let (kind, rest) = event.split_once(':')?;
        match kind {
            "STATE" | "LOG" => history(rest),
            "BYTECOUNT" => {
                let (received, sent) = rest.split_once(',')?;
                Some(Self::Bytes {
                    received: received.parse().ok()?,
                    sent: sent.parse().ok()?,
                })
            }
            "PASSWORD" if rest.starts_with("Verification Failed") || rest.starts_with("Need ") => {
                Some(Self::Refused)
            }
            "FATAL" => Some(Self::Fatal(rest)),
            _ => None,
        }
    }
}

/// `TIME,STATE,WHY,…` or `TIME,FLAGS,TEXT`: as an event, and as an answer to `state` and `log`.
fn history(line: &str) -> Option<Line<'_>> {
    let mut fields = line.splitn(3, ',');
    let (time, second, rest) = (fields.next()?, fields.next()?, fields.next()?);
    if time.is_empty() || !time.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // The flags of a line of the log, which may be none: info, fatal, non-fatal, warning, debug.
    if second.bytes().all(|byte| b"IFNWD".contains(&byte)) {
        return Some(Line::Log(rest));
    }
    let why = rest.split(',').next().unwrap_or_default();
    Some(Line::State(second, why))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As OpenVPN 2.6.14 wrote them.
    #[test]
    fn lines() {
        for (line, read) in [
            (
                ">STATE:1795685000,CONNECTED,SUCCESS,10.8.0.2,172.31.77.1,1194,,",
                Some(Line::State("CONNECTED", "SUCCESS")),
            ),
            ("1795685000,WAIT,,,,,,", Some(Line::State("WAIT", ""))),
            (
                ">STATE:1795685000,RECONNECTING,auth-failure,,,,,",
                Some(Line::State("RECONNECTING", "auth-failure")),
            ),
            (
                ">LOG:1795685000,N,VERIFY ERROR: depth=0, error=certificate has expired: CN=server",
                Some(Line::Log(
                    "VERIFY ERROR: depth=0, error=certificate has expired: CN=server",
                )),
            ),
            (
                "1795685000,,Restart pause, 5 second(s)",
                Some(Line::Log("Restart pause, 5 second(s)")),
            ),
            (
                ">BYTECOUNT:12,34",
                Some(Line::Bytes {
                    received: 12,
                    sent: 34,
                }),
            ),
            (">PASSWORD:Verification Failed: 'Auth'", Some(Line::Refused)),
            (">PASSWORD:Need 'Auth' username/password", Some(Line::Refused)),
            (
                ">FATAL:Cannot open TUN/TAP dev",
                Some(Line::Fatal("Cannot open TUN/TAP dev")),
            ),
            (
                ">INFO:OpenVPN Management Interface Version 5 -- type 'help' for more info",
                None,
            ),
            ("SUCCESS: real-time state notification set to ON", None),
            ("END", None),
            (">BYTECOUNT:x,1", None),
            (">STATE:", None),
            ("", None),
        ] {
            assert_eq!(Line::read(line), read, "{line}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(line in "\\PC{0,60}", start in proptest::sample::select(vec!["", ">", ">STATE:", ">LOG:1,", ">BYTECOUNT:", "1,"])) {
            let _ = Line::read(&format!("{start}{line}"));
        }
    }
}
