//! Changes of the configuration without the service: the same store and the same export, nothing applied.
//!
//! For tests that cut the power between two system calls, and for tools that prepare a card. Not beside a running
//! service, which would not know of it.

use std::io;
use std::path::Path;

use crate::copies::{Boot, Copies};
use crate::document::KeyPath;
use crate::store::Store;

/// Opens the store in `state` and the boot partition `boot`, accepts what was edited there, and sets each key to its
/// JSON text, one change after the other. Returns the last revision.
///
/// # Errors
/// A key or value is refused, or cannot be stored; the changes before it are made.
pub fn change(state: &Path, boot: &Path, changes: &[(&str, &str)]) -> io::Result<u64> {
    let places = Boot {
        document: boot.join("config.json"),
        keyfiles: boot.join("system-connections"),
        board: boot.join("board"),
    };
    let mut copies = Copies::open(Store::at(state.to_owned()), places)?;
    let refused =
        |error: &dyn std::fmt::Display| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
    for (key, json) in changes {
        let path = KeyPath::parse(key).map_err(|error| refused(&error))?;
        copies.set(&path, json, "root").map_err(|error| refused(&error))?;
    }
    Ok(copies.revision())
}
