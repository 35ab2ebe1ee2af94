//! The data partition of an MBR disk grows at the first boot, whatever the power does meanwhile, and nothing is written when
//! it has grown.

#![cfg(feature = "long")]

#[path = "grow_mbr/medium.rs"]
mod medium;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use medium::{Folder, MIB, SIZE, Table};
use powercut::disk::Image;
use powercut::write_log::WriteLog;
use testbed::{Device, Reference, Tier};

/// What fleet-grow-data said at this boot.
const SAID: &str = "journalctl -b -u fleet-grow-data -o cat -t fleet-grow-data --no-pager";

#[test]
fn grows_once_also_if_the_power_is_cut_between_its_steps() -> Result<()> {
    let folder = Folder::new()?;
    let disk = folder.path("mbr.img");
    medium::make(&Reference::locate()?, &disk)?;
    let first = Table::read(&disk)?;
    println!("the table of the image: {first:?}");

    let boot = Device::boot(Tier::Qemu).direct_kernel("").disk(&disk);
    let mut device = boot.record_disk().start()?;
    has_grown(&mut device)?;
    let said = device.run(SAID)?.succeeds()?.text();
    println!("{said}");
    ensure!(said == "the data partition of /dev/vda has grown from 128 MiB to 876 MiB");
    // The growth was over before anything looked into the partition, so that growfs grew it at the same boot.
    let order = "systemctl show -P InactiveExitTimestampMonotonic -P ActiveEnterTimestampMonotonic";
    device
        .run(&format!(
            "test $({order} fleet-grow-data | tail -n 1) -le $({order} data.mount | head -n 1)"
        ))?
        .succeeds()?;
    device
        .run("systemd-analyze security --no-pager --threshold=20 fleet-grow-data")?
        .succeeds()?;
    let log = folder.path("disk.log");
    std::fs::copy(device.recording(), &log)?;
    let base = folder.path("first.img");
    device.first_disk(&base)?;

    // The second boot, after a power cut: nothing is said, and nothing is written to the table.
    device.cut()?;
    has_grown(&mut device)?;
    device.run(SAID)?.says("")?;
    let second = WriteLog::open(&device.recording())?;
    let writes = table_writes(&second, &first);
    ensure!(
        writes.is_empty(),
        "the second boot wrote to the table: {writes:?}"
    );
    ensure!(!second.entries.is_empty(), "nothing at all was recorded");
    drop(device);

    // Every moment of the first one.
    let log = WriteLog::open(&log)?;
    let writes = table_writes(&log, &first);
    println!("requests that changed the table: {writes:?}");
    ensure!(
        writes.len() == 2,
        "the extended partition and the logical one: {writes:?}"
    );
    ensure!(
        log.entries[writes[0]..writes[1]]
            .iter()
            .any(|entry| entry.is_flush),
        "the first is not on the medium when the second is begun"
    );
    let data = (1172 * MIB, 128 * MIB, 876 * MIB);
    let middle = folder.path("middle.img");
    moment(&log, &base, writes[0], &middle)?;
    let extended = Table::read(&middle)?;
    ensure!(extended.data() == (data.0, data.1), "{extended:?}");
    ensure!(
        extended.extended_end() == SIZE && extended.is_whole(),
        "{extended:?}"
    );
    let end = folder.path("end.img");
    moment(&log, &base, writes[1], &end)?;
    let grown = Table::read(&end)?;
    ensure!(grown.data() == (data.0, data.2), "{grown:?}");
    ensure!(grown.extended_end() == SIZE && grown.is_whole(), "{grown:?}");

    // The one between the two steps, booted.
    let mut device = Device::boot(Tier::Qemu).direct_kernel("").disk(&middle).start()?;
    has_grown(&mut device)?;
    device
        .run(SAID)?
        .says("the data partition of /dev/vda has grown from 128 MiB to 876 MiB")
        .map(drop)
}

/// Everything runs, and the data partition with its file system goes to the end of the medium.
fn has_grown(device: &mut Device) -> Result<()> {
    device.run("systemctl is-system-running")?.says("running")?;
    device
        .run("readlink -f /dev/disk/fleet/fleet-data /dev/disk/fleet/fleet-root-a")?
        .says("/dev/vda6\n/dev/vda2")?;
    device
        .run("cat /sys/class/block/vda6/size")?
        .says(&(876 * MIB / 512).to_string())?;
    let blocks = device
        .run("findmnt -bno SIZE /data")?
        .succeeds()?
        .text()
        .parse::<u64>()
        .context("findmnt says no size")?;
    ensure!(blocks > 700 * MIB, "the file system has {blocks} bytes");
    Ok(())
}

/// The requests that write to a sector of the partition table: by their place in the recording.
fn table_writes(log: &WriteLog, table: &Table) -> Vec<usize> {
    // Between the partitions, where a logical one's own sector is, nothing else is written.
    let gaps = table.gaps();
    let entries = log.entries.iter().enumerate();
    let writes =
        entries.filter(|(_, entry)| gaps.iter().any(|&(start, end)| entry.touches(start, end - start)));
    writes.map(|(at, _)| at).collect()
}

/// The disk after this request of the recording.
fn moment(log: &WriteLog, base: &Path, last: usize, to: &Path) -> Result<()> {
    Image::whole(base)?.copy(to)?;
    let disk = Image::whole(to)?;
    for entry in &log.entries[..=last] {
        disk.apply(log, entry)?;
    }
    Ok(())
}
