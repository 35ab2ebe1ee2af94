//! A card that was copied to another board gets a machine-id and ssh host keys of its own.
//!
//! What identified the other device is removed here, and made again where it always is ([`crate::etc`],
//! `fleet-host-keys`). The record of the board comes last: after a power cut at any step it is all done again.

use std::io;
use std::path::Path;

use fleet_base::file::{self, Durability};
use fleet_identity::board::Evidence;

use crate::etc;

/// The record on the state partition.
const RECORD: &str = "board";
/// How the other device's last run ended.
const LAST_RUN: &str = "reboot/last-run";
/// The folder of the host keys on it.
const HOST_KEYS: &str = "ssh";

/// Writes what tells the board, as found below `root`, to `run`, where services find it, and compares it with the record
/// on `state`.
pub(crate) fn meet(root: &Path, state: &Path, run: &Path) -> Result<(), file::Error> {
    let now = Evidence::gather(root);
    if let Some(folder) = run.parent() {
        std::fs::create_dir_all(folder).map_err(|error| file::Error::Write(folder.to_owned(), error))?;
    }
    file::write(run, now.to_string().as_bytes(), 0o644, Durability::Volatile)?;
    let record = state.join(RECORD);
    let then = match file::read(&record, 4096) {
        Ok(bytes) => Evidence::parse(&String::from_utf8_lossy(&bytes)),
        Err(error) if error.is_not_found() => Evidence::default(),
        Err(error) => return Err(error),
    };
    if then.is_contradicted_by(&now) {
        crate::kmsg::warn("the state was copied from another device: making a machine-id and ssh host keys");
        forget(state)?;
    }
    let updated = then.updated(&now);
    if updated != Evidence::default() {
        file::write(&record, updated.to_string().as_bytes(), 0o644, Durability::Synced)?;
    }
    Ok(())
}

/// Removes what identified the other device.
fn forget(state: &Path) -> Result<(), file::Error> {
    file::remove(&state.join(etc::MACHINE_ID), Durability::Synced)?;
    if let Err(error) = file::remove(&state.join(LAST_RUN), Durability::Synced) {
        crate::kmsg::warn(&error.to_string());
    }
    let keys = state.join(HOST_KEYS);
    let names = match file::names(&keys) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        names => names.map_err(|error| file::Error::Read(keys.clone(), error))?,
    };
    for name in names {
        if name.to_string_lossy().starts_with("ssh_host_") {
            file::remove(&keys.join(name), Durability::Synced)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn another_board_forgets_what_identified_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let (root, state) = (folder.path().join("root"), folder.path().join("state"));
        let run = folder.path().join("run/fleet/board");
        let serial = root.join("proc/device-tree/serial-number");
        fs::create_dir_all(serial.parent().unwrap()).unwrap();
        fs::create_dir_all(state.join("ssh")).unwrap();
        fs::create_dir_all(state.join("reboot")).unwrap();
        let there = || {
            let keys = file::names(&state.join("ssh")).unwrap();
            let last_run = state.join("reboot/last-run").exists();
            assert_eq!(last_run, state.join("machine-id").exists());
            (last_run, keys.len())
        };
        let identify = || {
            fs::write(state.join("machine-id"), "x").unwrap();
            fs::write(state.join("reboot/last-run"), "x").unwrap();
            for name in ["ssh_host_ed25519_key", "ssh_host_ed25519_key.pub", "other"] {
                fs::write(state.join("ssh").join(name), "x").unwrap();
            }
        };
        identify();
        // serial of the board, whether the identity stays
        for (number, stays) in [
            ("1a", true),
            ("1a", true),
            ("2b", false),
            ("2b", true),
            ("none", true),
        ] {
            fs::write(&serial, format!("{number}\0")).unwrap();
            meet(&root, &state, &run).unwrap();
            assert_eq!(there(), if stays { (true, 3) } else { (false, 1) }, "{number}");
            identify();
        }
        assert_eq!(
            fs::read_to_string(&run).unwrap(),
            "",
            "nothing is known of this one"
        );
        assert_eq!(fs::read_to_string(state.join("board")).unwrap(), "serial 2b\n");
    }
}
