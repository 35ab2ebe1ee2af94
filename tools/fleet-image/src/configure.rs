//! `fleet-image configure`.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use fleet_base::exit::Exit;
use fleet_base::file;
use fleet_base::secret::Secret;
use fleet_config::State;
use fleet_config::document::MAX_BYTES;
use fleet_config::offline::Keyfiles;
use fleet_medium::boot_partition;
use fleet_medium::failure::Failure;
use fleet_medium::medium::{Access, Medium};
use fleet_medium::overlay::Overlay;
use fleet_medium::source::Source;
use fleet_medium::table::{Partition, Table};

use crate::{judgement, map, output, undo};

/// What `fleet-image configure` is asked for.
#[derive(clap::Args)]
pub struct Arguments {
    /// The image (raw: .img, .wic), or the block device of a card
    image: PathBuf,
    /// The configuration, put on the boot partition as config.json; - is standard input
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// A folder of NetworkManager keyfiles, put into system-connections/ on the boot partition
    #[arg(long, value_name = "DIR")]
    connections: Option<PathBuf>,
}

/// What is put on a boot partition: good, as far as can be told without a device.
struct Wanted {
    config: Secret<Vec<u8>>,
    keys: usize,
    keyfiles: BTreeMap<String, Secret<Vec<u8>>>,
}

/// Puts a configuration on the boot partition of an image.
pub fn main(arguments: &Arguments) -> Result<Exit, Failure> {
    let wanted = Wanted::read(arguments)?;
    refuse_packed(&arguments.image)?;
    let medium = Medium::open(&arguments.image, Access::Write)?;
    if undo::recover(&medium, &Table::read(&medium)?)? {
        eprintln!(
            "fleet-image: an earlier run was interrupted: {} is as it was before it",
            medium.path.display()
        );
    }
    let table = Table::read(&medium)?;
    let named = |what: String| Failure::invalid(format!("{}: {what}", medium.path.display()));
    let boot = table.boot().map_err(named)?;

    let mut overlay = Overlay::new(medium.window(boot.start, boot.size));
    put(&mut overlay, &wanted, boot, &medium.path)?;
    verify(&mut overlay, &wanted).map_err(named)?;
    let changes = overlay
        .changes()
        .map_err(|error| Failure::read(&medium.path, &error))?;
    if !changes.is_empty() {
        let maps = map::changed(&medium, &changes)?;
        undo::apply(&medium, boot, changes, &maps)?;
    }
    output::line(&format!(
        "{}: config.json ({}) and {} are on partition {}.",
        medium.path.display(),
        output::count(wanted.keys, "key"),
        output::count(wanted.keyfiles.len(), "keyfile"),
        boot.number
    ))?;
    Ok(Exit::Done)
}

/// In a packed image nothing can be changed in its place.
fn refuse_packed(path: &Path) -> Result<(), Failure> {
    if !path.is_file() {
        return Ok(());
    }
    let Some(unpacker) = Source::open(path)?.unpacker() else {
        return Ok(());
    };
    let (packed, raw) = (path.display(), path.with_extension(""));
    Err(Failure::invalid(format!(
        "{packed} is compressed, and what is in it cannot be changed in place. To configure a card, write it first:\n  \
         fleet-image flash {packed} DEVICE\n  fleet-image configure DEVICE …\nTo configure an image, unpack it first:\n  \
         {unpacker} {packed}\n  fleet-image configure {} …",
        raw.display()
    )))
}

impl Wanted {
    fn read(arguments: &Arguments) -> Result<Self, Failure> {
        let config = read_config(&arguments.config)?;
        let keys = check(&arguments.config, &config)?;
        let keyfiles = match &arguments.connections {
            Some(folder) => read_keyfiles(folder)?,
            None => BTreeMap::new(),
        };
        Ok(Self {
            config: Secret::new(config),
            keys,
            keyfiles,
        })
    }
}

fn read_config(path: &Path) -> Result<Vec<u8>, Failure> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        let input = io::stdin().lock();
        return match input.take(MAX_BYTES + 1).read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(Failure::invalid(format!("cannot read standard input: {error}"))),
        };
    }
    file::read(path, MAX_BYTES).map_err(|error| Failure::invalid(error.to_string()))
}

/// Refuses what a device would refuse. Returns the number of keys.
fn check(path: &Path, bytes: &[u8]) -> Result<usize, Failure> {
    let path = path.display();
    let checked = fleet_config::check(bytes);
    if let Some(problem) = &checked.problem {
        return Err(Failure::invalid(format!("{path}: {problem}")));
    }
    for row in checked.rows.iter().filter(|row| judgement::is_unknown(row)) {
        eprintln!("fleet-image: {path}: {}: {}", row.key, row.detail);
    }
    let refused = checked.rows.iter().filter(|row| row.state == State::Refused);
    let refused: Vec<_> = refused
        .map(|row| format!("\n  {}: {}", row.key, row.detail))
        .collect();
    if !refused.is_empty() {
        return Err(Failure::invalid(format!(
            "{path}: a device would refuse this; put it right first:{}",
            refused.concat()
        )));
    }
    if let Some(key) = judgement::redacted_secret(bytes) {
        return Err(Failure::invalid(format!(
            "{path}: {key} is \"…\", which is what stands for a secret that is not shown: write the secret itself"
        )));
    }
    Ok(checked.rows.len())
}

fn read_keyfiles(folder: &Path) -> Result<BTreeMap<String, Secret<Vec<u8>>>, Failure> {
    let read = Keyfiles::read(folder);
    let keyfiles =
        read.map_err(|error| Failure::invalid(format!("cannot read {}: {error}", folder.display())))?;
    let mut refused: Vec<_> = keyfiles.refused.into_iter().collect();
    let mut folded = BTreeMap::new();
    for name in keyfiles.good.keys() {
        if name.ends_with(['.', ' ']) {
            let why = "the boot partition (FAT) takes no name that ends with a dot or blank; end it with .nmconnection";
            refused.push((name.clone(), why.to_owned()));
        }
        if let Some(other) = folded.insert(Keyfiles::profile(name).to_ascii_lowercase(), name) {
            let why = format!("the boot partition (FAT) does not tell it from {other}; rename one of them");
            refused.push((name.clone(), why));
        }
    }
    if refused.is_empty() {
        return Ok(keyfiles.good);
    }
    let lines = refused
        .iter()
        .map(|(name, why)| format!("\n  {}: {why}", output::shown(name)));
    Err(Failure::invalid(format!(
        "{}: a device would refuse this; put it right first:{}",
        folder.display(),
        lines.collect::<String>()
    )))
}

fn put(overlay: &mut Overlay, wanted: &Wanted, boot: &Partition, image: &Path) -> Result<(), Failure> {
    let free = boot_partition::free(&mut *overlay);
    let result = boot_partition::put(overlay, Some(wanted.config.expose()), &wanted.keyfiles);
    let Err(error) = result else { return Ok(()) };
    let place = format!(
        "{}: the boot partition (partition {})",
        image.display(),
        boot.number
    );
    let is_full = error.kind() == io::ErrorKind::WriteZero || error.to_string().contains("No space");
    if !is_full {
        return Err(Failure::invalid(format!(
            "{place} is damaged: {error}. Repair it with fsck.vfat, or write the image again. Nothing was changed"
        )));
    }
    let needed = wanted.keyfiles.values().map(|bytes| bytes.expose().len());
    let needed = needed.sum::<usize>() + wanted.config.expose().len();
    Err(Failure::new(
        Exit::CannotWrite,
        format!(
            "{place} is too full: {} are to be written, {} are free. Remove something from it. Nothing was changed",
            fleet_base::size::bytes(u64::try_from(needed).unwrap_or(u64::MAX)),
            free.map_or_else(|_| "fewer bytes".to_owned(), fleet_base::size::bytes),
        ),
    ))
}

/// Reads the changed partition as a device will, before anything of it is on the medium.
fn verify(overlay: &mut Overlay, wanted: &Wanted) -> Result<(), String> {
    let broken = "the FAT driver of this program did not write what it was given. Nothing was changed; \
                  please report this";
    let content = boot_partition::read(overlay).map_err(|error| format!("{broken} ({error})"))?;
    if content.config.as_ref() != Some(&wanted.config) {
        return Err(broken.to_owned());
    }
    for (name, bytes) in &wanted.keyfiles {
        if content.keyfiles.get(name) != Some(bytes) {
            return Err(format!(
                "{name}: the boot partition (FAT) does not take this name as it is; rename it. Nothing was changed"
            ));
        }
    }
    let files = content.keyfiles.into_iter();
    let judged = Keyfiles::of(files.map(|(name, bytes)| (name, bytes.expose().clone())));
    for (name, why) in &judged.refused {
        if wanted.keyfiles.contains_key(name) {
            return Err(format!(
                "{name}: with the keyfiles that are there already, a device would refuse it: {why}. Nothing was changed"
            ));
        }
        eprintln!(
            "fleet-image: system-connections/{} was there before, and a device refuses it: {why}",
            output::shown(name)
        );
    }
    Ok(())
}
