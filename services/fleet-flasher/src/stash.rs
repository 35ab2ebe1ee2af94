//! What the device had, kept on the flasher's own boot partition from before the first write to the device until it is on
//! the device again. A folder for each medium: this flasher may be taken to another board in between.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use fleet_medium::boot_partition::Content;
use fleet_medium::failure::Failure;
use hmac_sha256::Hash;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::unistd::syncfs;

use crate::content;

/// The folder of all of them.
const FOLDER: &str = "carried";
const HINT: &str = ". The configuration of the device cannot be kept, and so nothing was changed. Look whether this medium is \
     write-protected or full; or write `keep = nothing` into flasher.txt to install without it";

/// The place for what one medium had.
pub(crate) struct Stash(PathBuf);

impl Stash {
    /// On this boot partition, for the medium with this identity.
    pub(crate) fn on(boot: &Path, identity: &str) -> Self {
        let sum = Hash::hash(identity.as_bytes());
        let name: String = sum[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Self(boot.join(FOLDER).join(name))
    }

    /// What is in it; nothing if there is none. Whole if the medium is not, because only then was it begun with.
    pub(crate) fn read(&self) -> Result<Content, Failure> {
        content::read(&self.0)
    }

    /// Keeps this and nothing else. On the medium, and read back from there, when it returns.
    pub(crate) fn keep(&self, kept: &Content) -> Result<(), Failure> {
        self.remove().map_err(|failure| failure.and(HINT))?;
        if content::is_none(kept) {
            return Ok(());
        }
        let failed = |error: &io::Error| Failure::write(&self.0, error).and(HINT);
        self.write(kept).map_err(|error| failed(&error))?;
        let read = self.read()?;
        match read.config == kept.config && read.keyfiles == kept.keyfiles {
            true => Ok(()),
            false => Err(failed(&io::Error::other("it is read back as something else"))),
        }
    }

    fn write(&self, kept: &Content) -> io::Result<()> {
        let keyfiles = self.0.join(content::KEYFILES);
        fs::create_dir_all(&keyfiles)?;
        if let Some(config) = &kept.config {
            write(&self.0.join(content::CONFIG), config.expose())?;
        }
        for (name, bytes) in &kept.keyfiles {
            write(&keyfiles.join(name), bytes.expose())?;
        }
        let folder = File::open(&keyfiles)?;
        syncfs(&folder)?;
        // What is read back comes from the medium then.
        for file in [self.0.join(content::CONFIG)].iter().chain(&listed(&keyfiles)?) {
            if let Ok(file) = File::open(file) {
                posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
            }
        }
        Ok(())
    }

    /// Forgets it: it is on the device, or was of an earlier installation.
    pub(crate) fn remove(&self) -> Result<(), Failure> {
        let removed = match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other,
        };
        let above = self.0.parent().unwrap_or(&self.0);
        let synced = removed.and_then(|()| Ok(syncfs(File::open(above)?)?));
        synced.map_err(|error| Failure::write(&self.0, &error))?;
        // Of the last one the folder goes too.
        let _ = fs::remove_dir(above);
        Ok(())
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn listed(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleet_base::secret::Secret;

    #[test]
    fn each_medium_has_its_own() {
        let boot = tempfile::tempdir().unwrap();
        let mut kept = content::none();
        kept.config = Some(Secret::new(b"{}".to_vec()));
        kept.keyfiles.insert("lan".to_owned(), Secret::new(b"x".to_vec()));
        let (one, other) = (Stash::on(boot.path(), "1"), Stash::on(boot.path(), "2"));
        one.keep(&kept).unwrap();
        assert_eq!(one.read().unwrap().keyfiles, kept.keyfiles);
        assert!(content::is_none(&other.read().unwrap()));
        other.keep(&kept).unwrap();
        // Once more, with less.
        kept.keyfiles.clear();
        one.keep(&kept).unwrap();
        assert!(one.read().unwrap().keyfiles.is_empty());
        one.keep(&content::none()).unwrap();
        assert!(content::is_none(&one.read().unwrap()));
        other.remove().unwrap();
        assert_eq!(fs::read_dir(boot.path()).unwrap().count(), 0);
    }
}
