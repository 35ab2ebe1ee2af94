//! The disk: five partitions of a GPT with fixed GUIDs. Also written as `layout.json`, for programs that place files
//! on the boot partition of a copy (`mcopy -i COPY@@START`) or boot the kernel directly.

use serde::Serialize;

const MIB: u64 = 1 << 20;

/// Where the first partition begins, as in meta-fleet's fleet-gpt.wks.in: what is before it is for a boot loader's
/// environment (docs/boot.md).
const FIRST: u64 = 12 * MIB;

/// What the kernel gets besides `root=`; grub.cfg and a direct boot use the same words. gpt_auto is off because
/// /etc/fstab says what is mounted; a panic restarts, as on a device in the field.
pub(super) const COMMAND_LINE: &str = "ro rootfstype=ext4 init=/usr/libexec/fleet/fleet-preinit console=ttyS0,115200 \
     loglevel=4 panic=10 systemd.gpt_auto=0";

/// The identity of the disk; copies share it.
pub(super) const DISK_GUID: &str = "f1ee7000-d15c-4000-8000-000000000000";

/// The whole disk.
#[derive(Serialize)]
pub struct Layout {
    /// Size of disk.img in bytes. A copy may be longer: systemd-repart grows the data partition into the rest.
    pub size: u64,
    /// Kernel command line to start slot A with build/reference/{vmlinuz,initrd.img}.
    pub command_line: String,
    /// In the order of the disk; `number` counts from 1.
    pub partitions: Vec<Partition>,
}

/// One partition.
#[derive(Serialize)]
pub struct Partition {
    /// GPT partition name and file-system label.
    pub name: &'static str,
    /// Its number in the GPT.
    pub number: u32,
    /// First byte.
    pub start: u64,
    /// Size in bytes.
    pub size: u64,
    /// Partition GUID (PARTUUID), lower case; the file system's UUID too where it is ext4.
    pub guid: String,
    /// GPT type GUID.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

/// EFI system partition.
const TYPE_ESP: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
/// Linux root (x86-64), Discoverable Partitions Specification.
const TYPE_ROOT: &str = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709";
/// Linux file-system data.
const TYPE_LINUX: &str = "0fc63daf-8483-4772-8e79-3d69d8477de4";
/// Fleet OS data, a type of its own: by it systemd-repart knows the partition to grow
/// (dist/usr/lib/repart.d/50-fleet-data.conf), and no generator takes it for something else.
const TYPE_DATA: &str = "b7c2f0a4-5d1e-4e8b-9a63-2f8d1c07e5fa";

const PARTITIONS: &[(&str, u64, &str)] = &[
    ("fleet-boot", 64, TYPE_ESP),
    ("fleet-root-a", 512, TYPE_ROOT),
    ("fleet-root-b", 512, TYPE_ROOT),
    ("fleet-state", 64, TYPE_LINUX),
    ("fleet-data", 128, TYPE_DATA),
];

impl Layout {
    /// The layout of the reference image.
    pub fn new() -> Self {
        let mut start = FIRST;
        let mut partitions = Vec::new();
        for (number, &(name, mebibytes, kind)) in (1..).zip(PARTITIONS) {
            let size = mebibytes * MIB;
            let guid = format!("f1ee7000-d15c-4000-8000-{number:012}");
            partitions.push(Partition {
                name,
                number,
                start,
                size,
                guid,
                kind,
            });
            start += size;
        }
        let mut layout = Self {
            // The last mebibyte holds the second copy of the GPT.
            size: start + MIB,
            command_line: String::new(),
            partitions,
        };
        let slot_a = layout
            .partition("fleet-root-a")
            .map(|slot| slot.guid.clone())
            .unwrap_or_default();
        layout.command_line = format!("root=PARTUUID={slot_a} rauc.slot=A {COMMAND_LINE}");
        layout
    }

    /// The partition with this name.
    pub fn partition(&self, name: &str) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_follow_each_other_on_whole_mebibytes() {
        let layout = Layout::new();
        let mut end = FIRST;
        for partition in &layout.partitions {
            assert_eq!(partition.start, end, "{}", partition.name);
            assert_eq!(partition.size % MIB, 0);
            end += partition.size;
        }
        assert_eq!(layout.size, end + MIB);
    }

    #[test]
    fn a_name_fits_a_fat_label() {
        assert!(Layout::new().partitions[0].name.len() <= 11);
    }

    #[test]
    fn slot_a_is_on_the_command_line() {
        let line = Layout::new().command_line;
        assert!(
            line.starts_with("root=PARTUUID=f1ee7000-d15c-4000-8000-000000000002 "),
            "{line}"
        );
    }
}
