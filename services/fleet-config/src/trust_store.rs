//! The folder of trusted certificates, extended.
//!
//! The image's folder cannot be written to, so a copy of it with the additional certificates is mounted over it
//! (etc-ssl-certs.mount), and only while there are any. The copy has both forms that programs read: the bundle
//! (curl, Go, GnuTLS) and a link for each certificate by the hash of its subject (OpenSSL's CApath).
//!
//! While it is mounted, the image's own folder is hidden. It is not missed: what is not ours in the copy is the image's,
//! and in the bundle it is what stands before our line. So nothing is to be remembered over a restart.
//!
//! A reader at any moment finds whole files: each is replaced by a rename, and what is added comes before what goes.

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use fleet_base::file::{self, Durability};

const BUNDLE: &str = "ca-certificates.crt";
/// Begins the names of our files.
const OURS: &str = "fleet-ca-";
/// Ends the image's part of the bundle.
const LINE: &str = "# Fleet OS: what follows is balenaRootCA of config.json\n";
/// The largest file that is copied. The bundle of all public authorities has 220 KiB.
const MAX: u64 = 4 << 20;
const MODE: u32 = 0o644;

/// Where it is.
#[derive(Clone, Debug)]
pub(crate) struct TrustStore {
    /// What programs read: the image's folder, or the copy when that is mounted.
    pub(crate) image: PathBuf,
    /// The copy.
    pub(crate) copy: PathBuf,
}

impl TrustStore {
    /// Whether there is a copy.
    pub(crate) fn is_extended(&self) -> bool {
        self.copy.exists()
    }

    /// Whether programs see the copy.
    pub(crate) fn is_mounted(&self) -> bool {
        self.image.join(format!("{OURS}0.pem")).exists()
    }

    /// Makes the copy: the image's certificates and these, each with the hash of its subject.
    pub(crate) fn extend(&self, certificates: &[(&str, &str)]) -> io::Result<()> {
        self.make_folder()?;
        let image = self.copy_image()?;
        let mut wanted = Vec::new();
        for (index, (hash, pem)) in certificates.iter().enumerate() {
            let name = format!("{OURS}{index}.pem");
            self.write(&name, pem.as_bytes())?;
            // OpenSSL reads HASH.0, HASH.1, … until one is missing.
            let link = (0..)
                .map(|number: u32| format!("{hash}.{number}"))
                .find(|link| !image.contains(link) && !wanted.contains(link))
                .unwrap_or_default();
            self.link(&link, Path::new(&name))?;
            wanted.extend([name, link]);
        }
        self.write(BUNDLE, &self.bundle(certificates))?;
        for name in file::names(&self.copy)? {
            let name = name.to_string_lossy().into_owned();
            if self.is_ours(&self.copy, &name) && !wanted.contains(&name) {
                std::fs::remove_file(self.copy.join(name))?;
            }
        }
        Ok(())
    }

    /// Removes the copy, which is no longer mounted.
    pub(crate) fn clear(&self) -> io::Result<()> {
        match std::fs::remove_dir_all(&self.copy) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn make_folder(&self) -> io::Result<()> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(&self.copy)?;
        // The unit's umask took bits away.
        std::fs::set_permissions(&self.copy, PermissionsExt::from_mode(0o755))
    }

    /// Copies what is not ours, and returns the names. When the copy is mounted it is there already.
    fn copy_image(&self) -> io::Result<Vec<String>> {
        let names = match file::names(&self.image) {
            // An image without certificates.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            names => names?,
        };
        let mut copied = Vec::new();
        for name in names {
            let Ok(name) = name.into_string() else { continue };
            if name == BUNDLE || self.is_ours(&self.image, &name) {
                continue;
            }
            let path = self.image.join(&name);
            match std::fs::read_link(&path) {
                Ok(target) => self.link(&name, &target)?,
                // A folder in it is for a program that reads neither form.
                Err(_) if path.is_dir() => continue,
                Err(_) => self.write(&name, &file::read(&path, MAX).map_err(io::Error::other)?)?,
            }
            copied.push(name);
        }
        Ok(copied)
    }

    fn bundle(&self, certificates: &[(&str, &str)]) -> Vec<u8> {
        let mut bundle = file::read(&self.image.join(BUNDLE), MAX).unwrap_or_default();
        let line = LINE.as_bytes();
        if let Some(at) = bundle.windows(line.len()).position(|window| window == line) {
            bundle.truncate(at);
        }
        bundle.extend_from_slice(line);
        for (_, pem) in certificates {
            bundle.extend_from_slice(pem.as_bytes());
        }
        bundle
    }

    /// Whether an entry is a file of ours or a link to one.
    fn is_ours(&self, folder: &Path, name: &str) -> bool {
        let target = std::fs::read_link(folder.join(name)).ok();
        let target = target.as_deref().and_then(Path::to_str);
        name.starts_with(OURS) || target.is_some_and(|target| target.starts_with(OURS))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        file::write(&self.copy.join(name), bytes, MODE, Durability::Volatile)
            .map(drop)
            .map_err(io::Error::other)
    }

    fn link(&self, name: &str, target: &Path) -> io::Result<()> {
        let path = self.copy.join(name);
        if std::fs::read_link(&path).is_ok_and(|current| current == target) {
            return Ok(());
        }
        let temporary = self.copy.join(format!("{OURS}link.new"));
        let _ = std::fs::remove_file(&temporary);
        symlink(target, &temporary)?;
        std::fs::rename(temporary, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(folder: &Path) -> Vec<String> {
        let entry = |name: std::ffi::OsString| {
            let name = name.into_string().unwrap();
            match std::fs::read_link(folder.join(&name)) {
                Ok(target) => format!("{name} -> {}", target.display()),
                Err(_) => format!(
                    "{name}: {:?}",
                    std::fs::read_to_string(folder.join(&name)).unwrap()
                ),
            }
        };
        file::names(folder).unwrap().into_iter().map(entry).collect()
    }

    fn store(run: &Path) -> TrustStore {
        let image = run.join("image");
        std::fs::create_dir(&image).unwrap();
        std::fs::write(image.join(BUNDLE), "all\n").unwrap();
        symlink("/usr/share/one.crt", image.join("one.pem")).unwrap();
        symlink("one.pem", image.join("aaaaaaaa.0")).unwrap();
        TrustStore {
            image,
            copy: run.join("run/ca"),
        }
    }

    #[test]
    fn adds_to_the_images_and_takes_away_again() {
        let run = tempfile::tempdir().unwrap();
        let store = store(run.path());
        assert!(!store.is_extended());
        store.extend(&[("aaaaaaaa", "A\n"), ("bbbbbbbb", "B\n")]).unwrap();
        let both = [
            "aaaaaaaa.0 -> one.pem",
            "aaaaaaaa.1 -> fleet-ca-0.pem",
            "bbbbbbbb.0 -> fleet-ca-1.pem",
            &format!("ca-certificates.crt: {:?}", format!("all\n{LINE}A\nB\n")),
            "fleet-ca-0.pem: \"A\\n\"",
            "fleet-ca-1.pem: \"B\\n\"",
            "one.pem -> /usr/share/one.crt",
        ];
        assert_eq!(listed(&store.copy), both);
        let mode = |name: &str| {
            std::fs::metadata(store.copy.join(name))
                .unwrap()
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!((mode("."), mode(BUNDLE)), (0o755, 0o644));

        store.extend(&[("bbbbbbbb", "B\n")]).unwrap();
        let one = [
            "aaaaaaaa.0 -> one.pem",
            "bbbbbbbb.0 -> fleet-ca-0.pem",
            &format!("ca-certificates.crt: {:?}", format!("all\n{LINE}B\n")),
            "fleet-ca-0.pem: \"B\\n\"",
            "one.pem -> /usr/share/one.crt",
        ];
        assert_eq!(listed(&store.copy), one);

        // Mounted, as a service finds it that was restarted.
        let mounted = TrustStore {
            image: store.copy.clone(),
            ..store.clone()
        };
        assert!(mounted.is_mounted() && !store.is_mounted());
        mounted
            .extend(&[("aaaaaaaa", "A\n"), ("bbbbbbbb", "B\n")])
            .unwrap();
        assert_eq!(listed(&store.copy), both);

        store.clear().unwrap();
        store.clear().unwrap();
        assert!(!store.is_extended());
        assert_eq!(listed(&store.image).len(), 3);
    }
}
