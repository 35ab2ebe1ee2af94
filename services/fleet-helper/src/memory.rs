//! What was there before the helper changed it, in `/run/fleet/helper`.
//!
//! The helper leaves when nobody calls, so it is on disk: a file a thing, with a line `NAME VALUE` for each part that was
//! changed. It is written before the change, so that what was there is known whenever the helper ends.

use std::path::{Path, PathBuf};

use fleet_base::file::{self, Durability};

/// Far more than the longest list has.
const MAX_BYTES: u64 = 64 * 1024;

/// A file of it.
pub(crate) struct Memory {
    path: PathBuf,
    entries: Vec<(String, String)>,
}

impl Memory {
    /// What is remembered of this thing. An empty memory where there is no file.
    pub(crate) fn of(folder: &Path, thing: &str) -> Result<Self, file::Error> {
        let path = folder.join(thing);
        let text = match file::read(&path, MAX_BYTES) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.is_not_found() => String::new(),
            Err(error) => return Err(error),
        };
        let entry = |line: &str| {
            line.split_once(' ')
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        };
        Ok(Self {
            path,
            entries: text.lines().filter_map(entry).collect(),
        })
    }

    /// The names that were changed.
    pub(crate) fn names(&self) -> Vec<String> {
        self.entries.iter().map(|(name, _)| name.clone()).collect()
    }

    /// What was there.
    pub(crate) fn before(&self, name: &str) -> Option<&str> {
        let (_, value) = self.entries.iter().find(|(listed, _)| listed == name)?;
        Some(value)
    }

    /// Remembers what is there now, unless an older value is remembered. To be called before it is changed.
    pub(crate) fn keep(&mut self, name: &str, value: &str) -> Result<(), file::Error> {
        if self.before(name).is_some() {
            return Ok(());
        }
        self.entries.push((name.to_owned(), value.to_owned()));
        self.write()
    }

    /// Forgets it: it is there again.
    pub(crate) fn forget(&mut self, name: &str) -> Result<(), file::Error> {
        self.entries.retain(|(listed, _)| listed != name);
        self.write()
    }

    fn write(&self) -> Result<(), file::Error> {
        let line = |(name, value): &(String, String)| format!("{name} {value}\n");
        let text: String = self.entries.iter().map(line).collect();
        file::write(&self.path, text.as_bytes(), 0o644, Durability::Volatile).map(drop)
    }
}
