//! The keyfiles of the boot partition, where NetworkManager reads them as the ones that everything else shadows.
//!
//! Of its three folders it prefers `/run`, then `/etc`, then `/usr/lib`: in the last one a profile holds until it is
//! edited on the device, and the edit, which NetworkManager writes to `/etc`, outlives a reboot. On the read-only root
//! that folder is a bind mount of one in `/run` (etc/fstab).
//!
//! NetworkManager takes a keyfile only if it belongs to root and nobody else may read it
//! (nm-settings-keyfile(5)), which FAT cannot say; so they are copied here. Ours are told by their prefix, and only
//! ours are ever removed.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::fs::{DirBuilder, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use fleet_base::file::{self, Durability};

use crate::argument::ProfileSet;

/// The folder, as NetworkManager names it.
pub(crate) const FOLDER: &str = "/usr/lib/NetworkManager/system-connections";

const PREFIX: &str = "fleet-boot-";
const SUFFIX: &str = ".nmconnection";
const MODE: u32 = 0o600;

/// Which file could not be put in place.
#[derive(Debug)]
pub(crate) enum Error {
    /// The folder could not be made or read.
    Folder(PathBuf, io::Error),
    /// A keyfile could not be written or removed.
    File(file::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path, error) => write!(f, "cannot use {}: {error}", path.display()),
            Self::File(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Folder(_, error) => Some(error),
            Self::File(error) => Some(error),
        }
    }
}

impl From<file::Error> for Error {
    fn from(error: file::Error) -> Self {
        Self::File(error)
    }
}

/// What a replacement did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Replaced {
    /// The path of each profile, in the order of the set; empty for one that was as wanted already.
    pub(crate) paths: Vec<String>,
    /// How many files were removed.
    pub(crate) removed: usize,
}

/// Makes the keyfiles of ours in `folder` exactly those of `profiles`. Files of others are not touched.
///
/// # Errors
/// See [`Error`]. What was done before the failing file stays done; the call may be repeated.
pub(crate) fn replace(folder: &Path, profiles: &ProfileSet) -> Result<Replaced, Error> {
    let in_folder = |error| Error::Folder(folder.to_owned(), error);
    make_folder(folder).map_err(in_folder)?;
    let mut wanted = HashSet::new();
    let mut paths = Vec::new();
    for (name, keyfile) in profiles.iter() {
        let file_name = format!("{PREFIX}{}{SUFFIX}", name.as_str());
        let path = folder.join(&file_name);
        discard_unless_ours(&path)?;
        let changed = file::write(&path, keyfile, MODE, Durability::Volatile)?;
        paths.push(if changed {
            path.to_string_lossy().into_owned()
        } else {
            String::new()
        });
        wanted.insert(OsString::from(file_name));
    }
    let mut removed = 0;
    for entry in std::fs::read_dir(folder).map_err(in_folder)? {
        let name = entry.map_err(in_folder)?.file_name();
        // The prefix also covers what an interrupted write left.
        let ours = name.as_encoded_bytes().starts_with(PREFIX.as_bytes());
        if ours && !wanted.contains(&name) && file::remove(&folder.join(&name), Durability::Volatile)? {
            removed += 1;
        }
    }
    Ok(Replaced { paths, removed })
}

/// Makes the folder for root alone, unless it is there; a link in its place is an error.
fn make_folder(folder: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(folder) {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => return Err(io::Error::other("it is not a folder")),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) => {}
    }
    if let Some(parent) = folder.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
    }
    DirBuilder::new().mode(0o700).create(folder)
}

/// Removes what is at `path` if it is a link, has other permissions, or belongs to somebody else, so that it is
/// neither followed nor taken for unchanged.
fn discard_unless_ours(path: &Path) -> Result<(), Error> {
    let ours = |metadata: &Metadata| {
        metadata.is_file()
            && metadata.mode() & 0o7777 == MODE
            && metadata.uid() == nix::unistd::geteuid().as_raw()
    };
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if !ours(&metadata) => {
            file::remove(path, Durability::Volatile)?;
            Ok(())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn set(profiles: &[(&str, &str)]) -> ProfileSet {
        let profiles: Vec<_> = profiles
            .iter()
            .map(|(name, keyfile)| ((*name).to_owned(), keyfile.as_bytes().to_vec()))
            .collect();
        ProfileSet::try_from(profiles).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn makes_the_set_exact_and_leaves_others_alone() {
        let run = tempfile::tempdir().unwrap();
        let folder = run.path().join("NetworkManager/system-connections");
        let path = |name: &str| folder.join(name).to_string_lossy().into_owned();

        let first = replace(&folder, &set(&[("home", "a"), ("Wired 1", "b")])).unwrap();
        let expected = vec![
            path("fleet-boot-home.nmconnection"),
            path("fleet-boot-Wired 1.nmconnection"),
        ];
        assert_eq!((first.paths, first.removed), (expected, 0));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(mode(&folder.join("fleet-boot-home.nmconnection")), 0o600);

        std::fs::write(folder.join("made-here.nmconnection"), "x").unwrap();
        std::fs::write(folder.join("fleet-boot-home.nmconnection.new"), "left over").unwrap();
        let second = replace(&folder, &set(&[("home", "a"), ("office", "c")])).unwrap();
        let expected = vec![String::new(), path("fleet-boot-office.nmconnection")];
        assert_eq!((second.paths, second.removed), (expected, 2));
        assert_eq!(
            names(&folder),
            [
                "fleet-boot-home.nmconnection",
                "fleet-boot-office.nmconnection",
                "made-here.nmconnection"
            ]
        );

        assert_eq!(replace(&folder, &set(&[])).unwrap().removed, 2);
        assert_eq!(names(&folder), ["made-here.nmconnection"]);
    }

    #[test]
    fn a_file_that_others_may_read_is_written_again() {
        let folder = tempfile::tempdir().unwrap();
        replace(folder.path(), &set(&[("home", "a")])).unwrap();
        let path = folder.path().join("fleet-boot-home.nmconnection");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        let again = replace(folder.path(), &set(&[("home", "a")])).unwrap();
        assert_eq!(again.paths, [path.to_str().unwrap()]);
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn follows_no_link() {
        let run = tempfile::tempdir().unwrap();
        let victim = run.path().join("victim");
        std::fs::write(&victim, "a").unwrap();
        std::fs::set_permissions(&victim, PermissionsExt::from_mode(0o600)).unwrap();
        let folder = run.path().join("folder");
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("fleet-boot-home.nmconnection");

        symlink(&victim, &path).unwrap();
        assert_eq!(replace(&folder, &set(&[("home", "a")])).unwrap().paths.len(), 1);
        assert!(
            std::fs::symlink_metadata(&path).unwrap().is_file(),
            "the link is replaced"
        );
        assert_eq!(std::fs::read(&victim).unwrap(), b"a");

        std::fs::remove_file(&path).unwrap();
        symlink(&victim, &path).unwrap();
        replace(&folder, &set(&[])).unwrap();
        assert!(
            victim.exists() && !path.exists(),
            "the link is removed, not its target"
        );

        let link = run.path().join("link");
        symlink(&folder, &link).unwrap();
        assert!(
            replace(&link, &set(&[("home", "a")])).is_err(),
            "a link in place of the folder"
        );
    }
}
