//! A regulatory domain, and the kernel's, through iw(8).

use std::fmt;
use std::time::Duration;

use fleet_base::command::{self, ask, run};
use tokio::time::{Instant, sleep};

/// A call of iw: some netlink messages.
const LIMIT: Duration = Duration::from_secs(2);
/// The kernel reads its database and tells its drivers before a new domain shows.
const SETTLED: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(50);

/// A domain by its two characters: a country of ISO 3166-1, or one of the kernel's own in digits (`00` the world, `98`
/// where radios disagree, `99` made by itself).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Domain([u8; 2]);

/// Why the wanted domain is not in force.
#[derive(Debug)]
pub(crate) enum Error {
    /// iw failed.
    Command(command::Error),
    /// The kernel has another.
    Kept {
        /// What was wanted.
        wanted: Domain,
        /// What is in force.
        in_force: Domain,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(error) => write!(f, "the regulatory domain cannot be set: {error}"),
            Self::Kept { wanted, in_force } => write!(
                f,
                "the kernel keeps the regulatory domain {in_force}: its database (wireless-regdb) has no rules for \
                 {wanted}, or a radio insists on its own (iw reg get)"
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Command(error) => Some(error),
            Self::Kept { .. } => None,
        }
    }
}

impl Domain {
    /// What holds everywhere.
    pub(crate) const WORLD: Self = Self(*b"00");

    /// The domain of a text. Whatever else is in it is the world.
    pub(crate) fn read(text: &str) -> Self {
        match text.trim().as_bytes() {
            [first, second] if first.is_ascii_uppercase() && second.is_ascii_uppercase() => {
                Self([*first, *second])
            }
            _ => Self::WORLD,
        }
    }

    /// Makes it the kernel's.
    ///
    /// # Errors
    /// [`Error`].
    pub(crate) async fn set(self) -> Result<(), Error> {
        run("iw", &["reg", "set", &self.to_string()], LIMIT)
            .await
            .map_err(Error::Command)?;
        let deadline = Instant::now() + SETTLED;
        loop {
            let answer = ask("iw", &["reg", "get"], b"", LIMIT)
                .await
                .map_err(Error::Command)?;
            let in_force = global(&answer).unwrap_or(Self::WORLD);
            if in_force == self {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Error::Kept {
                    wanted: self,
                    in_force,
                });
            }
            sleep(PAUSE).await;
        }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// The domain in the block `global` of `iw reg get`; radios that have their own follow in blocks of theirs.
fn global(answer: &str) -> Option<Domain> {
    let mut lines = answer.lines().skip_while(|line| line.trim() != "global").skip(1);
    let country = lines.next()?.strip_prefix("country ")?;
    let (code, _) = country.split_once(':')?;
    <[u8; 2]>::try_from(code.as_bytes()).ok().map(Domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_wanted() {
        assert_eq!(Domain::read("DE\n").to_string(), "DE");
        for world in ["", "00\n", "de", "D", "DEU", "..", "-h"] {
            assert_eq!(Domain::read(world), Domain::WORLD, "{world}");
        }
    }

    #[test]
    fn reads_the_global_domain() {
        let answer = "global\ncountry DE: DFS-ETSI\n\t(2400 - 2483 @ 40), (N/A, 20), (N/A)\n\n\
                      phy#0 (self-managed)\ncountry US: DFS-FCC\n\t(2402 - 2437 @ 40), (6, 22), (N/A)\n";
        assert_eq!(global(answer).unwrap().to_string(), "DE");
        assert_eq!(global("global\ncountry 00: DFS-UNSET\n"), Some(Domain::WORLD));
        assert_eq!(global("phy#0 (self-managed)\ncountry US: DFS-FCC\n"), None);
        assert_eq!(global(""), None);
    }
}
