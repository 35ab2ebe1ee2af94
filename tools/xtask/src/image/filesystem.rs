//! ext4 in the disk image, by the image's own e2fsprogs: 1.47.2 takes every time from `SOURCE_DATE_EPOCH`, Debian
//! 12's does not, so the result depends neither on the host's version nor on when files were read.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::SOURCE_DATE_EPOCH;
use super::layout::Partition;
use crate::step::Steps;

const BLOCK: u64 = 4096;
/// GRUB 2.12 reads neither of them.
const NOT_FOR_GRUB: &str = "^metadata_csum_seed,^orphan_file";

/// The tools of a root directory, run by its own dynamic loader: no chroot needed to reach the disk image.
pub(super) struct Ext4 {
    root: PathBuf,
}

impl Ext4 {
    /// The tools of the image's root, which is also what slots are filled with.
    pub(super) fn of_image(root: PathBuf) -> Self {
        Self { root }
    }

    /// A root slot: no journal, because nothing ever writes there, and `read-only` so that no mount can.
    pub(super) fn slot(&self, steps: &Steps, partition: &Partition, disk: &Path) -> anyhow::Result<()> {
        let mut command = self.mke2fs(partition, &format!("^has_journal,^resize_inode,{NOT_FOR_GRUB}"));
        command.arg("-d").arg(&self.root);
        steps.run("disk", at(&mut command, partition, disk))?;
        // mke2fs does not take this feature.
        let mut protect = self.tool("tune2fs");
        protect
            .args(["-O", "read-only"])
            .arg(format!("{}?offset={}", disk.display(), partition.start));
        steps.run("disk", &protect)
    }

    /// State or data: empty; fleet-preinit and systemd-tmpfiles make what belongs there, on every device alike.
    pub(super) fn empty(&self, steps: &Steps, partition: &Partition, disk: &Path) -> anyhow::Result<()> {
        let mut command = self.mke2fs(partition, NOT_FOR_GRUB);
        steps.run("disk", at(&mut command, partition, disk))
    }

    fn mke2fs(&self, partition: &Partition, features: &str) -> Command {
        let mut command = self.tool("mke2fs");
        command.args([
            "-q",
            "-F",
            "-t",
            "ext4",
            "-m",
            "0",
            "-b",
            &block(partition).to_string(),
            "-O",
            features,
        ]);
        command.args(["-L", partition.name, "-U", &partition.guid, "-E"]);
        // Inode tables are zero already: the file is new and sparse.
        command.arg(format!(
            "offset={},hash_seed={},root_owner=0:0,nodiscard,lazy_itable_init=0,assume_storage_prezeroed=1",
            partition.start, partition.guid
        ));
        command
    }

    fn tool(&self, name: &str) -> Command {
        let libraries = self.root.join("usr/lib/x86_64-linux-gnu");
        let mut command = Command::new(libraries.join("ld-linux-x86-64.so.2"));
        command
            .arg("--library-path")
            .arg(&libraries)
            .arg(self.root.join("usr/sbin").join(name));
        command.env("MKE2FS_CONFIG", self.root.join("etc/mke2fs.conf"));
        command
            .env("SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH)
            .env("E2FSPROGS_FAKE_TIME", SOURCE_DATE_EPOCH);
        command
    }
}

/// The block size. On the small state partition blocks of 4 KiB would all be in one group, and so without a second copy
/// of the superblock: one torn write to it, and e2fsck has nothing to repair it from.
fn block(partition: &Partition) -> u64 {
    if partition.name == "fleet-state" {
        1024
    } else {
        BLOCK
    }
}

/// Adds the file and the number of blocks.
fn at<'a>(command: &'a mut Command, partition: &Partition, disk: &Path) -> &'a Command {
    command
        .arg(disk)
        .arg((partition.size / block(partition)).to_string())
}
