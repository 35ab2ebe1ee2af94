//! `cargo xtask schema`: writes docs/config.schema.json and docs/config-reference.md of their one source.

use std::process::{Command, ExitCode};

use anyhow::Context;

use crate::image;

/// Its arguments.
#[derive(clap::Args)]
pub struct Arguments {
    /// Only says whether they are current.
    #[arg(long)]
    check: bool,
}

/// Runs the generator. It rests on the services' crates, which this executable is not to be built with.
pub fn main(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let mut command = Command::new("cargo");
    command
        .args([
            "run",
            "--quiet",
            "--locked",
            "--package",
            "config-reference",
            "--manifest-path",
        ])
        .arg(image::checkout()?.join("tools/Cargo.toml"));
    if arguments.check {
        command.args(["--", "--check"]);
    }
    let status = command.status().context("cannot run cargo")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
