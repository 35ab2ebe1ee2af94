//! sshd's `AuthorizedKeysCommand` (sshd_config(5)): who may log in.
//!
//! Reads the store directly, so that a person gets in whatever state the services and the boot partition are in.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use fleet_base::exit::Exit;
use fleet_base::{logging, paths};

use crate::config::Config;
use crate::store::Store;
use crate::value::SshKey;

/// The only user that has keys.
const USER: &str = "root";

/// Prints the keys of the user named by the first argument, one a line.
///
/// Ends with [`Exit::Done`] also when there are none or the store cannot be read, which it says on standard error:
/// sshd takes another exit as a failure of its own.
#[must_use]
pub fn main(args: &[OsString]) -> Exit {
    logging::init();
    let [user] = args else {
        log::error!("the name of a user is expected, nothing else");
        return Exit::Usage;
    };
    if user != USER {
        return Exit::Done;
    }
    let keys = keys(&Store::at(PathBuf::from(paths::STATE_CONFIG)));
    let lines: String = keys.iter().map(|key| format!("{key}\n")).collect();
    match std::io::stdout().write_all(lines.as_bytes()) {
        Ok(()) => Exit::Done,
        Err(error) => {
            log::error!("cannot print the ssh keys: {error}");
            Exit::Failure
        }
    }
}

/// The keys of the last accepted configuration that is whole ([`Store::load`]).
pub(crate) fn keys(store: &Store) -> Vec<SshKey> {
    let document = store.document().unwrap_or_else(|error| {
        log::error!("ssh keys: {error}");
        None
    });
    document.map_or_else(Vec::new, |document| Config::read(&document).ssh_keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINrEGH2ofxVbbHY9RGew4bkVvleiMbzvvc94SXKuIZlv me";

    fn keys_of(document: &[u8]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), document).unwrap();
        keys(&Store::at(folder.path().to_owned()))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn gives_the_whole_keys_only() {
        let document = format!(r#"{{"os":{{"sshKeys":["x","{KEY}",1]}}}}"#);
        assert_eq!(keys_of(document.as_bytes()), [KEY]);
    }

    #[test]
    fn a_torn_store_gives_none() {
        let document = format!(r#"{{"os":{{"sshKeys":["{KEY}"]"#);
        for torn in [document.as_bytes(), b"", b"\0\0", b"{}", br#"{"os":[]}"#] {
            assert!(keys_of(torn).is_empty());
        }
        assert!(keys(&Store::at(PathBuf::from("/nonexistent"))).is_empty());
    }

    #[test]
    fn a_damaged_store_gives_the_keys_of_the_copy() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), b"\0\0").unwrap();
        let copy = format!(r#"{{"os":{{"sshKeys":["{KEY}"]}}}}"#);
        std::fs::write(folder.path().join("boot.json"), copy).unwrap();
        assert_eq!(keys(&Store::at(folder.path().to_owned())).len(), 1);
    }
}
