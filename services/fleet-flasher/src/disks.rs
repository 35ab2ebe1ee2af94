//! Which medium is installed to: never the one that this system was started from, the eMMC where there is one, and
//! where it is not clear, none.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use fleet_base::exit::Exit;
use fleet_base::paths;
use fleet_medium::failure::Failure;
use nix::sys::stat::{major, minor};

/// What is no medium of a board: RAM, files, what is made of other devices, what cannot be started from.
const NEVER: [&str; 10] = [
    "dm-", "drbd", "fd", "loop", "md", "mtdblock", "nbd", "ram", "sr", "zram",
];
/// What tells a medium from others, as the kernel's drivers name it in `/sys/block/…`.
const IDENTITY: [&str; 5] = ["device/cid", "device/serial", "serial", "wwid", "device/wwid"];

/// A medium that could be installed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Disk {
    /// The kernel's name: `mmcblk0`.
    pub(crate) name: String,
    /// What tells it from others, of other boards too, as far as the kernel knows.
    pub(crate) identity: String,
    bytes: u64,
    model: String,
    /// Soldered to the board, as far as can be told: an MMC device with boot partitions of its own, which no card has.
    is_emmc: bool,
    /// The system that runs is on it.
    is_ours: bool,
}

impl Disk {
    /// Its device node.
    pub(crate) fn path(&self) -> PathBuf {
        Path::new("/dev").join(&self.name)
    }
}

impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/dev/{} (", self.name)?;
        if !self.model.is_empty() {
            write!(f, "{}, ", self.model.escape_debug())?;
        }
        f.write_str(&fleet_base::size::bytes(self.bytes))?;
        f.write_str(if self.is_emmc { ", eMMC)" } else { ")" })
    }
}

/// The media of a board.
pub(crate) struct Disks {
    /// `/sys`.
    sys: PathBuf,
    /// The kernel's names of those that the running system is on.
    ours: Vec<String>,
}

impl Disks {
    /// Finds out which disk this system runs from.
    pub(crate) fn of_this_board() -> Result<Self, Failure> {
        let sys = PathBuf::from("/sys");
        let places = ["/", paths::BOOT, "/usr"];
        let mut ours: Vec<String> = places
            .iter()
            .filter_map(|place| disk_of(&sys, Path::new(place)))
            .collect();
        ours.sort();
        ours.dedup();
        if ours.is_empty() {
            // Without knowing which one it is, each could be it.
            return Err(Failure::new(
                Exit::NotAllowed,
                "cannot tell which medium this system was started from: / is on none, and /boot is not mounted",
            ));
        }
        Ok(Self { sys, ours })
    }

    /// The one that is named, or else the only eMMC. [`Exit::NoInput`] if it is not there, perhaps not yet.
    pub(crate) fn choose(&self, named: Option<&str>) -> Result<Disk, Failure> {
        let disks = self.all().map_err(|error| Failure::read(&self.sys, &error))?;
        match named {
            Some(named) => {
                let node = Path::new(named).canonicalize();
                let node = node.ok();
                let name = node
                    .as_deref()
                    .and_then(Path::file_name)
                    .and_then(|name| name.to_str());
                pick(&disks, named, name)
            }
            None => pick_emmc(&disks),
        }
    }

    fn all(&self) -> io::Result<Vec<Disk>> {
        let mut disks = Vec::new();
        for entry in fs::read_dir(self.sys.join("block"))? {
            let folder = entry?.path();
            let Some(name) = folder.file_name().and_then(|name| name.to_str()) else {
                continue;
            };
            let is_part_of_emmc = name
                .strip_prefix("mmcblk")
                .is_some_and(|rest| rest.contains("boot") || rest.contains("rpmb") || rest.contains("gp"));
            if is_part_of_emmc || NEVER.iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            disks.extend(self.disk(&folder, name));
        }
        disks.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(disks)
    }

    fn disk(&self, folder: &Path, name: &str) -> Option<Disk> {
        let attribute = |name: &str| {
            let text = fs::read_to_string(folder.join(name)).unwrap_or_default();
            text.trim().to_owned()
        };
        // The kernel counts in 512 bytes here, whatever the device's sectors are. A reader without a card has none.
        let bytes = attribute("size").parse::<u64>().ok()?.checked_mul(512)?;
        if bytes == 0 {
            return None;
        }
        let has_boot_partitions = self.sys.join("block").join(format!("{name}boot0")).exists();
        let identity = IDENTITY
            .iter()
            .map(|name| attribute(name))
            .find(|text| !text.is_empty());
        let model = ["device/vendor", "device/model", "device/name"].map(attribute);
        // virtio has a number for its vendor.
        let is_word = |word: &String| !word.is_empty() && !word.starts_with("0x");
        let model: Vec<_> = model.into_iter().filter(is_word).collect();
        let model = model.join(" ");
        Some(Disk {
            name: name.to_owned(),
            identity: identity.unwrap_or_else(|| format!("{model} {bytes}")),
            bytes,
            model,
            is_emmc: attribute("device/type") == "MMC"
                && has_boot_partitions
                && attribute("removable") != "1",
            is_ours: self.ours.iter().any(|ours| ours == name),
        })
    }
}

/// The disk that a folder is on; none if it is on none.
fn disk_of(sys: &Path, place: &Path) -> Option<String> {
    let number = fs::metadata(place).ok()?.dev();
    let link = format!("dev/block/{}:{}", major(number), minor(number));
    let folder = sys.join(link).canonicalize().ok()?;
    let disk = match folder.join("partition").exists() {
        true => folder.parent()?,
        false => &folder,
    };
    Some(disk.file_name()?.to_str()?.to_owned())
}

fn pick(disks: &[Disk], named: &str, name: Option<&str>) -> Result<Disk, Failure> {
    let Some(disk) = disks.iter().find(|disk| Some(disk.name.as_str()) == name) else {
        return Err(Failure::new(
            Exit::NoInput,
            format!(
                "there is no disk {named}, which is named as the target. There are: {}",
                listed(disks)
            ),
        ));
    };
    if disk.is_ours {
        return Err(Failure::new(
            Exit::NotAllowed,
            format!("{named} is named as the target, and this system was started from it: name another one"),
        ));
    }
    Ok(disk.clone())
}

fn pick_emmc(disks: &[Disk]) -> Result<Disk, Failure> {
    let mut found = disks.iter().filter(|disk| disk.is_emmc && !disk.is_ours);
    let name_it =
        "Name the one that is meant in flasher.txt on this medium's boot partition: target = /dev/…";
    match (found.next(), found.next()) {
        (Some(disk), None) => Ok(disk.clone()),
        (Some(_), Some(_)) => Err(Failure::new(
            Exit::OwnConfiguration,
            format!("there is more than one eMMC: {}. {name_it}", listed(disks)),
        )),
        _ => Err(Failure::new(
            Exit::NoInput,
            format!("there is no eMMC. There are: {}. {name_it}", listed(disks)),
        )),
    }
}

/// Those that could be named.
fn listed(disks: &[Disk]) -> String {
    let others = disks.iter().filter(|disk| !disk.is_ours);
    let others: Vec<_> = others.map(ToString::to_string).collect();
    match others.is_empty() {
        true => "none but the one that this system was started from".to_owned(),
        false => others.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A piece of /sys: a folder a disk, with attributes.
    struct Sys(tempfile::TempDir);

    impl Sys {
        fn new(disks: &[(&str, &[(&str, &str)])]) -> Self {
            let sys = Self(tempfile::tempdir().unwrap());
            for (name, attributes) in disks {
                let folder = sys.0.path().join("block").join(name);
                fs::create_dir_all(folder.join("device")).unwrap();
                fs::write(folder.join("size"), "8192\n").unwrap();
                for (attribute, value) in *attributes {
                    fs::write(folder.join(attribute), value).unwrap();
                }
            }
            sys
        }

        fn choose(&self, ours: &str, named: Option<&str>) -> Result<String, String> {
            let disks = Disks {
                sys: self.0.path().to_owned(),
                ours: vec![ours.to_owned()],
            };
            let chosen = disks.choose(named);
            chosen
                .map(|disk| disk.name)
                .map_err(|failure| failure.to_string())
        }
    }

    const EMMC: &[(&str, &str)] = &[
        ("device/type", "MMC\n"),
        ("device/cid", "1501\n"),
        ("removable", "0\n"),
    ];
    const CARD: &[(&str, &str)] = &[("device/type", "SD\n"), ("removable", "0\n")];
    const PLAIN: &[(&str, &str)] = &[("removable", "0\n")];

    #[test]
    fn the_emmc_is_taken() {
        let sys = Sys::new(&[
            ("mmcblk0", CARD),
            ("mmcblk1", EMMC),
            ("mmcblk1boot0", PLAIN),
            ("mmcblk1boot1", PLAIN),
            ("mmcblk1rpmb", PLAIN),
            ("sda", PLAIN),
            ("loop0", PLAIN),
        ]);
        assert_eq!(sys.choose("mmcblk0", None).unwrap(), "mmcblk1");
        let disks = Disks {
            sys: sys.0.path().to_owned(),
            ours: Vec::new(),
        };
        let names: Vec<_> = disks.all().unwrap().into_iter().map(|disk| disk.name).collect();
        assert_eq!(names, ["mmcblk0", "mmcblk1", "sda"]);
    }

    #[test]
    fn what_is_not_clear_is_refused() {
        // The system on the eMMC itself, an MMC card without boot partitions, no card in the reader.
        let sys = Sys::new(&[
            ("mmcblk0", EMMC),
            ("mmcblk0boot0", PLAIN),
            ("mmcblk1", EMMC),
            ("sdb", &[("size", "0\n")]),
        ]);
        let why = sys.choose("mmcblk0", None).unwrap_err();
        assert!(why.contains("no eMMC") && why.contains("/dev/mmcblk1 ("), "{why}");
        assert!(!why.contains("mmcblk0 (") && !why.contains("sdb"), "{why}");

        let sys = Sys::new(&[
            ("mmcblk0", EMMC),
            ("mmcblk0boot0", PLAIN),
            ("mmcblk1", EMMC),
            ("mmcblk1boot0", PLAIN),
        ]);
        assert!(
            sys.choose("sda", None)
                .unwrap_err()
                .contains("more than one eMMC")
        );
    }

    #[test]
    fn the_medium_that_runs_is_never_taken() {
        let sys = Sys::new(&[("null", PLAIN), ("zero", PLAIN)]);
        // Names of files that are there on any machine.
        assert!(
            sys.choose("null", Some("/dev/null"))
                .unwrap_err()
                .contains("was started from it")
        );
        assert_eq!(sys.choose("null", Some("/dev/zero")).unwrap(), "zero");
        assert!(
            sys.choose("null", Some("/dev/none"))
                .unwrap_err()
                .contains("no disk /dev/none")
        );
    }

    #[test]
    fn a_medium_without_a_number_is_known_by_what_there_is() {
        let sys = Sys::new(&[
            ("vda", &[("serial", "fleet\n"), ("device/vendor", "0x1af4\n")]),
            ("vdb", &[("device/model", "x y\n")]),
        ]);
        let disks = Disks {
            sys: sys.0.path().to_owned(),
            ours: Vec::new(),
        };
        let identities: Vec<_> = disks
            .all()
            .unwrap()
            .into_iter()
            .map(|disk| disk.identity)
            .collect();
        assert_eq!(identities, ["fleet", "x y 4194304"]);
        assert_eq!(disks.all().unwrap()[0].to_string(), "/dev/vda (4.0 MiB)");
    }
}
