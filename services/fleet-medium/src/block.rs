//! Block devices, as the kernel describes them in `/sys` (sysfs(5)), and what uses them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};

/// A block device, by its numbers.
pub struct Block {
    numbers: String,
    folder: PathBuf,
}

impl Block {
    /// The device with this number (`st_rdev` of its file).
    #[must_use]
    pub fn of(number: u64) -> Self {
        let numbers = format!("{}:{}", major(number), minor(number));
        let folder = Path::new("/sys/dev/block").join(&numbers);
        // The link leads to the device's place, where a partition is below its disk.
        let folder = folder.canonicalize().unwrap_or(folder);
        Self { numbers, folder }
    }

    /// The kernel's name: `sdb`.
    #[must_use]
    pub fn name(&self) -> String {
        let name = self.folder.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Whether it is still there; a card reader stays when its card goes.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.attribute("size").is_some_and(|size| size != "0")
    }

    /// The disk, if this is a partition of one.
    #[must_use]
    pub fn disk_of_partition(&self) -> Option<String> {
        self.attribute("partition")?;
        let disk = self.folder.parent()?.file_name()?;
        Some(disk.to_string_lossy().into_owned())
    }

    /// What a person knows it by, as far as the kernel does.
    #[must_use]
    pub fn model(&self) -> Option<String> {
        let words: Vec<_> = ["device/vendor", "device/model", "device/name"]
            .iter()
            .filter_map(|name| self.attribute(name))
            .collect();
        (!words.is_empty()).then(|| words.join(" "))
    }

    /// Bytes of a sector as software addresses it.
    #[must_use]
    pub fn sector_size(&self) -> u64 {
        let size = self.attribute("queue/logical_block_size");
        size.and_then(|size| size.parse().ok()).unwrap_or(512)
    }

    /// Why it must not be written to, if it must not.
    #[must_use]
    pub fn in_use(&self) -> Option<String> {
        if self.attribute("ro").as_deref() == Some("1") {
            return Some("it is write-protected: look for a switch on the card or its adapter".to_owned());
        }
        let mut parts = BTreeSet::from([self.numbers.clone()]);
        let mut holders = holders(&self.folder);
        for folder in entries(&self.folder) {
            if folder.join("partition").exists() {
                parts.extend(attribute(&folder, "dev"));
                holders.extend(self::holders(&folder));
            }
        }
        if let Some(holder) = holders.first() {
            return Some(format!(
                "{holder} (of device mapper, LVM or RAID) is made of it: take that apart first"
            ));
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mounted = mounts.lines().filter_map(Mount::parse).find(|mount| {
            let by_source = || numbers_of(&mount.source).is_some_and(|numbers| parts.contains(&numbers));
            parts.contains(mount.numbers) || by_source()
        });
        if let Some(mount) = mounted {
            return Some(match mount.place.as_str() {
                "/" | "/boot" | "/boot/efi" | "/usr" => {
                    format!("this machine runs from it ({} is on it)", mount.place)
                }
                place => format!("{place} is mounted from it: `umount {place}` first"),
            });
        }
        let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
        let swap = swaps
            .lines()
            .skip(1)
            .filter_map(|line| line.split_whitespace().next())
            .map(unescaped)
            .find(|path| numbers_of(path).is_some_and(|numbers| parts.contains(&numbers)));
        swap.map(|swap| format!("this machine swaps to it ({swap}): `swapoff {swap}` first"))
    }

    fn attribute(&self, name: &str) -> Option<String> {
        attribute(&self.folder, name)
    }
}

/// The loop device that a file is attached to.
#[must_use]
pub fn attached(file: &Path) -> Option<String> {
    let file = file.canonicalize().ok()?;
    let devices = entries(Path::new("/sys/block"));
    let device = devices.iter().find(|device| {
        let backing = fs::read_to_string(device.join("loop/backing_file")).unwrap_or_default();
        !backing.is_empty() && Path::new(backing.trim_end_matches('\n')) == file
    })?;
    Some(format!("/dev/{}", device.file_name()?.to_string_lossy()))
}

fn attribute(folder: &Path, name: &str) -> Option<String> {
    let text = fs::read_to_string(folder.join(name)).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn holders(folder: &Path) -> Vec<String> {
    let entries = entries(&folder.join("holders"));
    let names = entries.iter().filter_map(|path| path.file_name());
    names.map(|name| name.to_string_lossy().into_owned()).collect()
}

fn numbers_of(path: &str) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    let number = metadata.rdev();
    metadata
        .file_type()
        .is_block_device()
        .then(|| format!("{}:{}", major(number), minor(number)))
}

/// A line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
struct Mount<'a> {
    numbers: &'a str,
    place: String,
    /// The device; btrfs has numbers of its own above.
    source: String,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split(' ').skip(2);
        Some(Self {
            numbers: front.next()?,
            place: unescaped(front.nth(1)?),
            source: unescaped(back.split(' ').nth(1)?),
        })
    }
}

/// The kernel writes blank, tab, line end and backslash as three octal digits.
fn unescaped(text: &str) -> String {
    let codes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    codes
        .iter()
        .fold(text.to_owned(), |text, (code, sign)| text.replace(code, sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read() {
        let line =
            r"36 35 98:0 /mnt1 /media/SD\040card rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
        let mount = Mount::parse(line).unwrap();
        assert_eq!(
            (mount.numbers, mount.place.as_str(), mount.source.as_str()),
            ("98:0", "/media/SD card", "/dev/root")
        );
        assert!(Mount::parse("").is_none());
    }
}
