//! What a device at rest writes to each partition, and who does if anybody does.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Map, Value, json};
use testbed::{Device, Tier};

use super::flash;

/// All of them: the image's own configuration, with the journal in RAM.
const PARTITIONS: [&str; 5] = [
    "fleet-boot",
    "fleet-root-a",
    "fleet-root-b",
    "fleet-state",
    "fleet-data",
];

/// The kernel's own record, in RAM (Documentation/trace/events.rst): who makes an inode dirty, and what is sent to the
/// disk.
const RECORD: &str = "cd /sys/kernel/tracing && echo > trace && \
     echo 1 > events/writeback/writeback_mark_inode_dirty/enable && \
     echo 'rwbs ~ \"*W*\"' > events/block/block_rq_issue/filter && \
     echo 1 > events/block/block_rq_issue/enable && echo 1 > tracing_on";

/// What was measured.
pub(super) struct Idle {
    seconds: u64,
    /// Bytes to each partition.
    written: [u64; PARTITIONS.len()],
    /// The kernel's record, if anything was written.
    record: Option<PathBuf>,
}

/// Leaves a device alone for so many seconds, in QEMU. Nothing is stopped: chronyd, NetworkManager's checks, timers and
/// the watchdog go on.
pub(super) fn measure(checkout: &Path, seconds: u64) -> anyhow::Result<Idle> {
    eprintln!("bench: booting QEMU to count what {seconds} s of rest write to the flash");
    let mut device = Device::boot(Tier::Qemu).start()?;
    // What the boot has left to write.
    device.run("sync; sleep 60; sync")?.succeeds()?;
    device.run(RECORD)?.succeeds()?;
    let before = flash::written(&mut device, PARTITIONS)?;
    // Here, not in the guest: asking whether it is over would keep it busy.
    thread::sleep(Duration::from_secs(seconds));
    let after = flash::written(&mut device, PARTITIONS)?;
    let written = std::array::from_fn(|place| after[place] - before[place]);
    let record = match written.iter().any(|bytes| *bytes > 0) {
        true => {
            let text = device.run("cat /sys/kernel/tracing/trace")?.succeeds()?.text();
            let path = checkout.join("build/bench-idle.trace");
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            Some(path)
        }
        false => None,
    };
    Ok(Idle {
        seconds,
        written,
        record,
    })
}

impl Idle {
    /// For people.
    pub(super) fn print(&self) {
        println!();
        println!("bytes to flash at rest, in {} s", self.seconds);
        for (name, bytes) in PARTITIONS.iter().zip(self.written) {
            println!("  {name:<28}  {bytes:>8}");
        }
        if let Some(path) = &self.record {
            println!("  by whom: {}", path.display());
        }
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let bytes = PARTITIONS.iter().zip(self.written);
        let bytes: Map<String, Value> = bytes
            .map(|(name, bytes)| ((*name).to_owned(), bytes.into()))
            .collect();
        json!({"seconds": self.seconds, "bytes": bytes})
    }
}
