//! What the state partition says of a run: that it began, and how it ended if it ended in order.

use std::fmt;
use std::path::Path;

use fleet_base::file::{self, Durability};

/// A boot's identifier: 32 hexadecimal digits (`boot_id` of random(4), `%b` of systemd.unit(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BootId(String);

impl BootId {
    /// The identifier in a text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 32 && text.bytes().all(is_digit)).then(|| Self(text.to_owned()))
    }

    /// As a text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// An orderly end that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Restart through the firmware.
    Reboot,
    /// Off.
    PowerOff,
    /// Stopped, not off.
    Halt,
    /// Another kernel, without the firmware.
    Kexec,
}

impl Request {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Reboot, Self::PowerOff, Self::Halt, Self::Kexec];

    /// As systemd calls it (systemctl(1)); the unit is this with `.target` appended (systemd.special(7)).
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Reboot => "reboot",
            Self::PowerOff => "poweroff",
            Self::Halt => "halt",
            Self::Kexec => "kexec",
        }
    }
}

/// A run that was noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LastRun {
    /// Its boot.
    pub(crate) boot: BootId,
    /// How it ended, if in order.
    pub(crate) end: Option<Request>,
    /// The fault of the network that a reboot was to repair, a reason of `docs/connectivity.md`; empty for every other end.
    pub(crate) fault: String,
}

/// The word for a run without an orderly end.
const RUNNING: &str = "running";
/// The first word: what the rest means.
const VERSION: &str = "1";
/// The longest there is, and more.
const LIMIT: u64 = 128;

impl LastRun {
    /// A run that begins.
    pub(crate) const fn begun(boot: BootId) -> Self {
        Self {
            boot,
            end: None,
            fault: String::new(),
        }
    }

    /// A run that ends in order, to repair this fault of the network if it is not empty.
    pub(crate) const fn ended(boot: BootId, end: Request, fault: String) -> Self {
        Self {
            boot,
            end: Some(end),
            fault,
        }
    }

    /// Writes it, durable when this returns.
    ///
    /// # Errors
    /// [`file::Error::Write`].
    pub(crate) fn write(&self, path: &Path) -> Result<(), file::Error> {
        file::replace(path, self.to_string().as_bytes(), 0o644, Durability::Synced)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.strip_suffix('\n')?.split(' ');
        let (version, boot, end) = (words.next()?, words.next()?, words.next()?);
        let fault = words.next().unwrap_or_default();
        let is_reason = |byte: u8| byte.is_ascii_lowercase() || byte == b'-';
        if version != VERSION || words.next().is_some() || !fault.bytes().all(is_reason) {
            return None;
        }
        let boot = BootId::parse(boot)?;
        if !fault.is_empty() && end != Request::Reboot.as_str() {
            return None;
        }
        if end == RUNNING {
            return Some(Self::begun(boot));
        }
        let request = Request::ALL.into_iter().find(|request| request.as_str() == end)?;
        Some(Self::ended(boot, request, fault.to_owned()))
    }
}

impl fmt::Display for LastRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.end.map_or(RUNNING, Request::as_str);
        write!(f, "{VERSION} {} {end}", self.boot.as_str())?;
        if !self.fault.is_empty() {
            write!(f, " {}", self.fault)?;
        }
        writeln!(f)
    }
}

/// What is there of the last run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// Nothing: this is the first run, or the state was lost.
    Absent,
    /// Something that is no record.
    Unreadable,
    /// A run.
    Run(LastRun),
}

impl Record {
    /// Reads it. Whatever is not exactly a record is [`Record::Unreadable`].
    pub(crate) fn read(path: &Path) -> Self {
        match file::read_no_follow(path, LIMIT) {
            Ok(bytes) => std::str::from_utf8(&bytes)
                .ok()
                .and_then(LastRun::parse)
                .map_or(Self::Unreadable, Self::Run),
            Err(error) if error.is_not_found() => Self::Absent,
            Err(_) => Self::Unreadable,
        }
    }

    /// Whether it is of this boot.
    fn is_of(&self, boot: &BootId) -> bool {
        matches!(self, Self::Run(run) if run.boot == *boot)
    }

    /// What [`Record::read`] reads as this one.
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Absent | Self::Unreadable => Vec::new(),
            Self::Run(run) => run.to_string().into_bytes(),
        }
    }
}

/// Notes at `record` that the run of this boot has begun, and returns what was noted of the one before it.
///
/// First of all in a run, so that a power cut from then on is one of this run. What was noted before is kept in `aside`
/// (in RAM), so that it is all the same where this process is ended in between, or started again later.
///
/// # Errors
/// What was noted before cannot be kept.
pub(crate) fn begin(boot: BootId, record: &Path, aside: &Path) -> Result<Record, file::Error> {
    let mut before = Record::read(record);
    let begun = LastRun::begun(boot);
    if before.is_of(&begun.boot) {
        // A shutdown that was broken off has noted an end; it is none.
        if before == Record::Run(begun.clone()) {
            return Ok(Record::read(aside));
        }
        before = Record::read(aside);
    } else if before == Record::Absent {
        file::remove(aside, Durability::Volatile)?;
    } else {
        file::write(aside, &before.bytes(), 0o644, Durability::Volatile)?;
    }
    if let Err(error) = begun.write(record) {
        log::error!("how this run ends will not be known: {error}");
    }
    Ok(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last-run");
        assert_eq!(Record::read(&path), Record::Absent);
        let id = BootId::parse(ID).unwrap();
        let ends = Request::ALL.map(Some).into_iter().chain([None]);
        let ends = ends.map(|end| (end, ""));
        for (end, fault) in ends.chain([(Some(Request::Reboot), "no-device")]) {
            let run = LastRun {
                boot: id.clone(),
                end,
                fault: fault.to_owned(),
            };
            run.write(&path).unwrap();
            assert!(Record::read(&path).is_of(&id));
            assert_eq!(Record::read(&path), Record::Run(run));
        }
    }

    #[test]
    fn a_run_begins_once_and_remembers_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let (record, aside) = (at("record"), at("aside"));
        let id = |digit: &str| BootId::parse(&digit.repeat(32)).unwrap();
        let begin = |boot: BootId| begin(boot, &record, &aside).unwrap();

        // Started again, or killed in between: the same again.
        for _ in 0..2 {
            assert_eq!(begin(id("1")), Record::Absent);
        }
        for _ in 0..2 {
            assert_eq!(begin(id("2")), Record::Run(LastRun::begun(id("1"))));
        }
        std::fs::write(&record, "torn").unwrap();
        for _ in 0..2 {
            assert_eq!(begin(id("3")), Record::Unreadable);
        }
        // A shutdown that was broken off.
        LastRun::ended(id("3"), Request::Reboot, String::new())
            .write(&record)
            .unwrap();
        for _ in 0..2 {
            assert_eq!(begin(id("3")), Record::Unreadable);
            assert_eq!(Record::read(&record), Record::Run(LastRun::begun(id("3"))));
        }
        // A record that cannot be written costs the next reason, not this one.
        std::fs::remove_file(&record).unwrap();
        std::fs::create_dir(&record).unwrap();
        std::fs::write(record.join("x"), "").unwrap();
        assert_eq!(begin(id("4")), Record::Unreadable);
    }

    #[test]
    fn whatever_else_is_no_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last-run");
        let long = format!("1 {ID} running\n{}", " ".repeat(200));
        for text in [
            String::new(),
            "\n".to_owned(),
            format!("1 {ID} running"),
            format!("1 {ID} runn\n"),
            format!("1 {ID} requested\n"),
            format!("2 {ID} running\n"),
            format!("1 {ID} running more\n"),
            format!("1 {ID} poweroff no-device\n"),
            format!("1 {ID} reboot No device\n"),
            format!("1 {ID} reboot no-device more\n"),
            format!("1  {ID} running\n"),
            format!("1 {} running\n", &ID[1..]),
            format!("1 {} running\n", ID.to_uppercase()),
            format!("1 {ID} running\n1 {ID} running\n"),
            "\0".repeat(50),
            long,
        ] {
            std::fs::write(&path, &text).unwrap();
            assert_eq!(Record::read(&path), Record::Unreadable, "{text:?}");
        }
        std::fs::write(&path, b"1 \xff running\n").unwrap();
        assert_eq!(Record::read(&path), Record::Unreadable);
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert_eq!(Record::read(&path), Record::Unreadable);
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert_eq!(Record::read(&path), Record::Unreadable);
    }
}
