//! A folder with everything in it, in memory.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What a name leads to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entry {
    /// A folder.
    Folder,
    /// A file with these bytes.
    File(Vec<u8>),
}

/// The content of a folder: paths below it, and what is there. Owners, modes and times are left out, because no state
/// of them is of interest here.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tree(pub BTreeMap<PathBuf, Entry>);

impl Tree {
    /// Reads a folder.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let mut tree = Self::default();
        tree.read_below(folder, Path::new(""))?;
        Ok(tree)
    }

    fn read_below(&mut self, top: &Path, below: &Path) -> io::Result<()> {
        for entry in fs::read_dir(top.join(below))? {
            let entry = entry?;
            let path = below.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                self.0.insert(path.clone(), Entry::Folder);
                self.read_below(top, &path)?;
            } else {
                self.0.insert(path, Entry::File(fs::read(entry.path())?));
            }
        }
        Ok(())
    }

    /// Makes a folder hold this and nothing else.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(folder)?,
        }
        // A folder comes before what is in it: that is the order of paths.
        for (path, entry) in &self.0 {
            let path = folder.join(path);
            if let Some(above) = path.parent() {
                // A name whose folder did not reach the disk is not reachable; it is made all the same, so that the
                // reader meets more than it could.
                fs::create_dir_all(above)?;
            }
            match entry {
                Entry::Folder => fs::create_dir_all(&path)?,
                Entry::File(bytes) => fs::write(&path, bytes)?,
            }
        }
        Ok(())
    }

    /// The bytes of a file.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        match self.0.get(Path::new(path))? {
            Entry::File(bytes) => Some(bytes),
            Entry::Folder => None,
        }
    }
}
