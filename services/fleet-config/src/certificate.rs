//! What OpenSSL says of certificates.
//!
//! It is asked in a process of its own that runs for as long as it takes (`fleet-certificate`), so that no resident
//! process maps libssl.

use std::fmt;
use std::time::Duration;

use fleet_base::command;

/// How long it may take: milliseconds on any board, but it is started from a slow card.
const LIMIT: Duration = Duration::from_secs(10);
/// sysexits(3): the input is wrong, and the reason was written.
const DATA_ERROR: i32 = 65;

/// A certificate of an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// Of its subject, eight hexadecimal digits: what OpenSSL looks certificates up by in a folder. `None`: it expired,
    /// and is left out.
    pub(crate) hash: Option<String>,
    /// Seconds since 1970.
    pub(crate) valid_from: i64,
    /// Seconds since 1970.
    pub(crate) expires: i64,
    /// For people.
    pub(crate) subject: String,
}

/// Why certificates are not taken.
#[derive(Debug)]
pub(crate) enum Error {
    /// This is wrong with them.
    Judged(String),
    /// They could not be looked at.
    Command(command::Error),
    /// The answer is none.
    Answer,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Judged(reason) => f.write_str(reason),
            Self::Command(error) => write!(f, "the certificates cannot be looked at: {error}"),
            Self::Answer => {
                f.write_str("the certificates cannot be looked at: the answer of the checker is none")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Command(error) => Some(error),
            Self::Judged(_) | Self::Answer => None,
        }
    }
}

/// Has certificates (PEM) judged by the checker at this path: each is of an authority that OpenSSL would trust, and
/// not all have expired. In their order.
pub(crate) async fn judge(checker: &str, pem: &str) -> Result<Vec<Certificate>, Error> {
    let answer = command::ask(checker, &[], pem.as_bytes(), LIMIT).await;
    let answer = answer.map_err(|error| match error {
        command::Error::Failed(_, status, said) if status.code() == Some(DATA_ERROR) => Error::Judged(said),
        other => Error::Command(other),
    })?;
    answer
        .lines()
        .map(|line| read(line).ok_or(Error::Answer))
        .collect()
}

/// One line of the answer: hash or `expired`, begin, end, subject.
fn read(line: &str) -> Option<Certificate> {
    let mut words = line.splitn(4, ' ');
    let hash = match words.next()? {
        "expired" => None,
        hash if hash.len() == 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => Some(hash.to_owned()),
        _ => return None,
    };
    Some(Certificate {
        hash,
        valid_from: words.next()?.parse().ok()?,
        expires: words.next()?.parse().ok()?,
        subject: words.next()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_answer() {
        let read_back = read("0123abcd -5 1893456000 CN=An authority").unwrap();
        assert_eq!(
            (
                read_back.hash.as_deref(),
                read_back.valid_from,
                read_back.expires,
                read_back.subject.as_str()
            ),
            (Some("0123abcd"), -5, 1_893_456_000, "CN=An authority")
        );
        assert_eq!(read("expired 0 1 CN=Old").unwrap().hash, None);
        for bad in ["", "0123abcd", "../../ab 1 2 x", "0123abcd 1 x y", "0123abcd 1 2"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
