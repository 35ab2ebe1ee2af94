//! NetworkManager dispatcher scripts on the boot partition (`dispatcher.d/`), which balenaOS runs.
//!
//! They are programs that run as root, and whoever holds the card in another computer can write them. Nothing from the
//! boot partition is run here; each script is reported, so that it is missed by the person and not by the device.

use std::path::Path;

use fleet_base::file;

use crate::keyfile::is_left_over;
use crate::report::{KeyRow, State};

/// The most scripts that are named; the rest is counted.
const MOST: usize = 32;
const INSTEAD: &str = "not run, because nothing from the boot partition is; a layer of the product installs such a script \
                       (/usr/lib/NetworkManager/dispatcher.d)";

/// A row for each script in this folder; none where there is no such folder, or it cannot be read.
pub(crate) fn rows(folder: &Path) -> Vec<KeyRow> {
    // A link may lead anywhere, and is no folder of scripts.
    if !folder.symlink_metadata().is_ok_and(|found| found.is_dir()) {
        return Vec::new();
    }
    let names = file::names(folder).unwrap_or_default();
    let names = names.iter().map(|name| name.to_string_lossy());
    let scripts: Vec<_> = names.filter(|name| !is_left_over(name)).collect();
    let row = |key, detail| KeyRow {
        key,
        state: State::Unsupported,
        value: String::new(),
        detail,
    };
    let named = scripts.iter().take(MOST);
    let mut rows: Vec<KeyRow> = named
        .map(|name| {
            row(
                format!("dispatcher.d/{}", name.escape_debug()),
                INSTEAD.to_owned(),
            )
        })
        .collect();
    if scripts.len() > MOST {
        let more = scripts.len() - MOST;
        rows.push(row("dispatcher.d".to_owned(), format!("{more} more: {INSTEAD}")));
    }
    rows
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn keys(folder: &Path) -> Vec<String> {
        let rows = rows(folder);
        assert!(
            rows.iter()
                .all(|row| row.state == State::Unsupported && row.detail.contains("not run"))
        );
        rows.into_iter().map(|row| row.key).collect()
    }

    #[test]
    fn names_each_script_whatever_it_is_called() {
        let boot = tempfile::tempdir().unwrap();
        let folder = boot.path().join("dispatcher.d");
        assert_eq!(keys(&folder), [""; 0]);
        fs::create_dir(&folder).unwrap();
        assert_eq!(keys(&folder), [""; 0]);
        let names: [&[u8]; 5] = [
            b"90-up",
            b"\x1b[2Jclear\nline",
            b"not\xffutf8",
            b"README.ignore",
            b".hidden",
        ];
        for name in names {
            fs::write(folder.join(OsStr::from_bytes(name)), "#!/bin/sh\n").unwrap();
        }
        fs::create_dir(folder.join("pre-up.d")).unwrap();
        assert_eq!(
            keys(&folder),
            [
                "dispatcher.d/\\u{1b}[2Jclear\\nline",
                "dispatcher.d/90-up",
                "dispatcher.d/not\u{fffd}utf8",
                "dispatcher.d/pre-up.d",
            ]
        );
    }

    #[test]
    fn follows_no_link_and_has_a_limit() {
        let boot = tempfile::tempdir().unwrap();
        let folder = boot.path().join("dispatcher.d");
        fs::create_dir(&folder).unwrap();
        for number in 0..MOST + 7 {
            fs::write(folder.join(format!("{number:03}")), "").unwrap();
        }
        let last = rows(&folder).pop().unwrap();
        assert_eq!(rows(&folder).len(), MOST + 1);
        assert!(
            last.key == "dispatcher.d" && last.detail.starts_with("7 more: not run"),
            "{last:?}"
        );
        std::os::unix::fs::symlink(&folder, boot.path().join("link")).unwrap();
        assert_eq!(keys(&boot.path().join("link")), [""; 0]);
        assert_eq!(keys(&folder.join("000")), [""; 0], "a file");
    }
}
