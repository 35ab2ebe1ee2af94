//! chronyd, asked over its control socket.
//!
//! The two questions of ours in the protocol that chronyc speaks, without chronyc: to start and load that program is a third
//! of all that applying a whole configuration costs, and it makes its end of the socket in a folder that chronyd's user
//! may write, where root had better not. The one crate that speaks it, chrony-candm, is under the GPL 2 only.
//!
//! chronyd's own description of the protocol is `candm.h` in its source: datagrams of fixed layouts, numbers in network
//! byte order; version 6 since 2014, with these commands since chrony 4.0 (2020). A chronyd that speaks another one says
//! so, and nothing else is read from its answer.

use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::UnixDatagram;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::pending::Pending;

/// chronyd's socket (chrony.conf(5), "bindcmdaddress").
pub const CONTROL_SOCKET: &str = "/run/chrony/chronyd.sock";

/// How long all questions together may take: chronyd answers from memory.
const LIMIT: Duration = Duration::from_secs(5);

/// The version that is spoken here.
const VERSION: u8 = 6;
/// Kinds of datagrams.
const REQUEST: u8 = 1;
const REPLY: u8 = 2;
/// What precedes the data. A request is filled up to the length of its reply.
const REQUEST_HEADER: usize = 20;
const REPLY_HEADER: usize = 28;
/// Statuses of a reply.
const SUCCESS: u16 = 0;
const NO_SUCH_SOURCE: u16 = 4;

/// An address as chronyd sends it, only ever sent back.
const ADDRESS: usize = 20;
/// Where the mode of a source is in its data, and the mode of a reference clock, which has no name.
const MODE: usize = ADDRESS + 6;
const REFERENCE_CLOCK: u16 = 2;

/// Far more sources than anybody configures.
const MOST_SOURCES: u32 = 256;
/// How often a list with a moved source is read again. Each name of a list is resolved once, so the second is good.
const READINGS_AGAIN: usize = 5;

/// One connection at a time, because its end has one place.
static TURN: Mutex<()> = Mutex::const_new(());

/// A question: its number, and number and bytes of the reply's data.
struct Command {
    number: u16,
    reply: u16,
    length: usize,
}

const RELOAD_SOURCES: Command = Command {
    number: 70,
    reply: 1,
    length: 0,
};
const SOURCE_COUNT: Command = Command {
    number: 14,
    reply: 2,
    length: 4,
};
const SOURCE_DATA: Command = Command {
    number: 15,
    reply: 3,
    length: ADDRESS + 28,
};
const SOURCE_NAME: Command = Command {
    number: 65,
    reply: 19,
    length: 256,
};

/// Why chronyd did not do or say what it was asked for.
#[derive(Debug)]
pub enum Error {
    /// There is no way to it.
    Unreachable(PathBuf, io::Error),
    /// Our end of the socket cannot be made.
    Socket(PathBuf, io::Error),
    /// It did not answer in time.
    TimedOut,
    /// It speaks this version of the protocol.
    Version(u8),
    /// It refused this command, with this status.
    Refused(u16, u16),
    /// Its answer to this command is none.
    Malformed(u16),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(path, error) => {
                write!(f, "cannot reach chronyd at {}: {error}", path.display())
            }
            Self::Socket(path, error) => write!(f, "cannot make the socket {}: {error}", path.display()),
            Self::TimedOut => write!(f, "chronyd did not answer within {} s", LIMIT.as_secs()),
            Self::Version(version) => write!(
                f,
                "chronyd speaks version {version} of its protocol, {VERSION} was expected"
            ),
            Self::Refused(command, status) => {
                write!(f, "chronyd refused command {command} with status {status}")
            }
            Self::Malformed(command) => write!(f, "chronyd's answer to command {command} is malformed"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreachable(_, error) | Self::Socket(_, error) => Some(error),
            Self::TimedOut | Self::Version(_) | Self::Refused(..) | Self::Malformed(_) => None,
        }
    }
}

/// Makes chronyd read its source files again. Returns the names of the sources that it has then, as they were written,
/// each once.
///
/// `own` is where our end of the socket is while this runs. Only root may be able to write to its folder: everybody may
/// send to the socket until it is connected, and it is chronyd's user who has to reach it.
///
/// # Errors
/// See [`Error`].
#[inline(never)]
pub fn reload_sources<'a>(control: &'a Path, own: &'a Path) -> Pending<'a, Result<Vec<String>, Error>> {
    Box::pin(async move {
        // Not within the limit: whoever has it is done in time.
        let _turn = TURN.lock().await;
        let asked = async {
            let mut chronyd = Chronyd::connect(control, own)?;
            chronyd.ask(&RELOAD_SOURCES, &[]).await?;
            let mut sources = chronyd.sources().await?;
            for _ in 0..READINGS_AGAIN {
                if sources.settled {
                    break;
                }
                sources = chronyd.sources().await?;
            }
            Ok(sources.names)
        };
        timeout(LIMIT, asked).await.unwrap_or(Err(Error::TimedOut))
    })
}

/// What chronyd takes the time from.
struct Sources {
    /// Of a pool once, however many of its servers are in use.
    names: Vec<String>,
    /// None of them was taken for another address between two questions. A server's name was resolved just then, if so.
    settled: bool,
}

/// A connection. Our end of the socket goes with it.
struct Chronyd<'a> {
    control: &'a Path,
    own: &'a Path,
    socket: UnixDatagram,
    sequence: u32,
}

impl<'a> Chronyd<'a> {
    /// Must be called inside a tokio runtime.
    fn connect(control: &'a Path, own: &'a Path) -> Result<Self, Error> {
        let failed = |error| Error::Socket(own.to_owned(), error);
        match std::fs::remove_file(own) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let chronyd = Self {
            control,
            own,
            socket: UnixDatagram::bind(own).map_err(failed)?,
            sequence: 0,
        };
        // From here on nobody else's datagrams are taken (unix(7)).
        chronyd
            .socket
            .connect(control)
            .map_err(|error| Error::Unreachable(control.to_owned(), error))?;
        // chronyd answers as a user of its own.
        std::fs::set_permissions(own, PermissionsExt::from_mode(0o666)).map_err(failed)?;
        Ok(chronyd)
    }

    /// Asks, and returns the reply's data; `None` if there is no such source.
    async fn ask(&mut self, command: &Command, data: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let unreachable = |error| Error::Unreachable(self.control.to_owned(), error);
        self.sequence = self.sequence.wrapping_add(1);
        let mut request = Vec::with_capacity(REPLY_HEADER + command.length);
        request.extend([VERSION, REQUEST, 0, 0]);
        request.extend(command.number.to_be_bytes());
        request.extend([0; 2]);
        request.extend(self.sequence.to_be_bytes());
        request.resize(REQUEST_HEADER, 0);
        request.extend(data);
        request.resize(request.len().max(REPLY_HEADER + command.length), 0);
        self.socket.send(&request).await.map_err(unreachable)?;
        // The answer takes the request's place, and is as long; a longer one is none.
        request.push(0);
        let length = self.socket.recv(&mut request).await.map_err(unreachable)?;
        request.truncate(length);
        let header = Header::parse(&request).ok_or(Error::Malformed(command.number))?;
        if header.version != VERSION {
            return Err(Error::Version(header.version));
        }
        if header.command != command.number || header.sequence != self.sequence {
            return Err(Error::Malformed(command.number));
        }
        match header.status {
            SUCCESS if header.reply == command.reply && length == REPLY_HEADER + command.length => {
                Ok(Some(request.split_off(REPLY_HEADER)))
            }
            SUCCESS => Err(Error::Malformed(command.number)),
            NO_SUCH_SOURCE => Ok(None),
            status => Err(Error::Refused(command.number, status)),
        }
    }

    async fn sources(&mut self) -> Result<Sources, Error> {
        let mut sources = Sources {
            names: Vec::new(),
            settled: true,
        };
        let count = self.ask(&SOURCE_COUNT, &[]).await?;
        let count = count.as_deref().and_then(|count| number(count, 0));
        let count = count.ok_or(Error::Malformed(SOURCE_COUNT.number))?;
        for index in 0..u32::from_be_bytes(count).min(MOST_SOURCES) {
            let source = self.ask(&SOURCE_DATA, &index.to_be_bytes()).await?;
            let mode = source.as_deref().and_then(|source| number(source, MODE));
            if mode.map(u16::from_be_bytes) == Some(REFERENCE_CLOCK) {
                continue;
            }
            let name = match source.as_deref().and_then(|source| source.get(..ADDRESS)) {
                Some(address) => self.ask(&SOURCE_NAME, address).await?,
                None => None,
            };
            let Some(name) = name else {
                sources.settled = false;
                continue;
            };
            let name = text(&name).ok_or(Error::Malformed(SOURCE_NAME.number))?;
            if sources.names.iter().all(|known| known != name) {
                sources.names.push(name.to_owned());
            }
        }
        Ok(sources)
    }
}

impl Drop for Chronyd<'_> {
    fn drop(&mut self) {
        // The next one removes it before it makes its own.
        let _ = std::fs::remove_file(self.own);
    }
}

/// What precedes a reply's data.
struct Header {
    version: u8,
    command: u16,
    reply: u16,
    status: u16,
    sequence: u32,
}

impl Header {
    /// `None` if this is no reply.
    fn parse(reply: &[u8]) -> Option<Self> {
        let [version, kind] = number(reply, 0)?;
        // What follows are fields of no use, up to where the data begin.
        (kind == REPLY && reply.len() >= REPLY_HEADER).then_some(())?;
        Some(Self {
            version,
            command: u16::from_be_bytes(number(reply, 4)?),
            reply: u16::from_be_bytes(number(reply, 6)?),
            status: u16::from_be_bytes(number(reply, 8)?),
            sequence: u32::from_be_bytes(number(reply, 16)?),
        })
    }
}

/// The bytes of a number at this place.
fn number<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    data.get(at..)?.first_chunk().copied()
}

/// A name: printable, up to the first zero.
fn text(data: &[u8]) -> Option<&str> {
    let end = data.iter().position(|byte| *byte == 0)?;
    let name = data.get(..end)?;
    let printable = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    printable.then(|| std::str::from_utf8(name).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram as Socket;

    use super::*;

    /// A chronyd of these sources, as mode and name; what it answers passes through `spoil`, with its number from 0 on.
    /// Real ones are asked in the tests of the booted image (`tools/testbed/tests/config.rs`).
    fn answer(control: Socket, sources: &[(u8, Option<&str>)], spoil: impl Fn(usize, &mut Vec<u8>)) -> usize {
        let mut asked = 0;
        let mut request = [0; 512];
        control
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        while let Ok((length, from)) = control.recv_from(&mut request) {
            let (command, data) = (request[5], &request[REQUEST_HEADER..]);
            let index = u32::from_be_bytes(*data.first_chunk().unwrap()) as usize;
            let (reply, status, data) = match command {
                70 => (1, 0, Vec::new()),
                14 => (2, 0, vec![0, 0, 0, u8::try_from(sources.len()).unwrap()]),
                15 => {
                    // The index stands for the address.
                    let mut source = vec![0; ADDRESS + 28];
                    source[..4].copy_from_slice(&data[..4]);
                    source[MODE + 1] = sources[index].0;
                    (3, 0, source)
                }
                65 => match sources[index].1 {
                    Some(name) => {
                        let mut name = name.as_bytes().to_vec();
                        name.resize(256, 0);
                        (19, 0, name)
                    }
                    None => (1, 4, Vec::new()),
                },
                other => panic!("command {other}"),
            };
            let mut answer = vec![6, 2, 0, 0, 0, command, 0, reply, 0, status];
            answer.resize(16, 0);
            answer.extend(&request[8..12]);
            answer.resize(REPLY_HEADER, 0);
            answer.extend(data);
            assert!(length >= answer.len(), "a request is as long as its reply");
            spoil(asked, &mut answer);
            asked += 1;
            if !answer.is_empty() {
                control.send_to(&answer, from.as_pathname().unwrap()).unwrap();
            }
        }
        asked
    }

    fn asked(
        sources: &[(u8, Option<&str>)],
        spoil: impl Fn(usize, &mut Vec<u8>) + Send,
    ) -> (Result<Vec<String>, Error>, usize) {
        let folder = tempfile::tempdir().unwrap();
        let (control, own) = (folder.path().join("chronyd"), folder.path().join("own"));
        // Left by one that was killed.
        drop(Socket::bind(&own).unwrap());
        let socket = Socket::bind(&control).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        std::thread::scope(|scope| {
            let chronyd = scope.spawn(|| answer(socket, sources, spoil));
            let names = runtime.block_on(reload_sources(&control, &own));
            assert!(!own.exists(), "our end goes with the connection");
            (names, chronyd.join().unwrap())
        })
    }

    #[test]
    fn each_name_once_and_no_clock() {
        let sources = [
            (0, Some("192.0.2.7")),
            (0, Some("pool.ntp.org")),
            (2, None),
            (0, Some("pool.ntp.org")),
        ];
        let (names, asked) = asked(&sources, |_, _| {});
        assert_eq!(names.unwrap(), ["192.0.2.7", "pool.ntp.org"]);
        assert_eq!(asked, 1 + 1 + 4 + 3);
    }

    #[test]
    fn none_at_all() {
        assert_eq!(asked(&[], |_, _| {}).0.unwrap(), [""; 0]);
    }

    #[test]
    fn reads_again_what_moved_but_not_for_ever() {
        let sources = [(0, Some("a.example")), (0, None)];
        let (names, asked) = asked(&sources, |_, _| {});
        assert_eq!(names.unwrap(), ["a.example"]);
        assert_eq!(asked, 1 + 6 * (1 + 2 + 2));
    }

    #[test]
    fn an_answer_that_is_none_is_refused() {
        let sources = [(0, Some("a.example"))];
        type Spoil = fn(usize, &mut Vec<u8>);
        let cases: [(&str, Spoil); 10] = [
            ("speaks version 7", |_, answer| answer[0] = 7),
            ("refused command 70 with status 2", |_, answer| answer[9] = 2),
            ("to command 70 is malformed", |_, answer| answer[1] = 1),
            ("to command 70 is malformed", |_, answer| answer[5] = 1),
            ("to command 70 is malformed", |_, answer| answer[7] = 2),
            ("to command 70 is malformed", |_, answer| answer[19] ^= 1),
            ("to command 70 is malformed", |_, answer| answer.truncate(27)),
            ("to command 70 is malformed", |_, answer| answer.push(0)),
            ("to command 14 is malformed", |number, answer| {
                if number == 1 {
                    answer.truncate(31);
                }
            }),
            ("to command 65 is malformed", |number, answer| {
                if number == 3 {
                    answer[REPLY_HEADER] = b' ';
                }
            }),
        ];
        for (word, spoil) in cases {
            let error = asked(&sources, spoil).0.unwrap_err().to_string();
            assert!(error.contains(word), "{error}: {word}");
        }
    }

    #[test]
    fn a_name_is_printable() {
        assert_eq!(text(b"a.example\0rest"), Some("a.example"));
        for bad in [&b"\0"[..], b"no end", b"a b\0", b"\xff\0", b"a\x1b[2J\0"] {
            assert_eq!(text(bad), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_there_and_nobody_who_answers() {
        let folder = tempfile::tempdir().unwrap();
        let (control, own) = (folder.path().join("chronyd"), folder.path().join("own"));
        let error = reload_sources(&control, &own).await.unwrap_err();
        assert!(matches!(error, Error::Unreachable(..)), "{error}");
        assert!(!own.exists());
        let _silent = Socket::bind(&control).unwrap();
        let error = reload_sources(&control, &own).await.unwrap_err();
        assert!(matches!(error, Error::TimedOut), "{error}");
        let error = reload_sources(&control, Path::new("/does/not/exist"))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Socket(..)), "{error}");
    }
}
