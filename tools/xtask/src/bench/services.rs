//! What the resident services take: memory and wake-ups against other daemons of the same guest, exposure of the
//! sandboxes, size of the executable, time to boot and to switch.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Map, Value, json};
use testbed::{Device, Tier};

use super::{median, ratio};
use crate::arm::{self, EXECUTABLES};
use crate::image::checkout;

/// What stays resident: ours, and the baselines.
const RESIDENT: [&str; 4] = ["fleet-config", "fleet-watch", "dbus", "NetworkManager"];
/// Those whose memory has one budget.
const OURS: [&str; 2] = ["fleet-config", "fleet-watch"];
/// What is started by a call and leaves again.
const ON_DEMAND: [&str; 2] = ["fleet-journal", "fleet-helper"];

/// By when that is gone.
const LEFT: Duration = Duration::from_secs(60);

/// What was measured.
pub(super) struct Services {
    idle_seconds: u64,
    processes: Vec<Process>,
    /// Name and bytes; those for other processors as `cargo xtask arm` has built them last.
    executables: Vec<(String, u64)>,
    settled: Duration,
    /// Milliseconds.
    edit: u64,
    persist: u64,
    volatile: u64,
}

/// Measures in a container; `root` is the image's root, `idle` the seconds of rest in which wake-ups are counted.
pub(super) fn measure(root: &Path, repeat: usize, idle: u64) -> anyhow::Result<Services> {
    let size = |name: &str| -> anyhow::Result<(String, u64)> {
        let path = root.join("usr/libexec/fleet").join(name);
        Ok((name.to_owned(), fs::metadata(path)?.len()))
    };
    let mut executables: Vec<_> = EXECUTABLES.into_iter().map(size).collect::<Result<_, _>>()?;
    executables.extend(arm::sizes(&checkout()?.join(arm::OUTPUT)));
    eprintln!("bench: booting");
    let started = Instant::now();
    let mut device = Device::boot(Tier::Nspawn).start()?;
    let settled = started.elapsed();

    let mut processes = Vec::new();
    // A stored journal is looked after too. Let what was started leave first.
    device.run("fleet journal persist")?.succeeds()?;
    for unit in ON_DEMAND {
        let state = format!("systemctl show -P ActiveState {unit}");
        device.soon(LEFT, &state, "inactive")?;
    }
    eprintln!("bench: counting wake-ups for {idle} s");
    let before = sample_all(&mut device, &RESIDENT)?;
    std::thread::sleep(Duration::from_secs(idle));
    // Memory is that of both at the same moment: they share the executable's pages, and PSS divides these among those who
    // run.
    let after = sample_all(&mut device, &RESIDENT)?;
    for ((name, before), after) in RESIDENT.into_iter().zip(before).zip(after) {
        ensure!(before.pid == after.pid, "{name} restarted while it was measured");
        let wakeups = after.wakeups - before.wakeups;
        processes.push(process(&mut device, name, &after, Some(wakeups))?);
    }
    // The helper is started by what fleet-journal asks of it.
    device.run("fleet journal volatile")?.succeeds()?;
    for (unit, sample) in ON_DEMAND.into_iter().zip(sample_all(&mut device, &ON_DEMAND)?) {
        processes.push(process(&mut device, unit, &sample, None)?);
    }

    eprintln!("bench: timing {repeat} edits and switches");
    let edit = timed(&mut device, repeat, EDIT)?;
    let persist = timed(
        &mut device,
        repeat,
        "fleet journal volatile >&2; t=$(now); fleet journal persist >&2; echo $(( $(now) - t ))",
    )?;
    let volatile = timed(
        &mut device,
        repeat,
        "fleet journal persist >&2; t=$(now); fleet journal volatile >&2; echo $(( $(now) - t ))",
    )?;
    Ok(Services {
        idle_seconds: idle,
        processes,
        executables,
        settled,
        edit,
        persist,
        volatile,
    })
}

impl Services {
    /// For people.
    pub(super) fn print(&self) {
        print_table(&self.processes, self.baseline());
        println!("  wake-ups are those of {} s", self.idle_seconds);
        println!(
            "resident services, PSS in sum   {} KiB ({} of dbus-daemon)",
            self.sum(),
            ratio(self.sum(), self.baseline())
        );
        for (name, bytes) in &self.executables {
            println!("{name:<31} {bytes} bytes");
        }
        println!("boot to settled, nspawn         {} ms", self.settled.as_millis());
        println!(
            "edit of config.json to hostname {} ms (250 ms of it wait for the editor to be quiet)",
            self.edit
        );
        println!(
            "journal to flash, to RAM        {} ms, {} ms",
            self.persist, self.volatile
        );
    }

    fn sum(&self) -> u64 {
        let ours = self
            .processes
            .iter()
            .filter(|process| OURS.contains(&process.name));
        ours.map(|process| process.pss_kib).sum()
    }

    /// The memory of dbus-daemon.
    fn baseline(&self) -> u64 {
        let mut processes = self.processes.iter();
        let dbus = processes.find(|process| process.name == "dbus");
        dbus.map_or(1, |process| process.pss_kib.max(1))
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let baseline = self.baseline();
        let executables: Map<String, Value> = self
            .executables
            .iter()
            .map(|(name, bytes)| (name.clone(), (*bytes).into()))
            .collect();
        json!({
            "idle_seconds": self.idle_seconds,
            "executable_bytes": executables,
            "resident_services_pss_kib": self.sum(),
            "settled_nspawn_ms": u64::try_from(self.settled.as_millis()).unwrap_or(u64::MAX),
            "edit_to_hostname_ms": self.edit,
            "journal_persist_ms": self.persist,
            "journal_volatile_ms": self.volatile,
            "processes": self.processes.iter().map(|process| process.json(baseline)).collect::<Vec<_>>(),
        })
    }
}

/// From writing the file to the new name in the kernel, in milliseconds.
const EDIT: &str = r#"name=bench-$RANDOM$RANDOM
    new=$(sed -E "s/\"hostname\": *\"[^\"]*\"/\"hostname\": \"$name\"/" /boot/config.json)
    t=$(now); printf '%s\n' "$new" > /boot/config.json
    for try in $(seq 500); do [ "$(uname -n)" = "$name" ] && { echo $(( $(now) - t )); exit; }; sleep 0.01; done
    exit 1"#;

/// What /proc says of a unit's main process.
struct Sample {
    pid: u64,
    threads: u64,
    pss_kib: u64,
    /// Voluntary context switches: each is a sleep that something ended.
    wakeups: u64,
}

/// A line of the table.
struct Process {
    name: &'static str,
    threads: u64,
    pss_kib: u64,
    wakeups: Option<u64>,
    /// `systemd-analyze security`: 0 (nothing is exposed) to 10.
    exposure: String,
}

impl Process {
    fn json(&self, baseline: u64) -> Value {
        json!({
            "unit": self.name,
            "threads": self.threads,
            "pss_kib": self.pss_kib,
            "pss_of_dbus_daemon": ratio(self.pss_kib, baseline),
            "wakeups": self.wakeups,
            "exposure": self.exposure,
        })
    }
}

fn print_table(processes: &[Process], baseline: u64) {
    println!("unit             threads  PSS/KiB  of dbus-daemon  wake-ups  exposure");
    for process in processes {
        let wakeups = process
            .wakeups
            .map_or_else(|| "on demand".to_owned(), |wakeups| wakeups.to_string());
        println!(
            "{:16} {:7}  {:7}  {:>14}  {wakeups:>8}  {:>8}",
            process.name,
            process.threads,
            process.pss_kib,
            ratio(process.pss_kib, baseline),
            process.exposure
        );
    }
}

fn sample_all(device: &mut Device, units: &[&str]) -> anyhow::Result<Vec<Sample>> {
    units.iter().map(|unit| sample(device, unit)).collect()
}

fn sample(device: &mut Device, unit: &str) -> anyhow::Result<Sample> {
    let output = device
        .run(&format!(
            "p=$(systemctl show -P MainPID {unit}); echo $p; \
             awk '/^Threads:|^voluntary_ctxt_switches:/ {{print $2}}' /proc/$p/status; \
             awk '/^Pss:/ {{print $2}}' /proc/$p/smaps_rollup"
        ))?
        .succeeds()?;
    let text = output.text();
    let numbers: Vec<u64> = text
        .lines()
        .map(str::parse)
        .collect::<Result<_, _>>()
        .with_context(|| format!("{unit}: {text}"))?;
    let [pid, threads, wakeups, pss_kib] = numbers[..] else {
        anyhow::bail!("{unit} does not run: {output}");
    };
    Ok(Sample {
        pid,
        threads,
        pss_kib,
        wakeups,
    })
}

fn process(
    device: &mut Device,
    name: &'static str,
    sample: &Sample,
    wakeups: Option<u64>,
) -> anyhow::Result<Process> {
    let exposure = device
        .run(&format!("systemd-analyze security --no-pager {name} | sed -nE 's/.*exposure level for [^:]*: ([0-9.]+).*/\\1/p'"))?
        .text();
    Ok(Process {
        name,
        threads: sample.threads,
        pss_kib: sample.pss_kib,
        wakeups,
        exposure,
    })
}

/// Runs a script that prints milliseconds `repeat` times; returns the median.
fn timed(device: &mut Device, repeat: usize, script: &str) -> anyhow::Result<u64> {
    let mut times = Vec::new();
    for _ in 0..repeat.max(1) {
        let output = device.run(&format!(
            "exec bash -c 'now() {{ echo $(( $(date +%s%N) / 1000000 )); }}\n{}'",
            script.replace('\'', r"'\''")
        ))?;
        times.push(
            output
                .clone()
                .succeeds()?
                .text()
                .parse::<u64>()
                .with_context(|| output.to_string())?,
        );
    }
    median(times)
}
