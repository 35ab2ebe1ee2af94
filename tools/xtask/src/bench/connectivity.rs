//! What it costs to know how far the device reaches: the time from NetworkManager's signal to the published verdict, against
//! a program that does the least, and memory over many changes.

use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};
use testbed::{Device, Tier};

use super::example::{Example, microseconds};
use super::ratio;

/// The rule that is measured against, microseconds more than the least.
const WANTED: u64 = 2000;
/// Changes before memory is looked at for the first time: what is kept is made by then.
const FIRST: u32 = 20;
/// Between two rounds on the metered uplink while its bytes are counted, seconds; and how many rounds a month has at the
/// default of an hour.
const ROUND: u64 = 30;
const ROUNDS: u64 = 30 * 24;
/// Until NetworkManager, whose pauses double, checks at that pace.
const SETTLES: Duration = Duration::from_secs(70);

/// What was measured.
pub(super) struct Connectivity {
    transitions: u32,
    /// Microseconds from the signal to ours, and to that of the program that does the least.
    ours: u64,
    bare: u64,
    /// KiB of fleet-watch after the first changes and after all.
    memory: [u64; 2],
    /// Bytes a month at rest on a metered uplink, the check included.
    month: u64,
}

/// Measures in a container.
pub(super) fn measure(checkout: &Path, transitions: u32, rest: u64) -> anyhow::Result<Connectivity> {
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
        month: month(Duration::from_secs(rest.max(ROUND)))?,
    })
}

/// Counts the bytes of some rounds on a metered uplink, without those that pass there anyway.
fn month(rest: Duration) -> anyhow::Result<u64> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    eprintln!(
        "bench: bytes of rounds on a metered uplink, {} s",
        2 * rest.as_secs() + 70
    );
    let configuration = format!(
        r#"{{"os":{{"network":{{"probe":{{"meteredInterval":{ROUND},"monthlyBudget":1000000000}},"connectivity":{{"interval":{ROUND}}}}}}}}}"#
    );
    device
        .run(&format!(
            "echo '{configuration}' | fleet config apply - && nmcli connection modify 'Wired connection 1' connection.metered \
             yes && nmcli device reapply eth0"
        ))?
        .succeeds()?;
    thread::sleep(SETTLES);
    let with = bytes(&mut device, rest)?;
    device
        .run(
            "systemctl stop fleet-watch && busctl set-property org.freedesktop.NetworkManager \
             /org/freedesktop/NetworkManager org.freedesktop.NetworkManager ConnectivityCheckEnabled b false",
        )?
        .succeeds()?;
    let without = bytes(&mut device, rest)?;
    Ok(with.saturating_sub(without) * ROUND / rest.as_secs() * ROUNDS)
}

/// What passes in this time, from the IP header on.
fn bytes(device: &mut Device, rest: Duration) -> anyhow::Result<u64> {
    const ETHERNET: u64 = 14;
    let mut count = || -> anyhow::Result<u64> {
        let script = "cd /sys/class/net/eth0/statistics && cat rx_bytes tx_bytes rx_packets tx_packets";
        let text = device.run(script)?.succeeds()?.text();
        let numbers: Result<Vec<u64>, _> = text.lines().map(str::parse).collect();
        let [rx, tx, received, sent] = numbers?[..] else {
            anyhow::bail!("the counters of eth0: {text}");
        };
        Ok(rx + tx - ETHERNET * (received + sent))
    };
    let before = count()?;
    thread::sleep(rest);
    Ok(count()? - before)
}

impl Connectivity {
    /// For people.
    pub(super) fn print(&self) {
        let Self {
            transitions,
            ours,
            bare,
            memory: [first, last],
            month,
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
        println!("bytes a month at rest, metered uplink      {month:>8}");
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        json!({
            "transitions": self.transitions,
            "signal_to_verdict_us": self.ours,
            "bare_us": self.bare,
            "verdict_of_bare": ratio(self.ours, self.bare),
            "memory_kib": self.memory,
            "metered_bytes_a_month": self.month,
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
