//! The recorded run: a machine that boots, and a sequence of changes with a mark on the disk before and after each.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use powercut::write_log::WriteLog;
use testbed::{Device, Reference, Tier};

/// What is on the boot partition of the new device.
const FIRST: &str = r#"{"hostname": "step-0", "app": {"note": "kept"}}"#;

/// How a change is made.
pub enum Change {
    /// A key set by a call.
    Set(&'static str, &'static str),
    /// A key unset by a call.
    Unset(&'static str),
    /// A merge patch, all or nothing.
    Patch(&'static str),
    /// Back to the revision before.
    Revert,
    /// `config.json` written by a person.
    Edit(&'static str),
}

/// Each gives the host name another value, or changes something beside it.
pub const CHANGES: &[Change] = &[
    Change::Set("hostname", "step-1"),
    Change::Set("app.more", "one"),
    Change::Edit(r#"{"hostname": "step-3", "app": {"note": "edited"}}"#),
    Change::Set("hostname", "step-4"),
    Change::Set("app.long", LONG),
    Change::Set("hostname", "step-6"),
    Change::Unset("app.long"),
    Change::Edit(r#"{"hostname": "step-8", "app": {"note": "edited again"}}"#),
    Change::Set("hostname", "step-9"),
    Change::Unset("app.note"),
    Change::Set("hostname", "step-11"),
    Change::Patch(r#"{"hostname": "step-12", "app": {"more": null, "other": [1, 2]}}"#),
    Change::Revert,
    Change::Set("hostname", "step-14"),
    Change::Edit(r#"{"hostname": "step-15"}"#),
    Change::Set("hostname", "step-16"),
];

/// Calls a method of the service as busctl(1) does.
const BUS: &str = "busctl --json=short call org.fleetos.Config1 /org/fleetos/Config1 org.fleetos.Config1";

/// More than a block of the file systems.
const LONG: &str = include_str!("long.txt");

/// An unused sector between partition table and first partition: the marks go there, one over the other.
pub const MARK: u64 = 1024 * 512;

/// What was recorded.
pub struct Recorded {
    /// The disk before the first start.
    pub first: PathBuf,
    /// What was written to it.
    pub log: WriteLog,
    /// Where the state partition is: start and size in bytes.
    pub state: (u64, u64),
    /// Where the boot partition is.
    pub boot: (u64, u64),
    /// The documents: before the first change, and after each.
    pub documents: Vec<String>,
    /// The identity.
    pub identity: String,
}

/// Boots a new device and changes its configuration.
pub fn record(folder: &Path) -> Result<Recorded> {
    let mut device = Device::boot(Tier::Qemu)
        .direct_kernel("")
        .config_text(FIRST)
        .record_disk()
        .start()?;
    let document = |device: &mut Device| -> Result<String> {
        let whole = device.run(&format!("{BUS} Get s ''"))?;
        let answer: serde_json::Value = serde_json::from_slice(&whole.succeeds()?.stdout)?;
        Ok(answer["data"][0].as_str().unwrap_or_default().to_owned())
    };
    let identity = "cat /var/lib/fleet/config/uuid";
    let identity = device.run(identity)?.succeeds()?.text();
    let mut documents = vec![document(&mut device)?];
    for (number, change) in CHANGES.iter().enumerate() {
        mark(&mut device, &format!("begin {number}"))?;
        let call = match change {
            Change::Set(key, value) => format!("fleet config set {key} '{value}'"),
            Change::Unset(key) => format!("fleet config unset {key}"),
            Change::Patch(patch) => format!("{BUS} Patch ts 0 '{patch}'"),
            Change::Revert => format!(
                "{BUS} Revert t $(($(busctl get-property org.fleetos.Config1 /org/fleetos/Config1 \
                 org.fleetos.Config1 Revision | cut -d' ' -f2) - 1))"
            ),
            Change::Edit(text) => format!("echo '{text}' > /boot/config.json"),
        };
        device.run(&call)?.succeeds()?;
        if let Change::Edit(text) = change {
            let hostname = serde_json::from_str::<serde_json::Value>(text)?["hostname"].to_string();
            device.soon(Duration::from_secs(20), "fleet config get hostname", &hostname)?;
        }
        mark(&mut device, &format!("end {number}"))?;
        documents.push(document(&mut device)?);
    }
    let log = folder.join("disk.log");
    std::fs::copy(device.recording(), &log)?;
    let first = folder.join("first.img");
    device.first_disk(&first)?;
    ensure!(documents.len() == CHANGES.len() + 1, "a change is missing");
    let reference = Reference::locate()?;
    Ok(Recorded {
        first,
        log: WriteLog::open(&log)?,
        state: reference.partition("fleet-state")?,
        boot: reference.partition("fleet-boot")?,
        documents,
        identity,
    })
}

/// Writes a mark past the page cache; it syncs nothing else.
fn mark(device: &mut Device, text: &str) -> Result<()> {
    let write = format!(
        "printf '{text}\\n' | dd of=/dev/vda bs=512 seek={} count=1 conv=notrunc,sync oflag=direct status=none",
        MARK / 512
    );
    device.run(&write)?.succeeds().map(drop)
}
