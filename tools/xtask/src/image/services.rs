//! Our own executables, for the image.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::Workshop;

/// How it is come by.
pub(super) struct Services<'a> {
    workshop: &'a Workshop,
    bindir: Option<&'a Path>,
}

impl<'a> Services<'a> {
    /// By `cargo build`, or from `bindir`.
    pub(super) fn new(workshop: &'a Workshop, bindir: Option<&'a Path>) -> Self {
        Self { workshop, bindir }
    }

    /// Builds it if needed; returns the directory that `make install` takes it from.
    pub(super) fn build(&self) -> anyhow::Result<PathBuf> {
        if let Some(bindir) = self.bindir {
            return bindir
                .canonicalize()
                .with_context(|| format!("cannot open {}", bindir.display()));
        }
        let checkout = &self.workshop.checkout;
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .args([
                "build",
                "--quiet",
                "--release",
                "--locked",
                "--package",
                "fleet",
                // What only a workstation does (services/fleet/Cargo.toml).
                "--no-default-features",
                "--package",
                "fleet-certificate",
                "--package",
                "fleet-services",
                "--manifest-path",
            ])
            .arg(checkout.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(checkout.join("target"))
            // From inside `cargo run` these point to the tools workspace.
            .env_remove("CARGO_MANIFEST_DIR")
            .env_remove("CARGO_TARGET_DIR");
        self.workshop.steps.clear("services");
        if !checkout.join("target/release/fleet-services").exists() {
            self.workshop
                .steps
                .say("services: cargo build --release (minutes, the first time)");
        }
        self.workshop.steps.run("services", &command)?;
        Ok(checkout.join("target/release"))
    }
}
