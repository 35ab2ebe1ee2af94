//! The secret of NetworkManager, from which it makes addresses that stay the same (RFC 7217).
//!
//! It is all of `/var/lib/NetworkManager` that is kept. The folder itself is in RAM (etc/fstab): NetworkManager writes there
//! at each renewal of a lease, which with leases of some minutes are megabytes a day to the flash. What a boot forgets with
//! it: the lease, which the server gives again to the same client; which of several equal profiles was used last; and that
//! radio or networking was switched off by `nmcli`, which nobody could take back from afar.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use fleet_base::file::{self, Durability};
use fleet_identity::id::Id;

/// Below the state partition, and NetworkManager's name of it.
const FOLDER: &str = "NetworkManager";
const SECRET: &str = "secret_key";
/// What is less is no secret to NetworkManager either, and more than it ever wrote (nm-core-utils.c).
const SIZES: std::ops::RangeInclusive<usize> = 16..=1024;
/// Before a secret that NetworkManager mixes with the machine-id: a copied card has other addresses.
const PREFIX: &str = "nm-v2:";

/// Supplies it from the state partition mounted on `state` in `folder`, which is laid over NetworkManager's.
///
/// # Errors
/// `folder` cannot be written. NetworkManager makes a secret then, for this boot.
pub(crate) fn supply(state: &Path, folder: &Path) -> Result<(), file::Error> {
    let kept = state.join(FOLDER);
    make(folder)?;
    let path = kept.join(SECRET);
    let secret = match file::read(&path, 4096) {
        Ok(secret) if SIZES.contains(&secret.len()) => secret,
        // Torn by a power cut, or not there: it has not been used for long.
        _ => {
            let random = || Id::random().map_err(|error| file::Error::Write(path.clone(), error));
            let secret = format!("{PREFIX}{}{}", random()?, random()?).into_bytes();
            // For this boot it is good also where it cannot be kept.
            let written = make(&kept).and_then(|()| file::write(&path, &secret, 0o600, Durability::Synced));
            if let Err(error) = written {
                crate::kmsg::warn(&error.to_string());
            }
            secret
        }
    };
    file::write(&folder.join(SECRET), &secret, 0o600, Durability::Volatile).map(drop)
}

fn make(folder: &Path) -> Result<(), file::Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| file::Error::Write(folder.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn is_made_once_and_kept() {
        let root = tempfile::tempdir().unwrap();
        let (state, run) = (root.path().join("state"), root.path().join("run/state"));
        let supplied = || {
            supply(&state, &run).unwrap();
            let path = run.join("secret_key");
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            fs::read_to_string(path).unwrap()
        };
        let first = supplied();
        assert!(first.starts_with("nm-v2:") && first.len() == 6 + 64, "{first}");
        fs::remove_dir_all(&run).unwrap();
        assert_eq!(supplied(), first);
        // One that NetworkManager made is kept as it is.
        let kept = state.join("NetworkManager/secret_key");
        fs::write(&kept, "nm-v2:pQBxZ0Z3O0W+HATz0zzcAuNybx/3A40pFvtNXD9ZP+U=").unwrap();
        assert_eq!(supplied().len(), 50);
        // One that is torn is not.
        for torn in [&b""[..], b"nm-v2:", &[0; 2000]] {
            fs::write(&kept, torn).unwrap();
            assert_eq!(supplied().len(), 70);
        }
        // Without a state that can be written there is one for this boot.
        fs::remove_dir_all(&state).unwrap();
        fs::write(&state, "").unwrap();
        assert_eq!(supplied().len(), 70);
    }
}
