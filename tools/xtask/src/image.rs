//! `cargo xtask image`: the reference image below `build/reference/`: `base.tar` (Debian packages), and from it a
//! generation: `root/` (base, our services, `dist/`, what reference/ adds; systemd-nspawn boots it) and `disk.img`
//! (the same root on the five partitions). Each is made anew only when what it is made from has changed.

mod base;
mod disk;
mod filesystem;
mod generation;
mod inputs;
mod layout;
mod root;
mod services;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::setup;
use crate::step::Steps;
use generation::Generation;
use inputs::Inputs;
pub use layout::Layout;
use services::Services;

/// All times in the image, in seconds since 1970: two builds of the same inputs are the same bytes.
const SOURCE_DATE_EPOCH: &str = "1760000000";

/// Its arguments.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only root/, which is what systemd-nspawn needs.
    #[arg(long)]
    root_only: bool,
    /// Fetches the Debian packages again, for their newest versions.
    #[arg(long)]
    fresh: bool,
    /// Takes the executable `fleet` from this directory instead of building it.
    #[arg(long, value_name = "DIRECTORY")]
    bindir: Option<PathBuf>,
}

/// How much of the image a command needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// `root/`.
    Root,
    /// `root/` and `disk.img`.
    Disk,
}

/// The built image. While this value lives its files stay as they are.
pub struct Image {
    /// Where they are: `root/`, `vmlinuz`, `initrd.img`, `manifest`, and if asked for `disk.img` and `layout.json`.
    pub directory: PathBuf,
    _generation: Generation,
}

impl Image {
    fn new(generation: Generation) -> Self {
        Self {
            directory: generation.path().to_owned(),
            _generation: generation,
        }
    }

    /// `disk.img`: sparse, never written to after it was made.
    pub fn disk(&self) -> PathBuf {
        self.directory.join(disk::OUTPUT)
    }

    /// Where the partitions of `disk.img` are; the same as `layout.json`.
    pub fn layout(&self) -> Layout {
        Layout::new()
    }
}

/// Builds the image and says where it is.
pub fn main(arguments: &Arguments) -> anyhow::Result<()> {
    let need = if arguments.root_only {
        Need::Root
    } else {
        Need::Disk
    };
    let image = build(need, arguments.bindir.as_deref(), arguments.fresh)?;
    println!("{}", image.directory.display());
    Ok(())
}

/// The image as the checkout is now: builds what is out of date, installing host tools first where they are missing.
pub fn ensure(need: Need) -> anyhow::Result<Image> {
    build(need, None, false)
}

/// The checkout that this program was built from.
pub fn checkout() -> anyhow::Result<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    path.canonicalize()
        .with_context(|| format!("cannot open {}", path.display()))
}

/// What the stages share.
struct Workshop {
    checkout: PathBuf,
    directory: PathBuf,
    steps: Steps,
}

impl Workshop {
    fn reference(&self, name: &str) -> PathBuf {
        self.checkout.join("reference").join(name)
    }

    fn output(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

fn build(need: Need, bindir: Option<&Path>, fresh: bool) -> anyhow::Result<Image> {
    setup::ensure(&[setup::IMAGE])?;
    let checkout = checkout()?;
    let directory = checkout.join("build/reference");
    fs::create_dir_all(&directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let steps = Steps::new("image", directory.join("log"));
    let workshop = Workshop {
        checkout,
        directory,
        steps,
    };
    let services = Services::new(&workshop, bindir);

    // Held while looking and building, not while the image is used: that is the generation's own lock.
    let lock = generation::open_lock(&workshop.output(".lock"))?;
    lock.lock_shared().context("cannot lock build/reference")?;
    if !fresh && base::is_current(&workshop)? {
        let inputs = inputs(&workshop, &services.build()?)?;
        if let Some(generation) = Generation::current(&workshop, &inputs, need)? {
            return Ok(Image::new(generation));
        }
    }
    lock.unlock().context("cannot unlock build/reference")?;
    if lock.try_lock().is_err() {
        workshop
            .steps
            .say("waiting for another command that builds the image");
        lock.lock().context("cannot lock build/reference")?;
    }
    Ok(Image::new(rebuild(&workshop, need, &services, fresh)?))
}

/// Makes what is out of date, alone. Debian's packages and our services are made at the same time.
fn rebuild(workshop: &Workshop, need: Need, services: &Services, fresh: bool) -> anyhow::Result<Generation> {
    if !nix::unistd::geteuid().is_root() {
        bail!(
            "building the reference image needs root (its files belong to several users): run it with sudo"
        );
    }
    let bindir = std::thread::scope(|scope| {
        let building = scope.spawn(|| services.build());
        if fresh || !base::is_current(workshop)? {
            base::make(workshop)?;
        }
        building
            .join()
            .unwrap_or_else(|_| bail!("the thread that builds the services panicked"))
    })?;
    let generation = Generation::open(workshop, &inputs(workshop, &bindir)?)?;
    if !generation.has(root::OUTPUT) {
        root::make(workshop, &generation, &bindir)?;
    }
    if need == Need::Disk && !generation.has(disk::OUTPUT) {
        disk::make(workshop, &generation)?;
    }
    generation.publish(workshop)?;
    workshop.steps.say("done");
    Ok(generation)
}

/// The hash of everything that a generation is made from.
fn inputs(workshop: &Workshop, bindir: &Path) -> anyhow::Result<String> {
    let inputs = base::add_to(Inputs::new(SOURCE_DATE_EPOCH), workshop)?;
    let inputs = root::add_to(inputs, workshop, bindir)?;
    Ok(disk::add_to(inputs, workshop)?.finish())
}

/// Removes a file or a directory with all it holds, if it is there.
fn remove(path: &Path) -> anyhow::Result<()> {
    let outcome = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
        Ok(data) if data.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    outcome.with_context(|| format!("cannot remove {}", path.display()))
}

/// A command that runs `script` on standard input inside the directory `root`, with a /proc and a /sys of its own
/// that vanish with it.
fn inside(root: &Path) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--pid", "--fork", "--kill-child", "--", "sh", "-euc"])
        .arg(
            "mount -t proc proc \"$1/proc\"; mount -t sysfs -o ro sysfs \"$1/sys\"; \
             exec env -i PATH=/usr/sbin:/usr/bin LC_ALL=C.UTF-8 SOURCE_DATE_EPOCH=\"$SOURCE_DATE_EPOCH\" \
             chroot \"$1\" /bin/sh -s",
        )
        .arg("inside")
        .arg(root)
        .env("SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH);
    command
}
