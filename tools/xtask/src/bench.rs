//! `cargo xtask bench`: what our services cost, measured on the running reference image.
//!
//! A table for people, `build/bench.json` for programs. Figures depend on the machine; what can be compared between
//! runs is the ratio to the baseline of the same run: dbus-daemon, a small daemon in C that every such system has, for
//! memory; NetworkManager, which notices the same changes, for wake-ups.

use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use testbed::{Device, Tier, interrupt};

use crate::image::{self, Need};
use crate::setup;

mod apply;
mod flash;
mod journal;

/// What `cargo xtask bench` is asked for.
#[derive(clap::Args)]
pub struct Arguments {
    /// How long to count wake-ups of the idle services.
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    idle: u64,
    /// How often to repeat each timed action.
    #[arg(long, value_name = "N", default_value_t = 10)]
    repeat: usize,
}

/// What stays resident: ours, and the baselines.
const RESIDENT: [&str; 4] = ["fleet-config", "fleet-watch", "dbus", "NetworkManager"];

/// Measures, prints the table and writes the JSON.
pub fn main(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    setup::ensure(&[setup::NSPAWN, setup::QEMU])?;
    let image = image::ensure(Need::Disk)?;
    interrupt::handle()?;
    let executable = fs::metadata(image.directory.join("root/usr/libexec/fleet/fleet"))?.len();

    eprintln!("bench: booting");
    let started = Instant::now();
    let mut device = Device::boot(Tier::Nspawn).start()?;
    let settled = started.elapsed();

    let mut processes = Vec::new();
    // Let what was started by the boot leave first.
    std::thread::sleep(Duration::from_secs(15));
    eprintln!("bench: counting wake-ups for {} s", arguments.idle);
    let before = sample_all(&mut device, &RESIDENT)?;
    std::thread::sleep(Duration::from_secs(arguments.idle));
    let after = sample_all(&mut device, &RESIDENT)?;
    // Reading its properties starts the journal service. Memory is that of the three at the same moment: they share the
    // executable's pages, and PSS divides these among those who run.
    device.run("fleet journal status")?.succeeds()?;
    let memory = sample_all(&mut device, &RESIDENT)?;
    let journal_service = sample(&mut device, "fleet-journal")?;
    for (((name, before), after), memory) in RESIDENT.into_iter().zip(before).zip(after).zip(memory) {
        ensure!(before.pid == memory.pid, "{name} restarted while it was measured");
        processes.push(process(
            &mut device,
            name,
            &memory,
            Some(after.wakeups - before.wakeups),
        )?);
    }
    processes.push(process(&mut device, "fleet-journal", &journal_service, None)?);
    // Started by what the journal service asks of it.
    device
        .run("fleet journal persist && fleet journal volatile")?
        .succeeds()?;
    let helper = sample(&mut device, "fleet-helper")?;
    processes.push(process(&mut device, "fleet-helper", &helper, None)?);

    eprintln!("bench: timing {} edits and switches", arguments.repeat);
    let edit = timed(&mut device, arguments.repeat, EDIT)?;
    let persist = timed(
        &mut device,
        arguments.repeat,
        "fleet journal volatile >&2; t=$(now); fleet journal persist >&2; echo $(( $(now) - t ))",
    )?;
    let volatile = timed(
        &mut device,
        arguments.repeat,
        "fleet journal persist >&2; t=$(now); fleet journal volatile >&2; echo $(( $(now) - t ))",
    )?;

    drop(device);
    let apply = apply::measure(&image::checkout()?, arguments.repeat, arguments.idle)?;

    let journal = journal::measure(arguments.idle)?;

    let ours = ["fleet-config", "fleet-watch", "fleet-journal"];
    let sum: u64 = processes
        .iter()
        .filter(|process| ours.contains(&process.name))
        .map(|process| process.pss_kib)
        .sum();
    let baseline = processes
        .iter()
        .find(|process| process.name == "dbus")
        .map_or(1, |process| process.pss_kib.max(1));

    print_table(&processes, baseline);
    println!(
        "three services, PSS in sum      {sum} KiB ({} of dbus-daemon)",
        ratio(sum, baseline)
    );
    println!("executable                      {executable} bytes");
    println!("boot to settled, nspawn         {} ms", settled.as_millis());
    println!("edit of config.json to hostname {edit} ms (250 ms of it wait for the editor to be quiet)");
    println!("journal to flash, to RAM        {persist} ms, {volatile} ms");
    apply.print();
    journal.print();

    let value = json!({
        "idle_seconds": arguments.idle,
        "executable_bytes": executable,
        "three_services_pss_kib": sum,
        "settled_nspawn_ms": u64::try_from(settled.as_millis())?,
        "edit_to_hostname_ms": edit,
        "journal_persist_ms": persist,
        "journal_volatile_ms": volatile,
        "apply": apply.json(),
        "journal": journal.json(),
        "processes": processes.iter().map(|process| process.json(baseline)).collect::<Vec<_>>(),
    });
    let path = image::checkout()?.join("build/bench.json");
    fs::write(&path, format!("{value:#}\n")).with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("bench: wrote {}", path.display());
    Ok(ExitCode::SUCCESS)
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

/// Two decimals, without floating point.
fn ratio(value: u64, baseline: u64) -> String {
    let hundredths = value * 100 / baseline.max(1);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
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

/// The middle one.
fn median(mut times: Vec<u64>) -> anyhow::Result<u64> {
    times.sort_unstable();
    times
        .get(times.len() / 2)
        .copied()
        .context("nothing was measured")
}
