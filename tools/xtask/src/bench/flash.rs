//! What reaches the flash: sectors that the kernel's block layer wrote to a partition of a QEMU guest.

use anyhow::Context;
use testbed::Device;

/// Bytes written to each of these partitions since the boot, once everything is written (the seventh field of
/// `/sys/class/block/…/stat`, Documentation/block/stat.rst in the kernel: sectors of 512 bytes, whatever the medium has).
pub(super) fn written<const N: usize>(
    device: &mut Device,
    partitions: [&str; N],
) -> anyhow::Result<[u64; N]> {
    let text = device
        .run(&format!(
            "sync; for name in {}; do \
             awk '{{ print $7 * 512 }}' /sys/class/block/$(basename $(readlink -f /dev/disk/by-partlabel/$name))/stat; done",
            partitions.join(" ")
        ))?
        .succeeds()?
        .text();
    let figures: Result<Vec<u64>, _> = text.lines().map(str::parse).collect();
    figures
        .ok()
        .and_then(|figures| figures.try_into().ok())
        .with_context(|| format!("the block layer's figures: {text}"))
}
