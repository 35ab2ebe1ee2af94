//! What a journal on flash costs: bytes written while it is idle and for each MiB that is logged, against journald alone
//! with `Storage=persistent`, in one run, in QEMU guests that differ in nothing else.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use testbed::{Device, Tier};

use super::{flash, ratio};

/// Where the journal is, and what decides where it is.
const PARTITIONS: [&str; 2] = ["fleet-data", "fleet-state"];
/// How much is logged for a row.
const LOGGED_MIB: u64 = 4;
/// Our part, who looks and who acts, which journald does without in the baseline.
const OURS: &str = "fleet-config.service fleet-journal.service";

/// What is done while it is counted.
enum Work {
    /// In the guest.
    Script(String),
    /// Nothing, for so long.
    Rest(Duration),
}

/// A row: what was done, bytes to the data partition, to the state partition.
struct Row {
    what: &'static str,
    data: u64,
    state: u64,
}

/// What was measured.
pub(super) struct Journal {
    idle_seconds: u64,
    idle: Vec<Row>,
    logged: Vec<Row>,
}

/// Measures in QEMU, a guest for each way to keep a journal, side by side; `idle` seconds of rest in each.
pub(super) fn measure(idle: u64) -> anyhow::Result<Journal> {
    eprintln!("bench: booting QEMU three times to count what the journal writes to the flash");
    let rest = Work::Rest(Duration::from_secs(idle));
    // Lines of 100 bytes, none like another (journald keeps equal ones once), as fast as they go.
    let log = Work::Script(format!(
        "systemd-run --quiet --wait --collect -p LogRateLimitIntervalSec=0 seq -f %099.0f {}; journalctl --sync",
        (LOGGED_MIB << 20) / 100
    ));
    let persist = "fleet journal persist; sleep 10";
    let alone = format!("{persist}; systemctl stop {OURS}; sleep 10");
    let [volatile, ours, alone] = thread::scope(|scope| {
        [
            scope.spawn(|| rows("true", &[("volatile, idle", &rest)])),
            scope.spawn(|| {
                let works = [("persistent, idle", &rest), ("persistent, logging", &log)];
                rows(persist, &works)
            }),
            scope.spawn(|| {
                let works = [("journald alone, idle", &rest), ("journald alone, logging", &log)];
                rows(&alone, &works)
            }),
        ]
        .map(|guest| {
            guest
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    });
    let all = [volatile?, ours?, alone?].into_iter().flatten();
    let (logged, idle_rows) = all.partition(|row| row.what.ends_with("logging"));
    Ok(Journal {
        idle_seconds: idle,
        idle: idle_rows,
        logged,
    })
}

/// Boots a guest, prepares it by a script, and counts what each work writes.
fn rows(prepare: &str, works: &[(&'static str, &Work)]) -> anyhow::Result<Vec<Row>> {
    let mut device = Device::boot(Tier::Qemu).start()?;
    // What the boot has left to write, and what others write now and then: it is not ours.
    device
        .run("systemctl stop chrony systemd-timesyncd 2>/dev/null; sync; sleep 40")?
        .succeeds()?;
    device.run(prepare)?.succeeds()?;
    let mut count = |&(what, work): &(&'static str, &Work)| -> anyhow::Result<Row> {
        // What the step before left to write is not this one's.
        device.run("sync")?.succeeds()?;
        let before = flash::written(&mut device, PARTITIONS)?;
        match work {
            Work::Script(script) => drop(device.run(script)?.succeeds()?),
            // Here, not in the guest: its agent logs each time that it is asked whether a program has ended.
            Work::Rest(time) => thread::sleep(*time),
        }
        let after = flash::written(&mut device, PARTITIONS)?;
        Ok(Row {
            what,
            data: after[0] - before[0],
            state: after[1] - before[1],
        })
    };
    works.iter().map(&mut count).collect()
}

impl Journal {
    /// For people.
    pub(super) fn print(&self) {
        println!();
        println!("bytes of the journal to flash      data      state");
        for Row { what, data, state } in &self.idle {
            println!("  {what:<28} {data:>8}   {state:>8}   in {} s", self.idle_seconds);
        }
        for Row { what, data, state } in &self.logged {
            let each = data / LOGGED_MIB;
            println!("  {what:<28} {each:>8}   {state:>8}   a MiB");
        }
        println!("  of journald alone            {:>8}", self.of_journald());
    }

    /// What is written for each MiB with our part, against journald without it.
    fn of_journald(&self) -> String {
        match &self.logged[..] {
            [ours, alone] => ratio(ours.data, alone.data),
            _ => String::new(),
        }
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let rows = |rows: &[Row]| -> Vec<Value> {
            rows.iter()
                .map(|row| json!({"what": row.what, "data_bytes": row.data, "state_bytes": row.state}))
                .collect()
        };
        json!({
            "idle_seconds": self.idle_seconds,
            "idle": rows(&self.idle),
            "logged_mib": LOGGED_MIB,
            "logged": rows(&self.logged),
            "of_journald_alone": self.of_journald(),
        })
    }
}
