//! Examples of the services that measure from inside the guest.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use testbed::Device;

use super::median;
use crate::step::Steps;

/// One that was built, with the same optimisation as the services.
pub(super) struct Example {
    name: &'static str,
    executable: PathBuf,
}

impl Example {
    pub(super) fn build(checkout: &Path, package: &str, name: &'static str) -> anyhow::Result<Self> {
        let steps = Steps::new("bench", checkout.join("build/bench.log"));
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .args(["build", "--quiet", "--release", "--locked", "--package", package])
            .args(["--example", name, "--manifest-path"])
            .arg(checkout.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(checkout.join("target"))
            // From inside `cargo run` it points to the tools workspace.
            .env_remove("CARGO_MANIFEST_DIR")
            .env_remove("CARGO_TARGET_DIR");
        steps.say("building the example that measures latency");
        steps.run("example", &command)?;
        let executable = checkout.join("target/release/examples").join(name);
        Ok(Self { name, executable })
    }

    /// Copies it into a container, and returns the folder that is `/data/bench` there.
    pub(super) fn put_into(&self, device: &Device) -> anyhow::Result<PathBuf> {
        let folder = device.own_run().directory().join("data/bench");
        fs::create_dir_all(&folder)?;
        fs::copy(&self.executable, folder.join(self.name))
            .context("cannot copy the example into the guest")?;
        Ok(folder)
    }
}

/// Runs what prints a time a line, and returns the middle one.
pub(super) fn microseconds(device: &mut Device, command: &str) -> anyhow::Result<u64> {
    let text = device.run(command)?.succeeds()?.text();
    let times: Result<Vec<u64>, _> = text.lines().map(str::parse).collect();
    median(times.with_context(|| format!("`{command}` printed {text:?}"))?)
}
