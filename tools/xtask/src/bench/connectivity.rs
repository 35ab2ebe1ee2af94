//! What it costs to know how far the device reaches: the time from NetworkManager's signal to the published verdict, against
//! a program that does the least, and memory over many changes.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};
use testbed::{Device, Dns, Http, Link, Switch, Tier};

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
    /// Milliseconds from a fault, or from the change after it, to the verdict that tells it; in the order of [`FAULTS`].
    shown: Vec<u64>,
    /// Bytes a month at rest on a metered uplink, the check included: on Ethernet, and what of them is IP's.
    month: [u64; 2],
}

/// What goes wrong, the verdict that tells it, and how long that may take, seconds.
const FAULTS: [(&str, &str, u32); 4] = [
    ("carrier", "none no-carrier", 10),
    ("gateway", "address gateway-silent", 10),
    ("DNS", "gateway resolver-silent", 40),
    ("internet", "dns check-timeout", 40),
];
const VERDICT: &str = "jq -r '[.level, .reason] | join(\" \")' /run/fleet/connectivity.json";
const PATIENCE: Duration = Duration::from_secs(120);

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
        shown: shown()?,
        month: month(Duration::from_secs(rest.max(ROUND)))?,
    })
}

/// Makes the faults, one at a time. The cable is pulled; the others are there when the connection is activated again, which
/// is the change that has them looked for.
fn shown() -> anyhow::Result<Vec<u64>> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    eprintln!("bench: how soon a fault shows, about two minutes");
    let mut times = Vec::new();
    for (name, verdict, _) in FAULTS {
        let start;
        match name {
            "gateway" => device.world().gateway(Switch::Off)?,
            "DNS" => device.world().dns(Dns::Silent)?,
            "internet" => device.world().http(Http::Silent)?,
            _ => {}
        }
        if name == "carrier" {
            start = Instant::now();
            device.world().link(Link::Down)?;
        } else {
            device
                .run("nmcli --wait 0 connection up 'Wired connection 1'")?
                .succeeds()?;
            start = Instant::now();
        }
        device.soon(PATIENCE, VERDICT, verdict)?;
        times.push(u64::try_from(start.elapsed().as_millis())?);
        match name {
            "gateway" => device.world().gateway(Switch::On)?,
            "DNS" => device.world().dns(Dns::Ok)?,
            "internet" => device.world().http(Http::Ok)?,
            _ => device.world().link(Link::Up)?,
        }
        device.soon(PATIENCE, VERDICT, "internet none")?;
    }
    Ok(times)
}

/// Counts the bytes of some rounds on a metered uplink, without those that pass there anyway.
fn month(rest: Duration) -> anyhow::Result<[u64; 2]> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    eprintln!(
        "bench: bytes of rounds on a metered uplink, {} s",
        2 * rest.as_secs() + 70
    );
    let configuration = format!(
        r#"{{"os":{{"network":{{"probe":{{"meteredInterval":{ROUND},"monthlyBudget":1000000000}},"connectivity":{{"interval":{ROUND}}}}}}}}}"#
    );
    // What tells the time and the name of the device is not the watcher's, and comes when it likes.
    device
        .run("systemctl stop chrony avahi-daemon.socket avahi-daemon")?
        .succeeds()?;
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
    let month = |n: usize| with[n].saturating_sub(without[n]) * ROUND * ROUNDS / rest.as_secs();
    Ok([month(0), month(1)])
}

/// What passes in this time, from the IP header on, and by itself what of it is IP's: on a line without ARP there is no more.
fn bytes(device: &mut Device, rest: Duration) -> anyhow::Result<[u64; 2]> {
    const ETHERNET: u64 = 14;
    // The kernel's counters of IP are those of all interfaces: nothing of ours goes over the loopback.
    const COUNTERS: &str = "cd /sys/class/net/eth0/statistics && cat rx_bytes tx_bytes rx_packets tx_packets && \
                            nstat -asz IpExtInOctets IpExtOutOctets Ip6InOctets Ip6OutOctets | awk '!/^#/ {sum += $2} END {print sum}'";
    let mut count = || -> anyhow::Result<[u64; 2]> {
        let text = device.run(COUNTERS)?.succeeds()?.text();
        let numbers: Result<Vec<u64>, _> = text.lines().map(str::parse).collect();
        let [rx, tx, received, sent, ip] = numbers?[..] else {
            anyhow::bail!("the counters of eth0: {text}");
        };
        Ok([rx + tx - ETHERNET * (received + sent), ip])
    };
    let before = count()?;
    thread::sleep(rest);
    let after = count()?;
    Ok([after[0] - before[0], after[1] - before[1]])
}

impl Connectivity {
    /// For people.
    pub(super) fn print(&self) {
        let Self {
            transitions,
            ours,
            bare,
            memory: [first, last],
            shown,
            month: [month, ip],
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
        for ((name, _, wanted), milliseconds) in FAULTS.iter().zip(shown) {
            println!(
                "a fault of {name:<9} shows after         {milliseconds:>8} ms          wanted is at most {wanted} s"
            );
        }
        println!(
            "bytes a month at rest, metered uplink      {month:>8}          {ip} of them are IP's, the rest ARP"
        );
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        json!({
            "transitions": self.transitions,
            "signal_to_verdict_us": self.ours,
            "bare_us": self.bare,
            "verdict_of_bare": ratio(self.ours, self.bare),
            "memory_kib": self.memory,
            "fault_shown_ms": FAULTS.iter().zip(&self.shown).map(|((name, ..), time)| (*name, *time)).collect::<BTreeMap<_, _>>(),
            "metered_bytes_a_month": self.month[0],
            "metered_ip_bytes_a_month": self.month[1],
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
