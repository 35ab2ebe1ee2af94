//! Writing changes so that they can be taken back: the old sectors, and the block maps beside the image, are kept in a file
//! until all of the new ones are on the medium. A run that was interrupted leaves the file, and the next one puts them back.
//!
//! The file is beside an image. That of a device is named for a mark that is on the device until it is done.
//!
//! The file: a line that names the format; the medium's size; the number of sectors; of each its place, the SHA-256 of
//! its new content and its old content; of each block map the length of its path and the path, the SHA-256 of its new
//! content, the length of its old content and that; the SHA-256 of all that. Numbers are little-endian, of 8 bytes. Of the
//! new content there is only the hash, because the file may hold secrets (it has mode 600) and is not for reading.

mod mark;

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fleet_base::exit::Exit;
use fleet_base::file::{self, Durability};
use fleet_medium::failure::Failure;
use fleet_medium::medium::Medium;
use fleet_medium::overlay::{Change, SECTOR, Sector};
use fleet_medium::table::{Partition, Table};
use mark::Mark;
use nix::fcntl::OFlag;
use sha2::{Digest, Sha256};

use crate::map;

const FORMAT: &[u8] = b"fleet-image undo 2\n";
const HASH: usize = 32;
const RECORD: usize = 8 + HASH + SECTOR;
/// More than a whole FAT of changes; what is larger is not ours.
const MAX_BYTES: u64 = 1 << 30;

/// Where the old sectors of an image are kept: beside it.
fn beside(medium: &Medium) -> Result<PathBuf, Failure> {
    let path = medium.path.canonicalize();
    let path = path.map_err(|error| Failure::open(&medium.path, &error))?;
    let mut name = path.into_os_string();
    name.push(".fleet-undo");
    Ok(name.into())
}

/// Where the old sectors of a device with this mark are kept: in the user's folder of program states, because `/dev` does not
/// outlive the machine.
fn of_mark(name: &str) -> Result<PathBuf, Failure> {
    let variable = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    // XDG Base Directory Specification.
    let states =
        variable("XDG_STATE_HOME").or_else(|| variable("HOME").map(|home| home.join(".local/state")));
    let states = states.ok_or_else(|| {
        Failure::new(
            Exit::CannotWrite,
            "there is no place to keep what a device had before: set HOME",
        )
    })?;
    Ok(states.join("fleet-image").join(format!("{name}.undo")))
}

/// What an interrupted run left on a medium, or beside it.
enum Left {
    Nothing,
    /// A file, which may not be whole.
    File(PathBuf),
    /// A mark, and its file is not here.
    Mark(String),
}

impl Left {
    fn of(medium: &Medium, table: &Table) -> Result<Self, Failure> {
        if let Some(name) = mark::find(medium, table) {
            // A copy of a device in a file is not that device, whose file this is.
            return Ok(match (&medium.block, of_mark(&name)) {
                (Some(_), Ok(path)) if is_whole(&path) => Self::File(path),
                _ => Self::Mark(name),
            });
        }
        Ok(match medium.block {
            None => Self::File(beside(medium)?),
            Some(_) => Self::Nothing,
        })
    }
}

/// Takes back what an interrupted run left. Returns whether there was one.
pub fn recover(medium: &Medium, table: &Table) -> Result<bool, Failure> {
    let path = match Left::of(medium, table)? {
        Left::Nothing => return Ok(false),
        Left::File(path) => path,
        Left::Mark(name) => {
            return Err(Failure::invalid(format!(
                "a `fleet-image configure` of {} was interrupted, and what was there before is not here: it is in \
                 fleet-image/{name}.undo below ~/.local/state of the user and machine that ran it. Run it there again, or \
                 write the image anew",
                medium.path.display()
            )));
        }
    };
    let undo = match read(&path) {
        Ok(Some(undo)) => undo,
        Ok(None) => return Ok(false),
        Err(error) => return Err(Failure::read(&path, &error)),
    };
    if let Undo::Unfinished = undo {
        // It was not whole, and so nothing was written to the medium.
        remove(&path)?;
        return Ok(false);
    }
    let Undo::Whole { size, sectors, maps } = undo else {
        return Ok(false);
    };
    if size != medium.size
        || !sectors.iter().all(|sector| sector.is_of(medium))
        || !maps.iter().all(KeptMap::is_of_it)
    {
        return Err(Failure::new(
            Exit::InvalidData,
            format!(
                "{} is left from an interrupted run, and {} or its block map was changed since then, or is another one. \
                 Look at it with `fleet-image inspect`; remove the file if all is well",
                path.display(),
                medium.path.display()
            ),
        ));
    }
    let sectors: Vec<_> = sectors.iter().map(|sector| (sector.place, &sector.old)).collect();
    put_back(&medium.file, &sectors).map_err(|error| Failure::write(&medium.path, &error))?;
    // One that is gone was moved away by somebody.
    for map in maps.iter().filter(|map| map.path.exists()) {
        put_map(&map.path, &map.old)?;
    }
    remove(&path)?;
    Ok(true)
}

/// Whether an interrupted run left something to be taken back.
pub fn is_pending(medium: &Medium, table: &Table) -> bool {
    match Left::of(medium, table) {
        Ok(Left::File(path)) => is_whole(&path),
        Ok(Left::Mark(_)) => true,
        _ => false,
    }
}

fn is_whole(path: &Path) -> bool {
    matches!(read(path), Ok(Some(Undo::Whole { .. })))
}

/// Writes the changes: all of them or none. The maps come last: a map is of the image that it is beside of, or there is
/// the file that says that they are not.
pub fn apply(
    medium: &Medium,
    boot: &Partition,
    changes: Vec<Change>,
    maps: &[map::Change],
) -> Result<(), Failure> {
    let Some(_) = medium.block else {
        let new: Vec<_> = changes.iter().map(|change| (change.place, change.new)).collect();
        return apply_in(medium, &beside(medium)?, &changes, &[new], maps);
    };
    let mark = Mark::new(medium, boot).map_err(|error| Failure::read(&medium.path, &error))?;
    let (of_its_sector, mut changes): (Vec<_>, Vec<_>) =
        changes.into_iter().partition(|change| change.place == boot.start);
    let unmarked = of_its_sector.first().map_or(mark.set.old, |change| change.new);
    let steps = [
        vec![(boot.start, mark.set.new)],
        changes.iter().map(|change| (change.place, change.new)).collect(),
        vec![(boot.start, unmarked)],
    ];
    changes.push(mark.set);
    apply_in(medium, &of_mark(&mark.name)?, &changes, &steps, maps)
}

/// Writes the changes in these steps, each on the medium before the next.
fn apply_in(
    medium: &Medium,
    path: &Path,
    changes: &[Change],
    steps: &[Vec<(u64, Sector)>],
    maps: &[map::Change],
) -> Result<(), Failure> {
    keep(path, medium.size, changes, maps).map_err(|error| {
        let _ = fs::remove_file(path);
        Failure::write(path, &error).and(". It keeps what the image had before; nothing was changed")
    })?;
    let mut steps = steps.iter();
    let written = steps
        .try_for_each(|step| write(&medium.file, step.iter().map(|(place, new)| (*place, new))))
        .map_err(|error| Failure::write(&medium.path, &error))
        .and_then(|()| maps.iter().try_for_each(|map| put_map(&map.path, &map.new)));
    let Err(failure) = written else {
        return remove(path);
    };
    let old: Vec<_> = changes.iter().map(|change| (change.place, &change.old)).collect();
    let restored = put_back(&medium.file, &old)
        .map_err(|error| Failure::write(&medium.path, &error))
        .and_then(|()| maps.iter().try_for_each(|map| put_map(&map.path, &map.old)));
    if restored.is_err() {
        return Err(failure.and(&format!(
            ", nor what was there before: that is in {}, and `fleet-image configure` puts it back when it can",
            path.display()
        )));
    }
    remove(path)?;
    Err(failure.and(". Everything is as it was before"))
}

/// Writes the old sectors. The last one, where a device has its mark, waits for the others.
fn put_back(file: &File, sectors: &[(u64, &Sector)]) -> io::Result<()> {
    let (others, last) = sectors.split_at(sectors.len().saturating_sub(1));
    write(file, others.iter().copied())?;
    write(file, last.iter().copied())
}

/// Replaces a block map, with the permissions that it has.
fn put_map(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let metadata = path.metadata().map_err(|error| Failure::write(path, &error))?;
    let mode = metadata.permissions().mode() & 0o777;
    let put = file::write(path, bytes, mode, Durability::Synced);
    put.map(|_| ())
        .map_err(|error| Failure::new(Exit::CannotWrite, error.to_string()))
}

/// A sector as it was.
struct Kept {
    place: u64,
    new: [u8; HASH],
    old: Sector,
}

impl Kept {
    /// Whether it is as it was, or as it was to be.
    fn is_of(&self, medium: &Medium) -> bool {
        let mut now = [0; SECTOR];
        let read = medium.file.read_exact_at(&mut now, self.place);
        read.is_ok() && (now == self.old || hash(&now) == self.new)
    }
}

/// A block map as it was.
struct KeptMap {
    path: PathBuf,
    new: [u8; HASH],
    old: Vec<u8>,
}

impl KeptMap {
    /// Whether it is as it was, as it was to be, or gone.
    fn is_of_it(&self) -> bool {
        match fs::read(&self.path) {
            Ok(now) => now == self.old || hash(&now) == self.new,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }
}

enum Undo {
    /// The run that wrote it was interrupted before it touched the medium.
    Unfinished,
    Whole {
        size: u64,
        sectors: Vec<Kept>,
        maps: Vec<KeptMap>,
    },
}

fn keep(path: &Path, size: u64, changes: &[Change], maps: &[map::Change]) -> io::Result<()> {
    let number = |length: usize| {
        u64::try_from(length)
            .map(u64::to_le_bytes)
            .map_err(io::Error::other)
    };
    let mut bytes = FORMAT.to_vec();
    bytes.extend(size.to_le_bytes());
    bytes.extend(number(changes.len())?);
    for change in changes {
        bytes.extend(change.place.to_le_bytes());
        bytes.extend(hash(&change.new));
        bytes.extend(change.old);
    }
    for map in maps {
        let path = map.path.as_os_str().as_bytes();
        bytes.extend(number(path.len())?);
        bytes.extend(path);
        bytes.extend(hash(&map.new));
        bytes.extend(number(map.old.len())?);
        bytes.extend(&map.old);
    }
    bytes.extend(hash(&bytes));
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    sync_folder(path)
}

fn read(path: &Path) -> io::Result<Option<Undo>> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits())
        .open(path);
    let file = match file {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let metadata = file.metadata()?;
    let is_ours = metadata.is_file() && metadata.uid() == nix::unistd::geteuid().as_raw();
    if !is_ours || metadata.len() > MAX_BYTES {
        return Err(io::Error::other(
            "it is not a file of this user and program; remove it",
        ));
    }
    let mut bytes = vec![0; usize::try_from(metadata.len()).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(Some(parse(&bytes).unwrap_or(Undo::Unfinished)))
}

fn parse(bytes: &[u8]) -> Option<Undo> {
    let (body, sum) = bytes.split_at_checked(bytes.len().checked_sub(HASH)?)?;
    if hash(body) != sum {
        return None;
    }
    let (size, rest) = body.strip_prefix(FORMAT)?.split_first_chunk()?;
    let (count, rest) = taken_number(rest)?;
    let (records, mut rest) = rest.split_at_checked(count.checked_mul(RECORD)?)?;
    let sector = |record: &[u8]| {
        let (place, rest) = record.split_first_chunk()?;
        let (new, old) = rest.split_first_chunk()?;
        Some(Kept {
            place: u64::from_le_bytes(*place),
            new: *new,
            old: old.try_into().ok()?,
        })
    };
    let sectors = records.chunks(RECORD).map(sector).collect::<Option<_>>()?;
    let mut maps = Vec::new();
    while !rest.is_empty() {
        let (length, more) = taken_number(rest)?;
        let (path, more) = more.split_at_checked(length)?;
        let (new, more) = more.split_first_chunk()?;
        let (length, more) = taken_number(more)?;
        let (old, more) = more.split_at_checked(length)?;
        maps.push(KeptMap {
            path: PathBuf::from(OsStr::from_bytes(path)),
            new: *new,
            old: old.to_vec(),
        });
        rest = more;
    }
    Some(Undo::Whole {
        size: u64::from_le_bytes(*size),
        sectors,
        maps,
    })
}

/// A number at the beginning, and what follows it.
fn taken_number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(u64::from_le_bytes(*number)).ok()?, rest))
}

/// Writes sectors, those that follow each other at once, and has them on the medium when it returns.
fn write<'a>(file: &File, sectors: impl Iterator<Item = (u64, &'a Sector)>) -> io::Result<()> {
    let mut run: (u64, Vec<u8>) = (0, Vec::new());
    for (place, sector) in sectors {
        let end = run.0 + u64::try_from(run.1.len()).map_err(io::Error::other)?;
        if place != end && !run.1.is_empty() {
            file.write_all_at(&run.1, run.0)?;
            run.1.clear();
        }
        if run.1.is_empty() {
            run.0 = place;
        }
        run.1.extend(sector);
    }
    file.write_all_at(&run.1, run.0)?;
    file.sync_all()
}

fn remove(path: &Path) -> Result<(), Failure> {
    let removed = fs::remove_file(path).and_then(|()| sync_folder(path));
    removed.map_err(|error| Failure::write(path, &error))
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

fn hash(bytes: &[u8]) -> [u8; HASH] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_torn_is_unfinished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("undo");
        let change = Change {
            place: 4096,
            old: [1; SECTOR],
            new: [2; SECTOR],
        };
        let map = map::Change {
            path: PathBuf::from("/fleet.img.bmap"),
            old: b"old".to_vec(),
            new: b"new".to_vec(),
        };
        keep(&path, 1 << 20, &[change], &[map]).unwrap();
        assert!(is_whole(&path));
        let bytes = fs::read(&path).unwrap();
        let Some(Undo::Whole { size, sectors, maps }) = parse(&bytes) else {
            panic!("it is not whole")
        };
        assert_eq!(
            (size, sectors[0].place, sectors[0].old),
            (1 << 20, 4096, [1; SECTOR])
        );
        assert_eq!((maps.len(), maps[0].old.as_slice()), (1, b"old".as_slice()));
        for length in 0..bytes.len() {
            assert!(parse(&bytes[..length]).is_none(), "{length}");
        }
    }
}
