//! How far the journal has been uploaded, kept over a reboot.
//!
//! systemd-journal-upload writes its cursor after every upload, which is as often as something is logged: on flash that is a
//! write a log line. So its file is in RAM, and this keeps a copy on the state partition: at every stop, and every fifteen
//! minutes (fleet-upload-cursor.timer) if it moved. What that costs is known: after a power cut up to fifteen minutes of
//! entries are uploaded again. None is left out.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use fleet_base::exit::Exit;
use fleet_base::file::{self, Durability};
use fleet_base::{logging, paths};

/// Where systemd-journal-upload has it (the unit's drop-in).
const RUN: &str = "/run/fleet-journal-upload/state";
/// A cursor has some 200 characters.
const MAX: u64 = 4096;
const NAME: &str = "LAST_CURSOR=";

/// What cannot be kept.
#[derive(Debug)]
enum Error {
    File(file::Error),
    /// It has no cursor in it: torn, or of another release.
    NoCursor(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::NoCursor(what) => write!(f, "there is no cursor in {what}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<file::Error> for Error {
    fn from(error: file::Error) -> Self {
        Self::File(error)
    }
}

/// `save`, or `restore` before the upload starts.
#[must_use]
pub fn main(arguments: &[OsString]) -> Exit {
    logging::init();
    let (run, kept) = (Path::new(RUN), Path::new(paths::UPLOAD_CURSOR));
    let done = match arguments {
        [word] if word == "save" => save(run, kept),
        [word] if word == "restore" => restore(run, kept),
        _ => {
            log::error!("save or restore is expected");
            return Exit::Usage;
        }
    };
    match done {
        Ok(()) => Exit::Done,
        Err(error) => {
            log::warn!("how far the journal is uploaded is not kept: {error}");
            Exit::Failure
        }
    }
}

/// Not written if it has not moved.
fn save(run: &Path, kept: &Path) -> Result<(), Error> {
    match read(run, "the state of systemd-journal-upload") {
        Ok(cursor) => Ok(file::write(kept, cursor.as_bytes(), 0o644, Durability::Synced).map(drop)?),
        // Nothing was uploaded yet.
        Err(Error::File(error)) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Only at the first start of a boot: what is in RAM is newer. One that is broken would keep the upload from starting.
fn restore(run: &Path, kept: &Path) -> Result<(), Error> {
    if read(run, "").is_ok() {
        return Ok(());
    }
    match read(kept, "what was kept") {
        Ok(cursor) => Ok(file::write(run, cursor.as_bytes(), 0o644, Durability::Volatile).map(drop)?),
        Err(Error::File(error)) if error.is_not_found() => Ok(()),
        Err(error) => {
            log::warn!("{error}: the whole journal is uploaded");
            Ok(file::remove(run, Durability::Volatile).map(drop)?)
        }
    }
}

/// The file's one line that counts, if it is whole.
fn read(path: &Path, what: &'static str) -> Result<String, Error> {
    let bytes = file::read(path, MAX)?;
    let text = String::from_utf8_lossy(&bytes);
    // sd_journal_get_cursor(3): letters, digits and what joins them.
    let is_cursor = |cursor: &str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"=;".contains(&byte);
        cursor.starts_with("s=") && cursor.contains(";x=") && cursor.bytes().all(known)
    };
    let line = text.split_inclusive('\n').find(|line| {
        line.strip_prefix(NAME)
            .is_some_and(|rest| rest.strip_suffix('\n').is_some_and(is_cursor))
    });
    line.map(str::to_owned).ok_or(Error::NoCursor(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: &str = "# This is private data. Do not parse.\nLAST_CURSOR=s=1a;i=5;b=2b;m=3;t=4;x=5c\n";

    #[test]
    fn is_kept_and_comes_back_once_a_boot() {
        let folder = tempfile::tempdir().unwrap();
        let (run, kept) = (folder.path().join("run"), folder.path().join("kept"));
        save(&run, &kept).unwrap();
        restore(&run, &kept).unwrap();
        assert!(!run.exists() && !kept.exists());
        std::fs::write(&run, STATE).unwrap();
        save(&run, &kept).unwrap();
        std::fs::remove_file(&run).unwrap();
        restore(&run, &kept).unwrap();
        assert_eq!(std::fs::read_to_string(&run).unwrap(), STATE[38..]);
        let newer = STATE.replace("i=5", "i=6");
        std::fs::write(&run, &newer).unwrap();
        restore(&run, &kept).unwrap();
        assert_eq!(std::fs::read_to_string(&run).unwrap(), newer);
    }

    #[test]
    fn a_broken_one_neither_replaces_a_good_one_nor_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let (run, kept) = (folder.path().join("run"), folder.path().join("kept"));
        for broken in [
            "",
            "LAST_CURSOR=s=1a;i=5",
            "LAST_CURSOR=",
            "\0\0\0",
            "LAST_CURSOR=s=1;x=$(id)\n",
        ] {
            std::fs::write(&kept, STATE).unwrap();
            std::fs::write(&run, broken).unwrap();
            assert!(save(&run, &kept).is_err());
            assert_eq!(std::fs::read_to_string(&kept).unwrap(), STATE);
            std::fs::write(&kept, broken).unwrap();
            restore(&run, &kept).unwrap();
            assert!(!run.exists(), "{broken:?}");
        }
    }
}
