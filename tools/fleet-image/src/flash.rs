//! `fleet-image flash`.

pub mod progress;

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use fleet_base::exit::Exit;
use fleet_medium::failure::Failure;
use fleet_medium::medium::Medium;
use fleet_medium::source::Source;
use fleet_medium::table::Table;
use fleet_medium::target::Target;
use fleet_medium::writing::{self, Image};
use progress::{Phase, Progress, Style};

use crate::{undo, unpacked};

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
    let style = Style::for_output(arguments.json);
    // What must not be written to is told before a long image is unpacked.
    let target = existing(arguments)?;
    let raw = {
        let mut progress = Progress::new(style, Phase::Unpack, None);
        unpacked::Image::open(&arguments.image, &mut progress)?
    };
    check(&raw.medium).map_err(|failure| failure.and(". Nothing was written"))?;
    let source = Source::of(&raw.medium)?;
    let mut image = Image::of(source, raw.is_packed, arguments.bmap.as_deref())?;
    let target = match target {
        Some(target) => target,
        None => create(&arguments.device, raw.medium.size)?,
    };
    image.fits(&target.medium)?;
    if !image.is_mapped() {
        eprintln!("fleet-image: there is no block map; every block is written");
    }
    if !arguments.yes {
        confirm(&target)?;
    }

    let mut progress = Progress::new(style, Phase::Clear, Some(image.to_clear(&target.medium)));
    let cleared = image.clear(&target, &mut progress)?;
    progress.end();
    drop(progress);
    let mut progress = Progress::new(style, Phase::Write, image.mapped());
    let body = image.write(&target, cleared, &mut progress)?;
    progress.end();
    drop(progress);
    let mut progress = Progress::new(style, Phase::Verify, Some(body.to_verify()));
    target.verify(&body.written, &body.head, &mut progress)?;
    progress.end();
    drop(progress);
    target.commit(&body.head)?;
    progress::done(style, &arguments.device, body.bytes())?;
    Ok(Exit::Done)
}

/// Refuses what is no whole image of the system.
fn check(image: &Medium) -> Result<(), Failure> {
    let table = Table::read(image)?;
    let named = |what: String| Failure::invalid(format!("{}: {what}", image.path.display()));
    table.boot().map_err(named)?;
    // Neither the old nor the new one.
    if undo::is_pending(image, &table) {
        return Err(Failure::invalid(format!(
            "a `fleet-image configure` of {} was interrupted: run it again first",
            image.path.display()
        )));
    }
    Ok(())
}

/// Opens the device, or a file that is there. None if the file is to be made.
fn existing(arguments: &Arguments) -> Result<Option<Target>, Failure> {
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
            refuse_in_dev(path)?;
            return Ok(None);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Failure::open(path, &error).and("; --create makes a file"));
        }
        Err(error) => return Err(Failure::open(path, &error)),
    };
    if kind.is_file() {
        refuse_in_dev(path)?;
    }
    if !kind.is_file() && !kind.is_block_device() {
        return Err(Failure::invalid(format!(
            "{} is neither a block device nor a file",
            path.display()
        )));
    }
    writing::open_target(path).map(Some)
}

/// /dev/sdX with a letter too many: a file in a folder of devices, which is RAM.
fn refuse_in_dev(path: &Path) -> Result<(), Failure> {
    match path.starts_with("/dev") && !path.starts_with("/dev/shm") {
        true => Err(Failure::invalid(format!(
            "{} is a file, or would be one, and not a device",
            path.display()
        ))),
        false => Ok(()),
    }
}

fn create(path: &Path, size: u64) -> Result<Target, Failure> {
    let made = File::create_new(path).and_then(|file| file.set_len(size));
    made.map_err(|error| Failure::write(path, &error))?;
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
