//! `fleet-image flash`.

mod bmap;
mod progress;
mod source;
mod target;

use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use bmap::{BlockMap, Range};
use fleet_base::exit::Exit;
use progress::{Phase, Progress, Style};
use source::Source;
use target::{Sum, Target};

use crate::failure::Failure;
use crate::medium::{Access, Medium};
use crate::undo;

/// What is written at once.
const CHUNK: usize = 1 << 20;
/// Without a block map: what is verified as one.
const SEGMENT: u64 = 16 << 20;

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

/// A range that was written, and the checksum of what was written.
struct Written {
    start: u64,
    end: u64,
    sum: [u8; 32],
}

/// Writes an image to a card, and reads it back.
pub fn main(arguments: &Arguments) -> Result<Exit, Failure> {
    let mut source = Source::open(&arguments.image)?;
    let map = BlockMap::find(arguments.bmap.as_deref(), &arguments.image)?;
    if let (Some(map), Some(size)) = (&map, source.size)
        && map.image_size != size
    {
        return Err(Failure::invalid(format!(
            "{} is of an image of {} bytes, {} has {size}: it is of another image, or the image is cut off or was changed",
            map.path.display(),
            map.image_size,
            arguments.image.display()
        )));
    }
    let size = map.as_ref().map(|map| map.image_size).or(source.size);
    refuse_interrupted(&arguments.image)?;
    let target = open_target(arguments, size)?;
    if let Some(size) = size
        && target.medium.size < size
    {
        return Err(Failure::new(
            Exit::CannotWrite,
            format!(
                "{} has {}, the image has {}: take a larger one",
                arguments.device.display(),
                fleet_base::size::bytes(target.medium.size),
                fleet_base::size::bytes(size)
            ),
        ));
    }
    if map.is_none() {
        eprintln!("fleet-image: there is no block map; every block is written");
    }
    if !arguments.yes {
        confirm(&target)?;
    }

    let style = Style::for_output(arguments.json);
    let total = map.as_ref().map(BlockMap::mapped).or(source.size);
    let mut progress = Progress::new(style, Phase::Write, total);
    let writing = Writing {
        source: &mut source,
        target: &target,
        map: map.as_ref(),
        progress: &mut progress,
        chunk: vec![0; CHUNK],
        head: Vec::new(),
    };
    let written = writing.all()?;
    progress.end();
    drop(progress);
    let bytes = written.iter().map(|range| range.end - range.start).sum();
    let mut progress = Progress::new(style, Phase::Verify, Some(bytes));
    target.verify(&written, &mut progress)?;
    progress.end();
    drop(progress);
    progress::done(style, &arguments.device, bytes)?;
    Ok(Exit::Done)
}

/// An image that a `configure` was interrupted in is neither the old nor the new one.
fn refuse_interrupted(image: &Path) -> Result<(), Failure> {
    let medium = Medium::open(image, Access::Read)?;
    if medium.block.is_none() && undo::is_pending(&undo::place(&medium, "")?) {
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
    Target::open(Medium::open(path, Access::Write)?)
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

/// The way of the bytes.
struct Writing<'a> {
    source: &'a mut Source,
    target: &'a Target,
    map: Option<&'a BlockMap>,
    progress: &'a mut Progress,
    chunk: Vec<u8>,
    /// What is written last, so that what is written half is not taken for a whole disk.
    head: Vec<u8>,
}

impl Writing<'_> {
    fn all(mut self) -> Result<Vec<Written>, Failure> {
        let mut written = Vec::new();
        for number in 0.. {
            let Some(range) = self.range(number) else { break };
            let range_written = self.range_written(&range)?;
            let is_end = range_written.end < range.end;
            if range_written.end > range.start {
                written.push(range_written);
            }
            if is_end {
                break;
            }
        }
        if written.is_empty() {
            return Err(Failure::invalid(format!(
                "{} is empty",
                self.source.path.display()
            )));
        }
        self.target.sync()?;
        self.target.write(0, &self.head)?;
        self.target.sync()?;
        Ok(written)
    }

    /// The range with this number.
    fn range(&self, number: usize) -> Option<Range> {
        match self.map {
            Some(map) => map.ranges.get(number).cloned(),
            None => {
                let start = u64::try_from(number).ok()?.checked_mul(SEGMENT)?;
                Range::segment(start, SEGMENT, self.source.size)
            }
        }
    }

    fn range_written(&mut self, range: &Range) -> Result<Written, Failure> {
        self.source.skip_to(range.start)?;
        let mut sum = Sum::default();
        let mut place = range.start;
        while place < range.end {
            let wanted = usize::try_from(range.end - place).map_or(CHUNK, |left| left.min(CHUNK));
            let read = self.source.read(&mut self.chunk[..wanted])?;
            let bytes = &self.chunk[..read];
            sum.add(bytes);
            if place == 0 {
                self.head.extend_from_slice(bytes);
                self.target.write(0, &vec![0; read])?;
                self.target.sync()?;
            } else {
                self.target.write(place, bytes)?;
            }
            place += u64::try_from(read).unwrap_or_default();
            self.progress.add(read)?;
            if read < wanted {
                break;
            }
        }
        let written = Written {
            start: range.start,
            end: place,
            sum: sum.end(),
        };
        self.agrees(range, &written)?;
        Ok(written)
    }

    /// Compares a range with the block map, if there is one.
    fn agrees(&self, range: &Range, written: &Written) -> Result<(), Failure> {
        let Some(map) = self.map else { return Ok(()) };
        if written.end < range.end {
            return Err(self.source.cut_off(written.end));
        }
        match range.sum {
            Some(sum) if sum != written.sum => Err(Failure::invalid(format!(
                "{} is damaged between bytes {} and {}: the checksum in {} is another. Download or build it again; what \
                 is on {} now is no system",
                self.source.path.display(),
                range.start,
                range.end,
                map.path.display(),
                self.target.medium.path.display()
            ))),
            _ => Ok(()),
        }
    }
}
