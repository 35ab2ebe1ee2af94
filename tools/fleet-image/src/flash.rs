//! `fleet-image flash`.

mod progress;

use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use fleet_base::exit::Exit;
use fleet_medium::failure::Failure;
use fleet_medium::medium::{Access, Medium};
use fleet_medium::table::Table;
use fleet_medium::target::Target;
use fleet_medium::writing::{self, Gaps, Image};
use progress::{Phase, Progress, Style};

use crate::undo;

/// What `fleet-image flash` is asked for.
#[derive(clap::Args)]
pub struct Arguments {
    /// The image: raw (.img, .wic), or compressed by gzip or zstd
    image: PathBuf,
    /// The block device of the whole card, such as /dev/sdX; or a file, for a virtual machine
    device: PathBuf,
    /// The block map of the image [default: the .bmap beside it, if there is one]
    #[arg(long, value_name = "FILE")]
    bmap: Option<PathBuf>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Make the file DEVICE if it is not there
    #[arg(long)]
    create: bool,
    /// Print progress and result as lines of JSON
    #[arg(long)]
    json: bool,
}

/// Writes an image to a card, and reads it back.
pub fn main(arguments: &Arguments) -> Result<Exit, Failure> {
    let mut image = Image::open(&arguments.image, arguments.bmap.as_deref())?;
    refuse_interrupted(&arguments.image)?;
    let target = open_target(arguments, image.size())?;
    image.fits(&target.medium)?;
    if !image.is_mapped() {
        eprintln!("fleet-image: there is no block map; every block is written");
    }
    if !arguments.yes {
        confirm(&target)?;
    }

    let style = Style::for_output(arguments.json);
    let mut progress = Progress::new(style, Phase::Write, image.mapped());
    let body = image.write(&target, Gaps::Keep, &mut progress)?;
    target.commit(&body.head)?;
    progress.end();
    drop(progress);
    let mut progress = Progress::new(style, Phase::Verify, Some(body.bytes()));
    target.verify(&body.written, &[], &mut progress)?;
    progress.end();
    drop(progress);
    progress::done(style, &arguments.device, body.bytes())?;
    Ok(Exit::Done)
}

/// An image that a `configure` was interrupted in is neither the old nor the new one.
fn refuse_interrupted(image: &Path) -> Result<(), Failure> {
    let medium = Medium::open(image, Access::Read)?;
    if Table::read(&medium).is_ok_and(|table| undo::is_pending(&medium, &table)) {
        return Err(Failure::invalid(format!(
            "a `fleet-image configure` of {} was interrupted: run it again first",
            image.display()
        )));
    }
    Ok(())
}

fn open_target(arguments: &Arguments, size: Option<u64>) -> Result<Target, Failure> {
    let path = &arguments.device;
    let kind = match path.metadata() {
        Ok(metadata) => {
            let image = arguments.image.metadata();
            let image = image.map_err(|error| Failure::open(&arguments.image, &error))?;
            if (image.dev(), image.ino()) == (metadata.dev(), metadata.ino()) {
                return Err(Failure::invalid(format!(
                    "{} is the image itself",
                    path.display()
                )));
            }
            metadata.file_type()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && arguments.create => {
            let Some(size) = size else {
                return Err(Failure::new(
                    Exit::Usage,
                    "the size of a compressed image without a block map is not known before it is unpacked: make the file \
                     yourself (truncate --size), and leave --create out",
                ));
            };
            let made = std::fs::File::create_new(path).and_then(|file| file.set_len(size).map(|()| file));
            let metadata = made.and_then(|file| file.metadata());
            metadata
                .map_err(|error| Failure::write(path, &error))?
                .file_type()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Failure::open(path, &error).and("; --create makes a file"));
        }
        Err(error) => return Err(Failure::open(path, &error)),
    };
    // /dev/sdX with a letter too many: a file in a folder of devices, which is RAM.
    if kind.is_file() && path.starts_with("/dev") && !path.starts_with("/dev/shm") {
        return Err(Failure::invalid(format!(
            "{} is a file, not a device: remove it",
            path.display()
        )));
    }
    if !kind.is_file() && !kind.is_block_device() {
        return Err(Failure::invalid(format!(
            "{} is neither a block device nor a file",
            path.display()
        )));
    }
    writing::open_target(path)
}

/// Has the device's name typed: the one thing that tells it from the others.
fn confirm(target: &Target) -> Result<(), Failure> {
    let name = target.name();
    eprint!(
        "Everything on {} is lost. Type {name} to go on: ",
        target.description()
    );
    let _ = io::stderr().flush();
    let mut answer = String::new();
    let read = io::stdin().read_line(&mut answer);
    if read.is_ok() && answer.trim() == name {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Failure,
        "that is not its name; nothing was written. --yes does not ask",
    ))
}
