//! What a stage is made from, as one hash: names, kinds, modes and contents.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};

/// A hash under construction.
pub(super) struct Inputs(Sha256);

impl Inputs {
    /// Starts with the stage's version: a change of how the stage is made counts as a change of its inputs.
    pub(super) fn new(version: &str) -> Self {
        let inputs = Self(Sha256::new());
        inputs.text(version)
    }

    /// Adds a text.
    pub(super) fn text(mut self, text: &str) -> Self {
        self.bytes(text.as_bytes());
        self
    }

    /// Adds a file, a link, or a directory with everything below it in the order of names. Absent counts too.
    pub(super) fn path(mut self, path: &Path) -> anyhow::Result<Self> {
        self.entry(path)?;
        Ok(self)
    }

    /// The hash in hexadecimal.
    pub(super) fn finish(self) -> String {
        self.0
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    fn entry(&mut self, path: &Path) -> anyhow::Result<()> {
        self.bytes(path.file_name().unwrap_or_default().as_bytes());
        let data = match fs::symlink_metadata(path) {
            Ok(data) => data,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.bytes(b"absent");
                return Ok(());
            }
            Err(error) => return Err(error).with_context(|| format!("cannot look at {}", path.display())),
        };
        self.bytes(&data.mode().to_le_bytes());
        let kind = data.file_type();
        if kind.is_symlink() {
            let target = fs::read_link(path).with_context(|| format!("cannot read {}", path.display()))?;
            self.bytes(target.as_os_str().as_bytes());
        } else if kind.is_dir() {
            let entries = fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))?;
            let mut paths = Vec::new();
            for entry in entries {
                paths.push(
                    entry
                        .with_context(|| format!("cannot list {}", path.display()))?
                        .path(),
                );
            }
            paths.sort();
            for path in paths {
                self.entry(&path)?;
            }
            self.bytes(b"end");
        } else if kind.is_file() {
            let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            self.bytes(&content);
        } else {
            bail!("{} is neither file, link nor directory", path.display());
        }
        Ok(())
    }

    /// Length first, so that two neighbours cannot be taken for two others.
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_do_not_run_together() {
        let one = Inputs::new("v").text("ab").text("c").finish();
        let other = Inputs::new("v").text("a").text("bc").finish();
        assert_ne!(one, other);
    }

    #[test]
    fn a_file_that_moves_changes_the_hash() {
        let directory = std::env::temp_dir().join(format!("fleet-inputs-{}", std::process::id()));
        fs::create_dir_all(directory.join("a")).unwrap();
        fs::create_dir_all(directory.join("b")).unwrap();
        fs::write(directory.join("a/file"), "x").unwrap();
        let hash = || Inputs::new("v").path(&directory).unwrap().finish();
        let before = hash();
        assert_eq!(before, hash());
        fs::rename(directory.join("a/file"), directory.join("b/file")).unwrap();
        assert_ne!(before, hash());
        fs::remove_dir_all(directory).unwrap();
    }
}
