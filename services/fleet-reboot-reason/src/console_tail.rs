//! The kernel's last lines from pstore to the journal, as lines that `journalctl` shows and searches.
//!
//! systemd-pstore puts each piece of them into a field of its own, `FILE=`, which journalctl neither shows nor searches,
//! and clears pstore. It runs after this. The pieces come as credentials (`LoadCredential=`), so that this process needs
//! no capability for files that are root's.

use std::env;
use std::path::Path;

use fleet_base::exit::Exit;
use fleet_base::{file, paths};

use crate::dump::Dump;
use crate::leave_panic;

/// Where systemd puts them (systemd.exec(5)).
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// What comes before a file's name: the name of the credential in the unit.
const PREFIX: &str = "pstore_";
/// The largest piece that is read, and the most pieces: ramoops has some of 128 KiB at most, EFI tens of 1 KiB.
const LARGEST: u64 = 256 * 1024;
const MOST_FILES: usize = 256;
/// What goes into the journal, which may be in the RAM of a small board: so many logs, the newest, and so many lines of
/// each, the last.
const MOST_DUMPS: usize = 4;
const MOST_LINES: usize = 300;

/// Writes them, and what the kernel panicked of, for `begin`.
pub(crate) fn harvest() -> Exit {
    let Some(folder) = env::var_os(CREDENTIALS) else {
        log::error!("there is no {CREDENTIALS}: this is run by fleet-console-tail.service");
        return Exit::Usage;
    };
    let dumps = Dump::all(pieces(Path::new(&folder)));
    let older = dumps.len().saturating_sub(MOST_DUMPS);
    if older > 0 {
        log::warn!("{older} older logs of the kernel in pstore are left out");
    }
    let mut exit = Exit::Done;
    for dump in dumps.iter().skip(older) {
        say(dump);
        if dump.is_panic()
            && let Err(error) = leave_panic(Path::new(paths::RUN_PANIC), dump.word())
        {
            log::error!("{error}");
            exit = Exit::CannotWrite;
        }
    }
    exit
}

fn say(dump: &Dump) {
    let lines = dump.lines.len();
    let left_out = lines.saturating_sub(MOST_LINES);
    log::warn!(
        "the kernel's last lines of an earlier run ({}), {} of {lines}:",
        dump.event,
        lines - left_out
    );
    for line in dump.lines.iter().skip(left_out) {
        log::warn!("{line}");
    }
}

/// The files of pstore, by their names there.
fn pieces(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let names = match file::names(folder) {
        Ok(names) => names,
        Err(error) => {
            log::error!("cannot read {}: {error}", folder.display());
            return Vec::new();
        }
    };
    let mut pieces = Vec::new();
    for name in names.iter().rev().take(MOST_FILES) {
        let Some(own) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else {
            continue;
        };
        match file::read_no_follow(&folder.join(name), LARGEST) {
            Ok(content) => pieces.push((own.to_owned(), content)),
            Err(error) => log::warn!("{error}"),
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_pstore_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, size: usize| {
            std::fs::write(folder.path().join(name), vec![b'x'; size]).unwrap();
        };
        put("pstore_dmesg-ramoops-0", 9);
        put("other", 9);
        put("pstore_dmesg-ramoops-1", 300 * 1024);
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("pstore_dmesg-ramoops-2")).unwrap();
        let pieces = pieces(folder.path());
        assert_eq!(pieces, [("dmesg-ramoops-0".to_owned(), vec![b'x'; 9])]);
    }
}
