//! What it costs to apply an edit of `config.json`: processor time against shell and jq, latency against the bare
//! writes and calls, and what reaches the flash. All in one run, each against its baseline.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};
use testbed::{Device, Tier};

use super::example::{Example, microseconds};
use super::{flash, median, ratio};

/// The job by shell and jq.
const SHELL: &str = include_str!("apply.sh");
/// Every key that works in a container, `@N@` being a number of two digits: none of our own keys is left out but those of
/// the board, of the kernel and of Wi-Fi, which a container does not have.
const WHOLE: &str = include_str!("whole.json");
/// The units whose time an apply is.
const UNITS: [&str; 2] = ["fleet-config", "fleet-helper"];
/// How long the helper stays after its last call, and some more.
const HELPER_LEAVES: Duration = Duration::from_secs(7);
/// Where a change of the configuration may write.
const PARTITIONS: [&str; 2] = ["fleet-state", "fleet-boot"];
/// The debounce of an edit (`boot_folder.rs`), microseconds.
const QUIET: u64 = 250_000;

/// An edit of an ordinary file.
struct Edit {
    what: &'static str,
    /// Makes it, each time with another value.
    script: &'static str,
    /// Whether the helper is needed, and is to be started for it.
    is_cold: bool,
    /// What the shell's job is told: the keys that it does.
    keys: &'static str,
}

const HOSTNAME: &str =
    r#"sed -i -E "s/\"hostname\": *\"[^\"]*\"/\"hostname\": \"cpu-$RANDOM$RANDOM\"/" /boot/config.json"#;

/// What most keys cost (a file and a call to their owner), and what those cost that need the helper, which is root and
/// is started by the first call: most of that is systemd's work on the sandbox, and is counted to the unit.
const EDITS: [Edit; 5] = [
    Edit {
        what: "connectivity check",
        script: r#"sed -i -E "s/\"interval\": *[0-9]*/\"interval\": 1$(( RANDOM % 1000 + 1000 ))/" /boot/config.json"#,
        is_cold: false,
        keys: "",
    },
    Edit {
        what: "host name, helper running",
        script: HOSTNAME,
        is_cold: false,
        keys: "",
    },
    Edit {
        what: "host name, helper started",
        script: HOSTNAME,
        is_cold: true,
        keys: "",
    },
    Edit {
        what: "whole file, helper running",
        script: EVERYTHING,
        is_cold: false,
        keys: "all",
    },
    Edit {
        what: "whole file, helper started",
        script: EVERYTHING,
        is_cold: true,
        keys: "all",
    },
];

/// Everything at once: each key of the file but two has another value than before.
const EVERYTHING: &str =
    r#"sed "s/@N@/$(( RANDOM % 90 + 10 ))/g" /data/bench/whole.json > /boot/config.json"#;

/// What systemd takes to start a unit, which the helper's first call pays.
const STARTS: [(&str, &str); 3] = [
    (
        "nothing (/bin/true)",
        "systemd-run --quiet --unit=bench-start --service-type=oneshot --remain-after-exit /bin/true; \
         systemctl show -P CPUUsageNSec bench-start; systemctl stop bench-start",
    ),
    (
        "the helper, no sandbox",
        "systemctl stop fleet-helper; \
         systemd-run --quiet --unit=bench-start --service-type=dbus -p BusName=org.fleetos.Helper1 \
         /usr/libexec/fleet/fleet-helper; \
         systemctl show -P CPUUsageNSec bench-start; systemctl stop bench-start",
    ),
    (
        "the helper",
        "systemctl stop fleet-helper; systemctl start fleet-helper; systemctl show -P CPUUsageNSec fleet-helper",
    ),
];

/// Processor time of one edit, microseconds.
struct Cpu {
    what: &'static str,
    ours: u64,
    shell: u64,
}

/// What was measured.
pub(super) struct Apply {
    cpu: Vec<Cpu>,
    /// Processor time of the bare writes, calls and the run of chronyc of a whole file, microseconds.
    least: u64,
    /// What was started, and its processor time in microseconds.
    starts: Vec<(&'static str, u64)>,
    /// From the closed file to the effect, microseconds.
    edit: u64,
    /// The bare writes and calls, microseconds.
    bare: u64,
    /// Bytes to the state and to the boot partition for one edit, one `set`, one file written again as it was.
    flash: Vec<Flash>,
}

struct Flash {
    what: &'static str,
    state: u64,
    boot: u64,
}

/// Measures in a container what is time, and in QEMU what reaches a disk.
pub(super) fn measure(checkout: &Path, repeat: usize) -> anyhow::Result<Apply> {
    let latency = Example::build(checkout, "fleet-config", "apply_latency")?;
    let least = Example::build(checkout, "fleet-config", "apply_least")?;
    let mut device = Device::boot(Tier::Nspawn).start()?;
    latency.put_into(&device)?;
    let tools = least.put_into(&device)?;
    fs::write(tools.join("apply.sh"), SHELL)?;
    fs::write(tools.join("whole.json"), WHOLE)?;

    eprintln!("bench: processor time of {repeat} edits, by the services and by shell and jq");
    device
        .run("fleet config set os.network.connectivity.interval 1111")?
        .succeeds()?;
    let mut cpu = Vec::new();
    for edit in &EDITS {
        cpu.push(Cpu {
            what: edit.what,
            ours: ours(&mut device, edit, repeat)?,
            shell: shell(&mut device, edit, repeat)?,
        });
    }
    // A key that is refused would cost less than one that is applied.
    device
        .run(r#"jq --exit-status '[.keys[] | select(.state == "refused")] == []' /run/fleet/config/report.json"#)?
        .succeeds()?;
    let least = microseconds(
        &mut device,
        &format!("/data/bench/apply_least /data/bench {repeat}"),
    )?;
    let starts = starts(&mut device, repeat)?;
    eprintln!("bench: latency of {repeat} edits, and of the bare writes and calls");
    let bare = microseconds(
        &mut device,
        &format!("/data/bench/apply_latency bare /data/bench {repeat}"),
    )?;
    let edit = microseconds(
        &mut device,
        &format!("/data/bench/apply_latency edit /boot/config.json {repeat}"),
    )?;
    drop(device);
    Ok(Apply {
        cpu,
        least,
        starts,
        edit,
        bare,
        flash: bytes(repeat)?,
    })
}

impl Apply {
    /// For people.
    pub(super) fn print(&self) {
        println!();
        println!("processor time of an edit       services   shell and jq");
        for Cpu { what, ours, shell } in &self.cpu {
            println!(
                "  {what:<26}   {ours:>6} µs      {shell:>6} µs   {:>6}",
                ratio(*shell, *ours)
            );
        }
        println!("  the bare of a whole file     {:>6} µs", self.least);
        println!("processor time of a unit's start");
        for (what, time) in &self.starts {
            println!("  {what:<26}   {time:>6} µs");
        }
        println!("from the closed file            {:>8} µs", self.edit);
        println!("  without the 250 ms of quiet   {:>8} µs", self.latency());
        println!(
            "the bare writes and calls       {:>8} µs          {} of them",
            self.bare,
            ratio(self.latency(), self.bare)
        );
        println!("bytes to flash                     state       boot");
        for Flash { what, state, boot } in &self.flash {
            println!("  {what:<28}  {state:>8}   {boot:>8}");
        }
    }

    const fn latency(&self) -> u64 {
        self.edit.saturating_sub(QUIET)
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let cpu = self.cpu.iter().map(|row| {
            let ratio = ratio(row.shell, row.ours);
            json!({"what": row.what, "services_us": row.ours, "shell_us": row.shell, "shell_of_services": ratio})
        });
        let flash = self.flash.iter();
        let flash =
            flash.map(|row| json!({"what": row.what, "state_bytes": row.state, "boot_bytes": row.boot}));
        let starts = self.starts.iter();
        let starts = starts.map(|(what, time)| json!({"what": what, "us": time}));
        json!({
            "cpu": cpu.collect::<Vec<_>>(),
            "whole_bare_us": self.least,
            "starts": starts.collect::<Vec<_>>(),
            "edit_to_effect_us": self.edit,
            "quiet_us": QUIET,
            "bare_us": self.bare,
            "latency_of_bare": ratio(self.latency(), self.bare),
            "flash": flash.collect::<Vec<_>>(),
        })
    }
}

/// Processor time of the services for one of many edits.
fn ours(device: &mut Device, edit: &Edit, repeat: usize) -> anyhow::Result<u64> {
    let mut times = Vec::new();
    if !edit.is_cold {
        // Starts the helper, if it is needed.
        edited(device, edit)?;
    }
    for _ in 0..repeat.max(1) {
        if edit.is_cold {
            thread::sleep(HELPER_LEAVES);
        }
        times.push(edited(device, edit)?);
    }
    median(times)
}

/// Processor time of the services for an edit, until it is applied.
fn edited(device: &mut Device, edit: &Edit) -> anyhow::Result<u64> {
    let before = spent(device)?;
    bash(device, &format!("{}; sleep 1", edit.script))?;
    let after = spent(device)?;
    // A run of a unit counts from its own start.
    let spent = before.iter().zip(after).map(|((run, before), (now, after))| {
        if *run == now {
            after.saturating_sub(*before)
        } else {
            after
        }
    });
    Ok(spent.sum())
}

/// Processor time of starts of a unit.
fn starts(device: &mut Device, repeat: usize) -> anyhow::Result<Vec<(&'static str, u64)>> {
    let mut rows = Vec::new();
    for (what, script) in STARTS {
        let mut times = Vec::new();
        for _ in 0..repeat.max(1) {
            let text = device.run(script)?.succeeds()?.text();
            let nanoseconds = text.trim().parse::<u64>();
            times.push(nanoseconds.with_context(|| format!("the unit's time: {text}"))? / 1000);
        }
        rows.push((what, median(times)?));
    }
    Ok(rows)
}

/// Runs a script in the guest.
fn bash(device: &mut Device, script: &str) -> anyhow::Result<testbed::Output> {
    device
        .run(&format!("exec bash -c '{}'", script.replace('\'', r"'\''")))?
        .succeeds()
}

/// Of each of our units: which run of it this is, and its processor time so far in microseconds.
fn spent(device: &mut Device) -> anyhow::Result<Vec<(String, u64)>> {
    let mut units = Vec::new();
    for unit in UNITS {
        let text = device
            .run(&format!(
                "systemctl show -P InvocationID {unit}; systemctl show -P CPUUsageNSec {unit}"
            ))?
            .succeeds()?
            .text();
        let (run, time) = text.rsplit_once('\n').unwrap_or(("", &text));
        // A unit that has not run in this boot has none.
        units.push((run.to_owned(), time.parse::<u64>().unwrap_or(0) / 1000));
    }
    Ok(units)
}

/// Processor time of the shell's job for one of many edits. Each run is a unit of its own, as a path unit starts it where
/// this job is done so: counted like ours, from the unit's start to its end.
fn shell(device: &mut Device, edit: &Edit, repeat: usize) -> anyhow::Result<u64> {
    // Ours rests meanwhile, so that each does the job alone.
    device.run("systemctl stop fleet-config")?.succeeds()?;
    let mut times = Vec::new();
    for _ in 0..repeat.max(1) {
        bash(device, edit.script)?;
        let job = format!(
            "bash /data/bench/apply.sh /boot/config.json /run/bench {}",
            edit.keys
        );
        let text = device
            .run(&format!(
                "systemd-run --quiet --unit=bench-shell --service-type=oneshot --remain-after-exit {job}; \
                 systemctl show -P CPUUsageNSec bench-shell; systemctl stop bench-shell"
            ))?
            .succeeds()?
            .text();
        let nanoseconds = text.trim().parse::<u64>();
        times.push(nanoseconds.with_context(|| format!("the unit's time: {text}"))? / 1000);
    }
    device.run("systemctl start fleet-config")?.succeeds()?;
    median(times)
}

/// What reaches the two partitions, counted by the kernel's block layer in QEMU, for each kind of change.
fn bytes(repeat: usize) -> anyhow::Result<Vec<Flash>> {
    eprintln!("bench: booting QEMU to count what reaches the flash");
    let mut device = Device::boot(Tier::Qemu).start()?;
    // What the boot has left to write, and what others write now and then: it is not ours.
    device
        .run("systemctl stop chrony systemd-timesyncd 2>/dev/null; sync; sleep 40; sync")?
        .succeeds()?;
    let count = repeat.clamp(1, 10);
    let edit = HOSTNAME.replace("$RANDOM$RANDOM", "$i-$$");
    // A file beside it costs the editor the same, and us nothing.
    let beside = edit.replace("config.json", "beside.json");
    let changes = [
        (
            "the editor alone",
            format!(
                "cp /boot/config.json /boot/beside.json; for i in $(seq {count}); do {beside}; sleep 4; done"
            ),
            count,
        ),
        (
            "an edit",
            format!("for i in $(seq {count}); do {edit}; sleep 4; done"),
            count,
        ),
        (
            "fleet config set",
            format!("for i in $(seq {count}); do fleet config set hostname set-$i; done"),
            count,
        ),
        (
            "the same edit, the same set",
            "cp /boot/config.json /run/same; cat /run/same > /boot/config.json; sleep 4; \
             fleet config set hostname $(uname -n)"
                .to_owned(),
            1,
        ),
    ];
    let mut rows = Vec::new();
    for (what, script, count) in changes {
        let before = flash::written(&mut device, PARTITIONS)?;
        bash(&mut device, &script)?;
        let after = flash::written(&mut device, PARTITIONS)?;
        let count = u64::try_from(count)?;
        rows.push(Flash {
            what,
            state: (after[0] - before[0]) / count,
            boot: (after[1] - before[1]) / count,
        });
    }
    Ok(rows)
}
