//! What it costs to know how far the device reaches: the time from NetworkManager's signal to the published verdict, against
//! a program that does the least, and memory over many changes.

use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};
use testbed::{Device, Tier};

use super::example::{Example, microseconds};
use super::ratio;

/// The rule that is measured against, microseconds more than the least.
const WANTED: u64 = 2000;
/// Changes before memory is looked at for the first time: what is kept is made by then.
const FIRST: u32 = 20;

/// What was measured.
pub(super) struct Connectivity {
    transitions: u32,
    /// Microseconds from the signal to ours, and to that of the program that does the least.
    ours: u64,
    bare: u64,
    /// KiB of fleet-watch after the first changes and after all.
    memory: [u64; 2],
}

/// Measures in a container.
pub(super) fn measure(checkout: &Path, transitions: u32) -> anyhow::Result<Connectivity> {
    let example = Example::build(checkout, "fleet-watch", "connectivity_latency")?;
    let mut device = Device::boot(Tier::Nspawn).start()?;
    example.put_into(&device)?;
    let program = "/data/bench/connectivity_latency";
    let seconds = transitions / 4;
    eprintln!("bench: {transitions} changes of the network, about {seconds} s");
    let observe = |object: &str, count: u32| format!("{program} observe /org/fleetos/{object} {count}");
    let watch = observe("Connectivity1", FIRST);
    device.run(&watch)?.succeeds()?;
    let first = private(&mut device)?;
    let ours = microseconds(&mut device, &observe("Connectivity1", transitions))?;
    let last = private(&mut device)?;
    // NetworkManager serves one at a time.
    let bare = format!(
        "systemctl stop fleet-watch && systemd-run --quiet --unit bench-bare {program} bare && sleep 1 && {}; \
         systemctl stop bench-bare",
        observe("Bench1", transitions.min(100))
    );
    let bare = microseconds(&mut device, &bare)?;
    Ok(Connectivity {
        transitions,
        ours,
        bare,
        memory: [first, last],
    })
}

impl Connectivity {
    /// For people.
    pub(super) fn print(&self) {
        let Self {
            transitions,
            ours,
            bare,
            memory: [first, last],
        } = self;
        println!();
        println!("from NetworkManager's signal to the verdict  {ours:>6} µs");
        println!(
            "the least that a program does for it         {bare:>6} µs          {} of it, {} µs more; wanted is at most {WANTED}",
            ratio(*ours, *bare),
            ours.saturating_sub(*bare)
        );
        println!("memory of its own after {FIRST} changes           {first:>6} KiB");
        println!("  after {transitions} more                      {last:>8} KiB");
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        json!({
            "transitions": self.transitions,
            "signal_to_verdict_us": self.ours,
            "bare_us": self.bare,
            "verdict_of_bare": ratio(self.ours, self.bare),
            "memory_kib": self.memory,
        })
    }
}

/// The memory that is fleet-watch's alone, KiB: what it shares does not grow with it.
fn private(device: &mut Device) -> anyhow::Result<u64> {
    let text = device
        .run("awk '/^Private_/ {sum += $2} END {print sum}' /proc/$(systemctl show -P MainPID fleet-watch)/smaps_rollup")?
        .succeeds()?
        .text();
    text.trim()
        .parse()
        .with_context(|| format!("fleet-watch's memory: {text}"))
}
