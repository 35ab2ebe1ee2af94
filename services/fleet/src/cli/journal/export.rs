//! `fleet journal export`: one compressed file that journalctl reads on another machine, without the device's secrets.
//!
//! Three programs of the system in a row, and our filter between the first two, without a shell: journalctl selects,
//! systemd-journal-remote writes a journal anew of what the filter lets through, zstd compresses it. So no secret is ever in
//! a file that leaves the device.
//!
//! One at a time: an export takes memory, and what a killed one left behind is removed by the next.

mod program;
mod room;
mod target;

use std::ffi::OsString;
use std::fs::File;
use std::future::Future;
use std::io::{self, IsTerminal, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Stdio;
use std::time::{Duration, Instant};

use fleet_base::exit::Exit;
use fleet_base::paths;
use fleet_config::secrets;
use fleet_config::store::Store;
use fleet_journal::export_format::{Counts, Filter};
use fleet_journal::redaction::Redaction;
use serde_json::json;
use tokio::net::unix::pipe;
use tokio::signal::unix::{SignalKind, signal};

use self::program::Program;
use self::room::Room;
use self::target::{Form, Target};
use crate::cli::failure::Failure;
use crate::cli::output;

/// Its place in both Debian and OpenEmbedded: it is not for people, and so in no folder of programs.
const JOURNAL_REMOTE: &str = "/usr/lib/systemd/systemd-journal-remote";
/// Held by the export that runs.
const LOCK: &str = "/run/fleet/export.lock";
/// NetworkManager's profiles that were made on the device (`etc/fstab`).
const PROFILES: &str = "/etc/NetworkManager/system-connections";
/// How much is read at once.
const PIECE: usize = 64 * 1024;
/// How often a person at a terminal is told how far it is, and how often the room that is left is looked at.
const TICK: Duration = Duration::from_millis(500);

/// What is exported, and where to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// As journalctl takes it.
    pub(crate) since: Option<OsString>,
    /// As journalctl takes it.
    pub(crate) until: Option<OsString>,
    /// As journalctl takes it.
    pub(crate) boot: Option<OsString>,
    /// A file, `-` for standard output, or a name that is made of the host's and the time.
    pub(crate) output: Option<OsString>,
    /// Whether a file that is there is replaced.
    pub(crate) force: bool,
    /// Whether secrets are left in.
    pub(crate) no_redact: bool,
}

/// `fleet journal export`.
pub(crate) async fn run(options: &Options, json: bool) -> Result<Exit, Failure> {
    let whole: Pin<Box<dyn Future<Output = Result<Exit, Failure>>>> = Box::pin(export(options, json));
    // Dropping the export ends its programs and removes what it has written.
    tokio::select! {
        done = whole => done,
        interrupted = interruption() => Err(interrupted),
    }
}

/// Waits for Ctrl-C, or a connection that is closed.
async fn interruption() -> Failure {
    let kinds = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ];
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds.map(signal) else {
        return Failure::other("cannot wait for signals");
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Failure::other("interrupted: no file was written")
}

async fn export(options: &Options, json: bool) -> Result<Exit, Failure> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::new(
            Exit::NotAllowed,
            "only root reads the whole journal and knows what is secret in it",
        ));
    }
    let target = Target::of(options, json)?;
    for program in ["journalctl", JOURNAL_REMOTE]
        .into_iter()
        .chain(target.form.program())
    {
        program::find(program)?;
    }
    let redaction = match options.no_redact {
        true => None,
        false => Some(known_secrets()?),
    };
    let _lock = lock(Path::new(LOCK))?;
    let room = match (target.form, target.folder()) {
        (Form::Journal, Some(folder)) => Room::beside(folder)?,
        _ => Room::for_a_journal()?,
    };

    // journal-remote takes no file of another name.
    let journal = room.path().join("export.journal");
    let counts = rewrite(options, redaction.as_ref(), &journal, &room).await?;
    if counts.entries == 0 {
        return Err(Failure::new(
            Exit::NoInput,
            "the journal has no entries of that time and boot; nothing was written",
        ));
    }
    let bytes = match target.form {
        Form::Journal => target.keep(&journal, &room)?,
        Form::Compressed => compress(&journal, &target).await?,
    };
    drop(room);

    let too_short = redaction.as_ref().map_or(0, Redaction::too_short);
    let path = target.path();
    if json {
        return output::json(&json!({
            "path": path.map(|path| path.to_string_lossy()),
            "bytes": bytes,
            "entries": counts.entries,
            "redacted": redaction.is_some(),
            "redacted_fields": counts.redacted,
            "left_out_fields": counts.left_out,
            "secrets_too_short": too_short,
        }));
    }
    let said = sentences(&counts, redaction.is_some(), too_short, bytes, path);
    // People read it; standard output may be the file.
    let _ = io::stderr().write_all(said.as_bytes());
    Ok(Exit::Done)
}

fn sentences(
    counts: &Counts,
    redacted: bool,
    too_short: usize,
    bytes: Option<u64>,
    path: Option<&Path>,
) -> String {
    let mut said = format!("{} entries", counts.entries);
    if let Some(bytes) = bytes {
        said += &format!(", {}", fleet_base::size::bytes(bytes));
    }
    if let Some(path) = path {
        said += &format!(", in {}", path.display());
    }
    said += &match redacted {
        true => format!("; secrets redacted in {} fields.\n", counts.redacted),
        false => "; secrets are not redacted.\n".to_owned(),
    };
    if counts.left_out > 0 {
        said += &format!("{} fields are larger than 1 MiB and left out.\n", counts.left_out);
    }
    if too_short > 0 {
        said += &format!(
            "{too_short} secrets have fewer than {} bytes and were not looked for.\n",
            fleet_journal::redaction::SHORTEST
        );
    }
    let name = path.map_or("FILE.journal.zst".into(), |path| path.to_string_lossy());
    said += &match name.strip_suffix(".zst") {
        Some(journal) => format!("Read it with: zstd -d {name} && journalctl --file {journal}\n"),
        None => format!("Read it with: journalctl --file {name}\n"),
    };
    said
}

/// What is secret here.
fn known_secrets() -> Result<Redaction, Failure> {
    let store = Store::at(PathBuf::from(paths::STATE_CONFIG));
    let secrets = secrets::known(&store, &[Path::new(PROFILES)]).map_err(|error| {
        Failure::new(
            Exit::InvalidData,
            format!(
                "it is not known what is secret on this device: {error}. --no-redact exports the journal with every secret \
                 that was logged."
            ),
        )
    })?;
    Ok(Redaction::of(
        secrets.iter().map(|secret| secret.expose().as_str()),
    ))
}

/// Held until it is dropped.
fn lock(path: &Path) -> Result<File, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(
            Exit::CannotWrite,
            format!("cannot write {}: {error}", path.display()),
        )
    };
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|error| failed(&error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(Failure::new(Exit::TryAgain, "another export is running"))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(failed(&error)),
    }
}

/// journalctl → filter → systemd-journal-remote, which writes `journal`.
async fn rewrite(
    options: &Options,
    redaction: Option<&Redaction>,
    journal: &Path,
    room: &Room,
) -> Result<Counts, Failure> {
    let (from_journal, its_output) = io::pipe().map_err(no_pipe)?;
    let (its_input, to_remote) = io::pipe().map_err(no_pipe)?;
    let mut source = Program::start(
        "journalctl",
        &selection(options),
        Stdio::null(),
        Stdio::from(its_output),
    )?;
    let arguments: [OsString; 3] = ["--output".into(), journal.into(), "-".into()];
    let mut remote = Program::start(JOURNAL_REMOTE, &arguments, Stdio::from(its_input), Stdio::null())?;
    let from_journal = pipe::Receiver::from_owned_fd(OwnedFd::from(from_journal)).map_err(no_pipe)?;
    let to_remote = pipe::Sender::from_owned_fd(OwnedFd::from(to_remote)).map_err(no_pipe)?;
    let mut progress = Progress::new(journal, room);
    let pumped = pump(from_journal, to_remote, Filter::new(redaction), &mut progress);
    let (counts, selected, written) = tokio::join!(pumped, source.end(), remote.end());
    progress.end();

    // Whoever ends first takes the others along, so the last one's reason is asked for first.
    let (written, said) = written?;
    if !written.success() {
        return Err(Failure::new(
            Exit::CannotWrite,
            format!("systemd-journal-remote could not write the journal ({written}): {said}"),
        ));
    }
    let counts = counts?;
    let (selected, complaint) = selected?;
    if !selected.success() {
        // It reads nothing before it has understood what is asked for.
        let exit = match counts.entries {
            0 => Exit::InvalidData,
            _ => Exit::Failure,
        };
        return Err(Failure::new(exit, format!("journalctl: {complaint}")));
    }
    if !complaint.is_empty() {
        eprintln!("journalctl: {complaint}");
    }
    match entries_written(&said) {
        Some(written) if written != counts.entries => Err(Failure::other(format!(
            "systemd-journal-remote took {written} of {} entries: {said}",
            counts.entries
        ))),
        _ => Ok(counts),
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn no_pipe(error: io::Error) -> Failure {
    Failure::other(format!("cannot connect the programs: {error}"))
}

/// journalctl's arguments. Values are joined to their options, so that none is taken for another option.
fn selection(options: &Options) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = ["--output=export", "--quiet", "--no-pager"]
        .map(Into::into)
        .into();
    for (option, value) in [
        ("--since=", &options.since),
        ("--until=", &options.until),
        ("--boot=", &options.boot),
    ] {
        if let Some(value) = value {
            let mut argument = OsString::from(option);
            argument.push(value);
            arguments.push(argument);
        }
    }
    arguments
}

/// What systemd-journal-remote says at its end: "Finishing after writing 5 entries".
fn entries_written(said: &str) -> Option<u64> {
    let (_, rest) = said.split_once("Finishing after writing ")?;
    rest.split(' ').next()?.parse().ok()
}

/// Reads to the end, and writes what the filter lets through. A reader that went away says why by itself.
async fn pump(
    source: pipe::Receiver,
    sink: pipe::Sender,
    mut filter: Filter<'_>,
    progress: &mut Progress<'_>,
) -> Result<Counts, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::other(format!("cannot read the journal: {error}"));
    let mut piece = vec![0; PIECE];
    let mut out = Vec::with_capacity(PIECE);
    loop {
        source.readable().await.map_err(|error| failed(&error))?;
        match source.try_read(&mut piece) {
            Ok(0) => {
                let counts = filter.finish(&mut out).map_err(|error| failed(&error))?;
                write_all(&sink, &out).await;
                return Ok(counts);
            }
            Ok(length) => {
                let pushed = filter.push(&piece[..length], &mut out);
                pushed.map_err(|error| failed(&error))?;
                if !write_all(&sink, &out).await {
                    return Ok(filter.counts());
                }
                out.clear();
                progress.show(filter.counts())?;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(failed(&error)),
        }
    }
}

/// Whether somebody was there to read it.
async fn write_all(sink: &pipe::Sender, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        if sink.writable().await.is_err() {
            return false;
        }
        match sink.try_write(bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
    }
    true
}

/// How far it is, for a person at a terminal; and whether there is still room.
struct Progress<'r> {
    journal: &'r Path,
    room: &'r Room,
    next: Instant,
    is_shown: bool,
}

impl<'r> Progress<'r> {
    fn new(journal: &'r Path, room: &'r Room) -> Self {
        Self {
            journal,
            room,
            next: Instant::now() + TICK,
            is_shown: false,
        }
    }

    fn show(&mut self, counts: Counts) -> Result<(), Failure> {
        if Instant::now() < self.next {
            return Ok(());
        }
        self.next = Instant::now() + TICK;
        self.room.still_has_room(self.journal)?;
        if io::stderr().is_terminal() {
            self.is_shown = true;
            eprint!("\r{} entries", counts.entries);
        }
        Ok(())
    }

    fn end(&mut self) {
        if self.is_shown {
            // ECMA-48, "erase in line".
            eprint!("\r\x1b[K");
        }
    }
}

/// zstd. Returns how many bytes came out; not known on standard output.
async fn compress(journal: &Path, target: &Target) -> Result<Option<u64>, Failure> {
    let input = File::open(journal)
        .map_err(|error| Failure::other(format!("cannot read {}: {error}", journal.display())))?;
    let room = target.folder().map(Room::beside).transpose()?;
    let compressed = room.as_ref().map(|room| room.path().join("export.zst"));
    let output = match &compressed {
        None => Stdio::inherit(),
        Some(path) => {
            Stdio::from(File::create_new(path).map_err(|error| target::cannot_write(path, &error))?)
        }
    };
    // One thread: each more takes memory for a window of its own.
    let arguments = ["--quiet", "--stdout", "-T1"].map(OsString::from);
    let mut zstd = Program::start("zstd", &arguments, Stdio::from(input), output)?;
    let (status, said) = zstd.end().await?;
    if !status.success() {
        return Err(Failure::new(
            Exit::CannotWrite,
            format!("zstd could not write ({status}): {said}"),
        ));
    }
    match (&room, &compressed) {
        (Some(room), Some(compressed)) => target.keep(compressed, room),
        _ => Ok(None),
    }
}

impl Target {
    /// Gives the finished file its name. Returns its size.
    fn keep(&self, finished: &Path, _written_in: &Room) -> Result<Option<u64>, Failure> {
        let Some(path) = self.path() else { return Ok(None) };
        let size = File::open(finished).and_then(|file| {
            file.set_permissions(PermissionsExt::from_mode(0o600))?;
            file.sync_all()?;
            file.metadata().map(|metadata| metadata.len())
        });
        let size = size.map_err(|error| target::cannot_write(path, &error))?;
        self.name(finished, path)?;
        Ok(Some(size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_with_their_options() {
        let options = Options {
            since: Some("-1h".into()),
            boot: Some("--vacuum-size=1".into()),
            ..Options::default()
        };
        assert_eq!(
            selection(&options)[3..],
            ["--since=-1h", "--boot=--vacuum-size=1"].map(OsString::from)
        );
    }

    #[test]
    fn reads_what_journal_remote_says() {
        assert_eq!(entries_written("Finishing after writing 5 entries"), Some(5));
        assert_eq!(
            entries_written("Entry is invalid, ignoring. Finishing after writing 17 entries"),
            Some(17)
        );
        assert_eq!(entries_written("something else"), None);
    }

    #[test]
    fn says_how_to_read_it() {
        let counts = Counts {
            entries: 3,
            redacted: 2,
            left_out: 1,
        };
        let said = sentences(
            &counts,
            true,
            1,
            Some(2048),
            Some(Path::new("/data/a.journal.zst")),
        );
        assert_eq!(
            said,
            "3 entries, 2.0 KiB, in /data/a.journal.zst; secrets redacted in 2 fields.\n\
             1 fields are larger than 1 MiB and left out.\n\
             1 secrets have fewer than 4 bytes and were not looked for.\n\
             Read it with: zstd -d /data/a.journal.zst && journalctl --file /data/a.journal\n"
        );
        let said = sentences(&counts, false, 0, None, None);
        assert!(
            said.starts_with("3 entries; secrets are not redacted.\n"),
            "{said}"
        );
    }

    #[test]
    fn one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = lock(&path).unwrap();
        assert_eq!(lock(&path).unwrap_err().exit(), Exit::TryAgain);
        drop(held);
        lock(&path).unwrap();
    }
}
