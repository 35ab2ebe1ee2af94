//! The ssh host keys, on the state partition.
//!
//! Made at first boot, on the device. A key that a power cut tore, and that sshd would refuse to start with, is
//! made again: a device with a new host key can be reached, one without sshd cannot. For the same reason a partition that
//! cannot be written gives way to RAM, for one boot.

use std::fmt;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fleet_base::exit::Exit;
use fleet_base::{logging, paths};

/// The types we offer, as ssh-keygen(1) names them. ed25519 is what every client of the last ten years prefers, ecdsa
/// what FIPS-bound ones need; an RSA key takes half a minute to make on the smallest board.
const TYPES: [&str; 2] = ["ed25519", "ecdsa"];

/// Why a key could not be made.
#[derive(Debug)]
pub enum Error {
    /// A file or folder.
    File(PathBuf, io::Error),
    /// `ssh-keygen` could not be run, or failed with this message.
    Keygen(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, error) => write!(f, "cannot write {}: {error}", path.display()),
            Self::Keygen(message) => write!(f, "ssh-keygen failed: {message}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File(_, error) => Some(error),
            Self::Keygen(_) => None,
        }
    }
}

/// The part of sshd's configuration that names keys in RAM; sshd includes it where it is (etc/ssh/sshd_config.d).
const CONFIGURATION: &str = "host_keys.conf";

/// `fleet-host-keys`: makes what is missing or unusable.
#[must_use]
pub fn main() -> Exit {
    logging::init();
    let error = match ensure(Path::new(paths::SSH_HOST_KEYS)) {
        Ok(made) => {
            for path in made {
                log::info!("made the ssh host key {}", path.display());
            }
            return Exit::Done;
        }
        Err(error) => error,
    };
    match in_memory(Path::new(paths::RUN_SSH_HOST_KEYS)) {
        Ok(()) => {
            log::warn!("{error}; ssh has other host keys until the next boot");
            Exit::Done
        }
        Err(second) => {
            log::error!("{error}; nor in RAM: {second}; sshd may not start");
            Exit::CannotWrite
        }
    }
}

/// Makes keys that last for this boot, and names them to sshd.
fn in_memory(folder: &Path) -> Result<(), Error> {
    ensure(folder)?;
    let lines: String = TYPES
        .iter()
        .map(|kind| format!("HostKey {}\n", folder.join(key_name(kind)).display()))
        .collect();
    let path = folder.join(CONFIGURATION);
    fs::write(&path, lines).map_err(|error| Error::File(path, error))
}

/// The file of a private key.
fn key_name(kind: &str) -> String {
    format!("ssh_host_{kind}_key")
}

/// Makes the keys below `folder` that are missing or that ssh-keygen cannot read. Returns those it made.
///
/// # Errors
/// See [`Error`]. A key that could not be made does not keep the others from being made.
pub fn ensure(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| Error::File(folder.to_owned(), error))?;
    let mut made = Vec::new();
    let mut failed = None;
    for kind in TYPES {
        let path = folder.join(key_name(kind));
        if is_usable(&path) {
            continue;
        }
        match make(kind, &path) {
            Ok(()) => made.push(path),
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(made), Err)
}

/// Whether ssh-keygen can read the private key without a passphrase, and sshd will accept its mode.
fn is_usable(path: &Path) -> bool {
    let private = fs::symlink_metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode().trailing_zeros() >= 6);
    private && keygen(&["-y", "-P", "", "-f"], path).is_ok()
}

/// Makes a key pair beside its final place, makes it durable, and moves it there.
fn make(kind: &str, path: &Path) -> Result<(), Error> {
    let new = path.with_extension("new");
    let public = |private: &Path| {
        let mut name = private.as_os_str().to_owned();
        name.push(".pub");
        PathBuf::from(name)
    };
    for left_over in [&new, &public(&new)] {
        match fs::remove_file(left_over) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::File(left_over.clone(), error));
            }
            _ => {}
        }
    }
    keygen(&["-q", "-t", kind, "-N", "", "-C", "fleet", "-f"], &new)?;
    // The public half first: sshd needs the private one only, so its rename is what makes the pair complete.
    for (from, to) in [(public(&new), public(path)), (new, path.to_owned())] {
        let failed = |error| Error::File(to.clone(), error);
        File::open(&from)
            .and_then(|file| file.sync_all())
            .map_err(failed)?;
        fs::rename(&from, &to).map_err(failed)?;
    }
    fs::set_permissions(path, Permissions::from_mode(0o600))
        .and_then(|()| File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all())
        .map_err(|error| Error::File(path.to_owned(), error))
}

/// Runs ssh-keygen with `arguments` and the key's path as the last of them. No standard input, so it cannot ask.
fn keygen(arguments: &[&str], path: &Path) -> Result<(), Error> {
    let output = Command::new("ssh-keygen")
        .args(arguments)
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Error::Keygen(error.to_string()))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(Error::Keygen(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_what_is_missing_or_torn_and_keeps_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("ssh");
        assert_eq!(ensure(&keys).unwrap().len(), 2);
        assert_eq!(ensure(&keys).unwrap().len(), 0);

        let torn = keys.join("ssh_host_ed25519_key");
        let kept = fs::read(keys.join("ssh_host_ecdsa_key")).unwrap();
        fs::write(&torn, "").unwrap();
        assert_eq!(ensure(&keys).unwrap(), std::slice::from_ref(&torn));
        assert_eq!(fs::read(keys.join("ssh_host_ecdsa_key")).unwrap(), kept);
        assert_eq!(fs::metadata(&torn).unwrap().permissions().mode() & 0o777, 0o600);

        let files = fs::read_dir(&keys).unwrap().count();
        assert_eq!(files, 4, "two pairs and nothing else");
    }

    #[test]
    fn keys_in_memory_are_named_to_sshd() {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("ssh");
        in_memory(&keys).unwrap();
        let configuration = fs::read_to_string(keys.join(CONFIGURATION)).unwrap();
        assert_eq!(configuration.lines().count(), TYPES.len());
        for line in configuration.lines() {
            assert!(
                is_usable(Path::new(line.strip_prefix("HostKey ").unwrap())),
                "{line}"
            );
        }
    }

    #[test]
    fn replaces_one_that_others_can_read() {
        let folder = tempfile::tempdir().unwrap();
        ensure(folder.path()).unwrap();
        let path = folder.path().join("ssh_host_ed25519_key");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        assert_eq!(
            ensure(folder.path()).unwrap(),
            [path],
            "sshd ignores a key that others can read"
        );
    }
}
