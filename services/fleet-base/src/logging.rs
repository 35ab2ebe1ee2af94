//! Logs to standard error, as the journal reads them.
//!
//! Each line begins with `<N>`, the syslog priority (sd-daemon(3)), when standard error is the journal; on a
//! terminal it begins with the level's name.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;

use log::Level;

/// Where journald takes records with fields (systemd's "native journal protocol").
const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";

/// Starts logging for this process.
///
/// `FLEET_LOG` sets the level (`debug`, `info`, …; per module as `env_logger` reads it). The default is `info`:
/// one line a change of state.
pub fn init() {
    let journal = to_journal();
    let environment = env_logger::Env::new().filter_or("FLEET_LOG", "info");
    // A second start in one process (tests) keeps the first.
    let _ = env_logger::Builder::from_env(environment)
        .format(move |buffer, record| {
            if journal {
                // One record stays one journal line, whatever a message from outside contains.
                let message = record.args().to_string().replace('\n', " ");
                writeln!(buffer, "<{}>{message}", priority(record.level()))
            } else {
                writeln!(
                    buffer,
                    "{}: {}",
                    record.level().as_str().to_ascii_lowercase(),
                    record.args()
                )
            }
        })
        .try_init();
}

/// Writes one journal record with fields of its own, such as `MESSAGE_ID`.
///
/// On a terminal, or if journald does not take it, it is a log line without the fields. A field's name is upper case
/// (systemd.journal-fields(7)).
pub fn record(level: Level, message: &str, fields: &[(&str, &str)]) {
    if to_journal() {
        match send_record(&encode(level, message, fields)) {
            Ok(()) => return,
            Err(error) => log::debug!("cannot send to {JOURNAL_SOCKET}: {error}"),
        }
    }
    log::log!(level, "{message}");
}

/// Whether standard error is the journal: systemd sets this for such a unit (systemd.exec(5)).
fn to_journal() -> bool {
    std::env::var_os("JOURNAL_STREAM").is_some()
}

/// A record in the native protocol's text form: a line a field.
fn encode(level: Level, message: &str, fields: &[(&str, &str)]) -> String {
    let mut record = format!("PRIORITY={}\n", priority(level));
    for (name, value) in [("MESSAGE", message)].iter().chain(fields) {
        // Writing to a string cannot fail. A line feed would end the field and begin another.
        let _ = writeln!(record, "{name}={}", value.replace('\n', " "));
    }
    record
}

/// Sends without waiting: a journald that hangs must not hang the service.
fn send_record(record: &str) -> io::Result<()> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to(record.as_bytes(), JOURNAL_SOCKET)?;
    Ok(())
}

/// The syslog priority of a level.
const fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_begin_another_field() {
        assert_eq!(
            encode(Level::Warn, "one\ntwo", &[("FLEET_LEVEL", "dns\nPRIORITY=0")]),
            "PRIORITY=4\nMESSAGE=one two\nFLEET_LEVEL=dns PRIORITY=0\n"
        );
    }
}
