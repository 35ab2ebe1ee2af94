//! The world's logs, one line an event, each beginning with the seconds since the host booted.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context, Result};

use crate::world::serve::locked;

/// A log in the run's folder.
pub(super) struct Log {
    file: Mutex<File>,
}

impl Log {
    /// The log `<what>.log`.
    pub(super) fn open(directory: &Path, what: &str) -> Result<Self> {
        let path = directory.join(format!("{what}.log"));
        let file = OpenOptions::new().create(true).append(true).open(&path);
        Ok(Self {
            file: Mutex::new(file.with_context(|| format!("cannot create {}", path.display()))?),
        })
    }

    /// Adds a line. A full disk must not stop the world.
    pub(super) fn line(&self, text: &str) {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
        let uptime = uptime.split(' ').next().unwrap_or_default();
        let _ = locked(&self.file).write_all(format!("{uptime} {text}\n").as_bytes());
    }
}
