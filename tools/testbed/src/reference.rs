//! Where the reference image is, as `cargo xtask image` leaves it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};

use crate::disk::Layout;

/// The reference image's files and the folder for runs, below `build/` of the checkout. While a clone of this
/// lives, `cargo xtask image` keeps these files; newer ones are made beside them.
#[derive(Debug, Clone)]
pub struct Reference {
    build: PathBuf,
    /// The newest generation of the image when this was made.
    generation: PathBuf,
    _lock: Arc<File>,
}

impl Reference {
    /// The image of the checkout that this crate was built from. Fails if it has not been built yet.
    pub fn locate() -> Result<Self> {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let checkout = checkout
            .canonicalize()
            .with_context(|| format!("cannot open {}", checkout.display()))?;
        let build = checkout.join("build");
        let absent = || {
            format!(
                "there is no reference image in {}: run `cargo xtask image` first",
                build.display()
            )
        };
        // Nothing is built or removed between the look at the link and the lock on what it leads to.
        let gate = File::open(build.join("reference/.lock")).with_context(absent)?;
        gate.lock_shared().context("cannot lock the reference image")?;
        let generation = build
            .join("reference/current")
            .canonicalize()
            .with_context(absent)?;
        let lock = File::open(generation.join("lock")).with_context(absent)?;
        lock.lock_shared().context("cannot lock the reference image")?;
        drop(gate);
        let reference = Self {
            _lock: Arc::new(lock),
            build: build.clone(),
            generation,
        };
        ensure!(reference.root().join("usr").is_dir(), absent());
        Ok(reference)
    }

    /// The root file system as a directory; booted read-only.
    pub fn root(&self) -> PathBuf {
        self.generation.join("root")
    }

    /// The whole disk: GPT, five partitions.
    pub fn disk(&self) -> PathBuf {
        self.generation.join("disk.img")
    }

    /// Where the partitions are on the disk.
    pub fn layout(&self) -> PathBuf {
        self.generation.join("layout.json")
    }

    /// Where a partition is on the disk, in bytes: where it begins, and its size.
    pub fn partition(&self, name: &str) -> Result<(u64, u64)> {
        Layout::read(self)?.partition(name)
    }

    /// The configuration used when a run does not name one.
    pub fn config(&self) -> PathBuf {
        self.build.join("../reference/config.json")
    }

    /// The folder that holds a folder for every run.
    pub fn runs(&self) -> PathBuf {
        self.build.join("run")
    }
}
