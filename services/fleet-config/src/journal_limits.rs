//! The limits of the journal before journald starts.
//!
//! journald is the first service of a boot and reads its configuration once, long before this service can say what it
//! is. So the step before systemd ([`supply`]) renders the drop-in from the stored configuration, and leaves a copy
//! beside it: what journald has read.

use std::fmt;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use fleet_base::file::{self, Durability};

use crate::config::JournalLimits;
use crate::defaults::Defaults;
use crate::journal_settings::JournalSettings;
use crate::render::{File, journal_limits};
use crate::store::Store;

/// The drop-in's name in journald's folder. After 50-fleet.conf of the image, which has what is constant.
const DROP_IN: &str = "60-fleet.conf";
/// What journald has read, below the folder of what is made.
const READ: &str = "journald.read";
/// Far more than a dozen lines.
const MAX_BYTES: u64 = 64 * 1024;

/// What could not be supplied.
#[derive(Debug)]
pub enum Error {
    /// A file could not be written.
    File(file::Error),
    /// A folder or link could not be made.
    Make(PathBuf, io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => error.fmt(f),
            Self::Make(path, error) => write!(f, "cannot make {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(error) => Some(error),
            Self::Make(_, error) => Some(error),
        }
    }
}

impl From<file::Error> for Error {
    fn from(error: file::Error) -> Self {
        Self::File(error)
    }
}

/// Renders the limits of the configuration in `store` into `made` (`/run/fleet/config`), and links them from `journald`
/// (`/run/systemd/journald.conf.d`). A store that is empty, damaged or not there gives the product's, which are in the
/// file `product` and its drop-ins; of those, the service says what is wrong.
///
/// # Errors
/// [`Error`].
pub fn supply(store: &Path, product: &Path, made: &Path, journald: &Path) -> Result<(), Error> {
    let document = Store::at(store.to_owned()).document().ok().flatten();
    let (product, _) = Defaults::load(product);
    let limits = JournalLimits::read(&document.unwrap_or_default());
    let text = journal_limits(&JournalSettings::new(&limits, &product.journal));
    for folder in [made, journald] {
        std::fs::create_dir_all(folder).map_err(|error| Error::Make(folder.to_owned(), error))?;
    }
    let rendered = made.join(File::JournalLimits.path());
    file::write(&rendered, text.as_bytes(), 0o644, Durability::Volatile)?;
    let link = journald.join(DROP_IN);
    file::remove(&link, Durability::Volatile)?;
    symlink(&rendered, &link).map_err(|error| Error::Make(link, error))?;
    // Last: what is not linked is not read.
    note_read(made, &text)?;
    Ok(())
}

/// What journald has read; empty if nothing of ours.
pub(crate) fn read(made: &Path) -> String {
    let bytes = file::read(&made.join(READ), MAX_BYTES).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Notes that journald has read this.
pub(crate) fn note_read(made: &Path, text: &str) -> Result<(), file::Error> {
    file::write(&made.join(READ), text.as_bytes(), 0o644, Durability::Volatile).map(drop)
}

/// Whether two files say the same: comments change from release to release.
pub(crate) fn same(one: &str, other: &str) -> bool {
    settings(one).eq(settings(other))
}

fn settings(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
}

/// The number of a setting, by its name there.
pub(crate) fn number(text: &str, name: &str) -> Option<u64> {
    let (_, number) = settings(text).find(|(listed, _)| *listed == name)?;
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is made of a stored document, and of a product's drop-in.
    fn supplied(stored: &[u8], product: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("store")).unwrap();
        std::fs::write(path("store/config.json"), stored).unwrap();
        std::fs::create_dir(path("fleet.toml.d")).unwrap();
        std::fs::write(path("fleet.toml.d/50-product.toml"), product).unwrap();
        for _ in 0..2 {
            supply(
                &path("store"),
                &path("fleet.toml"),
                &path("run/config"),
                &path("run/journald.conf.d"),
            )
            .unwrap();
        }
        let text = std::fs::read_to_string(path("run/journald.conf.d/60-fleet.conf")).unwrap();
        assert_eq!(read(&path("run/config")), text);
        text
    }

    #[test]
    fn what_is_stored_is_rendered() {
        let text = supplied(
            br#"{"os":{"journal":{"maxUse":"64M","retention":1,"rateLimit":{"burst":0}}}}"#,
            "[journal]\nmax_use = \"32M\"\nsync_interval = 7\n",
        );
        assert!(
            text.ends_with(
                "\n[Journal]\nSystemMaxUse=50266112\nSystemMaxFileSize=8388608\nSystemKeepFree=33554432\n\
                 MaxRetentionSec=0\nMaxFileSec=2592000\nRateLimitIntervalSec=30\nRateLimitBurst=0\n\
                 SyncIntervalSec=7\n\n[X-Fleet]\nMaxUse=67108864\nKeepFree=67108864\nRetention=0\n"
            ),
            "{text}"
        );
        assert_eq!(number(&text, "MaxUse"), Some(64 << 20));
        assert_eq!(number(&text, "SystemMaxUse"), Some((48 << 20) - (64 << 10)));
        assert_eq!(number(&text, "Nothing"), None);
    }

    #[test]
    fn a_damaged_store_gives_the_products_limits() {
        let product = "[journal]\nmax_use = 33554432\n";
        let of_the_product = supplied(b"{}", product);
        assert_eq!(number(&of_the_product, "MaxUse"), Some(32 << 20));
        for damaged in [
            &b""[..],
            b"{",
            b"[]",
            b"\0\xff",
            b"{\"os\":{\"journal\":7}}",
            &[b'['; 100_000],
        ] {
            assert_eq!(supplied(damaged, product), of_the_product);
        }
        // A product's slip gives this release's.
        assert_eq!(
            number(&supplied(b"{}", "[journal]\nmax_use = 7\n"), "MaxUse"),
            Some(128 << 20)
        );
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        supply(&path("none"), &path("none.toml"), &path("run"), &path("journald")).unwrap();
    }

    #[test]
    fn comments_do_not_count() {
        assert!(same(
            "# a\n[Journal]\nSystemMaxUse=1\n",
            "[Journal]\nSystemMaxUse=1\n"
        ));
        assert!(!same("SystemMaxUse=1\n", "SystemMaxUse=2\n"));
        assert!(same("", "# b\n[Journal]\n"));
    }
}
