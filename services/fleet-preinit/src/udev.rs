//! Links to the partitions of the root's disk, for the mounts that systemd makes (etc/fstab).
//!
//! udev itself makes them, by a rule that names this disk; `/dev/disk/by-label` would take any disk that has the label.
//! A file system that lost its first block has no label: on a GPT disk the partition's name is the same, so that it is
//! checked and repaired all the same. An MBR disk has no names.
//!
//! The slots go by their numbers, as for the boot loader: an update brings its own label, and may have been made for the
//! other one. The disk itself is for the environment before the first partition (docs/boot.md).

use std::fs;
use std::io;
use std::path::Path;

use crate::partition::Disk;

/// Read after 60-persistent-storage.rules, which finds the labels.
const FOLDER: &str = "/run/udev/rules.d";
const FILE: &str = "61-fleet-disk.rules";

/// Writes the rule, before udev starts.
pub(crate) fn supply(disk: &Disk) -> io::Result<()> {
    let path = disk
        .device_path()
        .ok_or_else(|| io::Error::other("the disk has no path in /sys"))?;
    fs::create_dir_all(FOLDER)?;
    fs::write(Path::new(FOLDER).join(FILE), rule(path)?)
}

/// The rule for the disk with this DEVPATH.
fn rule(device_path: &str) -> io::Result<String> {
    // What udev would take for a pattern or for the end of the string (udev(7)).
    if device_path.contains(['"', '\\', '*', '?', '[', '|']) {
        return Err(io::Error::other(format!(
            "the disk's path is not for a udev rule: {device_path}"
        )));
    }
    let block = "ACTION!=\"remove\", SUBSYSTEM==\"block\", ENV{DEVTYPE}";
    let partition = format!("{block}==\"partition\", DEVPATH==\"{device_path}/*\"");
    let slot = |number, name| {
        format!(
            "{partition}, ENV{{ID_PART_ENTRY_NUMBER}}==\"{number}\", SYMLINK+=\"disk/fleet/fleet-root-{name}\"\n"
        )
    };
    let named = |property: &str| {
        format!("ENV{{{property}}}==\"fleet-boot|fleet-data\", SYMLINK+=\"disk/fleet/$env{{{property}}}\"")
    };
    Ok(format!(
        "# Made by fleet-preinit: the partitions of the disk that the root is on, and of no other.\n\
         {partition}, {}\n\
         {partition}, ENV{{ID_FS_LABEL}}==\"\", {}\n\
         {}{}\
         {block}==\"disk\", DEVPATH==\"{device_path}\", SYMLINK+=\"disk/fleet/disk\"\n",
        named("ID_FS_LABEL"),
        named("ID_PART_ENTRY_NAME"),
        slot(2, 'a'),
        slot(3, 'b'),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_one_disk() {
        let rule = rule("/devices/pci0000:00/0000:00:04.0/virtio1/block/vda").unwrap();
        assert!(
            rule.contains("DEVPATH==\"/devices/pci0000:00/0000:00:04.0/virtio1/block/vda/*\""),
            "{rule}"
        );
        for property in ["ID_FS_LABEL", "ID_PART_ENTRY_NAME"] {
            let named = format!(
                "ENV{{{property}}}==\"fleet-boot|fleet-data\", SYMLINK+=\"disk/fleet/$env{{{property}}}\"\n"
            );
            assert!(rule.contains(&named), "{rule}");
        }
        let slot = "ENV{ID_PART_ENTRY_NUMBER}==\"3\", SYMLINK+=\"disk/fleet/fleet-root-b\"\n";
        assert!(rule.contains(slot), "{rule}");
        let disk = "==\"disk\", DEVPATH==\"/devices/pci0000:00/0000:00:04.0/virtio1/block/vda\", \
                    SYMLINK+=\"disk/fleet/disk\"\n";
        assert!(rule.contains(disk), "{rule}");
    }

    #[test]
    fn a_path_that_would_be_a_pattern_is_refused() {
        assert!(rule("/devices/*/block/vda").is_err());
    }
}
