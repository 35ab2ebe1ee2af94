//! What there is beyond the memory is compressed memory, and nothing of it reaches the disk.

#![cfg(feature = "long")]

use anyhow::{Context, Result, ensure};
use testbed::{Device, Tier};

#[test]
fn swap_is_memory_and_holds_what_does_not_fit() -> Result<()> {
    let mut device = Device::boot(Tier::Qemu).direct_kernel("").start()?;
    device.run("systemctl is-system-running")?.says("running")?;
    device
        .run("swapon --show=NAME,PRIO --noheadings --raw; cat /sys/block/zram0/disksize /sys/block/zram0/backing_dev")?
        .says("/dev/zram0 100\n268435456\nnone")?;
    device
        .run("cat /proc/sys/vm/swappiness /proc/sys/vm/page-cluster")?
        .says("100\n0")?;
    let written = "awk '{print $7}' /sys/block/vda/stat";
    let before = number(&mut device, written)?;

    // What the services hold, as far as the kernel gets it: they go on as before.
    device.run("echo '64M swappiness=200' >/sys/fs/cgroup/system.slice/memory.reclaim || true")?;
    let idle = swapped(&mut device)?;
    println!("of the services: {idle}");
    ensure!(idle.kibibytes > 4 << 10, "{idle}");
    device.run("fleet status")?.succeeds()?.mentions("online")?;

    // 32 MiB more than the memory that there is, in a file system that is memory, of what is in executables.
    let available = number(
        &mut device,
        "sed -n 's/^MemAvailable: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo",
    )?;
    let size = available + (32 << 10);
    device
        .run(&format!(
            "mkdir /run/held && mount -t tmpfs -o size=100% held /run/held && \
             (while cat /usr/libexec/fleet/fleet-services; do :; done 2>/dev/null) | head -c {size}K >/run/held/file"
        ))?
        .succeeds()?;
    device
        .run("stat -c %s /run/held/file")?
        .says(&(size << 10).to_string())?;
    let held = swapped(&mut device)?;
    println!("{size} KiB held where {available} were available: {held}");
    ensure!(held.kibibytes > 32 << 10, "{held}");

    // Nothing was killed for it, and the disk has had nothing of it: a MiB is far less.
    device.run("systemctl is-system-running")?.says("running")?;
    device
        .run("journalctl -b -k -o cat --no-pager | grep -i 'out of memory'")?
        .fails()?;
    let sectors = number(&mut device, written)? - before;
    ensure!(sectors < 2048, "{sectors} sectors were written to the disk");
    Ok(())
}

/// What is in swap, and what it takes.
struct Swapped {
    kibibytes: u64,
    /// `mm_stat` (Documentation/admin-guide/blockdev/zram.rst of the kernel).
    state: String,
}

impl std::fmt::Display for Swapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} KiB swapped out; mm_stat: {}", self.kibibytes, self.state)
    }
}

fn swapped(device: &mut Device) -> Result<Swapped> {
    Ok(Swapped {
        kibibytes: number(device, "awk '$1 == \"/dev/zram0\" {print $4}' /proc/swaps")?,
        state: device.run("cat /sys/block/zram0/mm_stat")?.succeeds()?.text(),
    })
}

fn number(device: &mut Device, command: &str) -> Result<u64> {
    let text = device.run(command)?.succeeds()?.text();
    text.parse().with_context(|| format!("{command} says {text}"))
}

#[test]
fn a_kernel_without_it_goes_on_without() -> Result<()> {
    let mut device = Device::boot(Tier::Qemu)
        .direct_kernel("module_blacklist=zram")
        .start()?;
    device.run("swapon --show --noheadings")?.says("")?;
    device.run("systemctl is-system-running")?.says("running")?;
    device.run("systemctl --failed --no-legend")?.says("").map(drop)
}
