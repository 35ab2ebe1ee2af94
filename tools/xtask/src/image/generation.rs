//! A generation: everything that was made from one state of the checkout, in a directory named for the hash of that
//! state. Who uses an image locks its generation, so that the next one can be built beside it at any time; a
//! generation goes when it is neither current nor in use.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{Need, Workshop, disk, remove, root};

const PREFIX: &str = "generation-";
/// The link to the newest generation, and names beside it that lead into it.
const CURRENT: &str = "current";
const NAMES: &[&str] = &[
    "root",
    "disk.img",
    "layout.json",
    "vmlinuz",
    "initrd.img",
    "manifest",
];

/// A generation, kept from removal as long as this lives.
pub(super) struct Generation {
    path: PathBuf,
    _use: File,
}

impl Generation {
    /// The newest one, if it was made from `inputs` and has what is needed. Call it with build/reference locked.
    pub(super) fn current(workshop: &Workshop, inputs: &str, need: Need) -> anyhow::Result<Option<Self>> {
        let name = name(inputs);
        let is_current = fs::read_link(workshop.output(CURRENT)).is_ok_and(|link| link == Path::new(&name));
        if !is_current {
            return Ok(None);
        }
        let generation = Self::open(workshop, inputs)?;
        let complete = generation.has(root::OUTPUT) && (need == Need::Root || generation.has(disk::OUTPUT));
        Ok(complete.then_some(generation))
    }

    /// The one made from `inputs`, empty if there is none. Call it with build/reference locked.
    pub(super) fn open(workshop: &Workshop, inputs: &str) -> anyhow::Result<Self> {
        let path = workshop.output(&name(inputs));
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let lock = open_lock(&path.join("lock"))?;
        lock.lock_shared()
            .with_context(|| format!("cannot lock {}", path.display()))?;
        Ok(Self { path, _use: lock })
    }

    /// Its directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether an output is complete: it gets its name only then.
    pub(super) fn has(&self, output: &str) -> bool {
        self.path.join(output).exists()
    }

    /// Gives what was made at `made` its name.
    pub(super) fn keep(&self, made: &Path, output: &str) -> anyhow::Result<()> {
        let target = self.path.join(output);
        fs::rename(made, &target).with_context(|| format!("cannot rename to {}", target.display()))
    }

    /// Makes it the current one, and removes those that nobody uses. Call it with build/reference locked alone.
    pub(super) fn publish(&self, workshop: &Workshop) -> anyhow::Result<()> {
        let own = self.path.file_name().unwrap_or_default();
        link(workshop, Path::new(own), CURRENT)?;
        for name in NAMES {
            link(workshop, &Path::new(CURRENT).join(name), name)?;
        }
        let entries = fs::read_dir(&workshop.directory).context("cannot list build/reference")?;
        for entry in entries {
            let entry = entry.context("cannot list build/reference")?;
            let name = entry.file_name();
            if name == own || !name.to_string_lossy().starts_with(PREFIX) {
                continue;
            }
            let lock = open_lock(&entry.path().join("lock"))?;
            if lock.try_lock().is_ok() {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// The file whose lock says that a directory is in use.
pub(super) fn open_lock(path: &Path) -> anyhow::Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))
}

fn name(inputs: &str) -> String {
    format!("{PREFIX}{}", inputs.get(..16).unwrap_or(inputs))
}

/// Points `name` in build/reference to `target`, at once and for everybody.
fn link(workshop: &Workshop, target: &Path, name: &str) -> anyhow::Result<()> {
    let path = workshop.output(name);
    match fs::read_link(&path) {
        Ok(now) if now == target => return Ok(()),
        // Not a link: what an older xtask left.
        Err(error) if error.kind() == ErrorKind::InvalidInput => remove(&path)?,
        _ => {}
    }
    let made = workshop.output(&format!(".{name}.new"));
    remove(&made)?;
    symlink(target, &made).with_context(|| format!("cannot link {}", made.display()))?;
    fs::rename(&made, &path).with_context(|| format!("cannot rename to {}", path.display()))
}
