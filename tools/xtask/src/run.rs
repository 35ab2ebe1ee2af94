//! `cargo xtask run`: the reference image in QEMU, with its serial console on this terminal.
//!
//! Firmware, boot loader, partitions and services are those of a device. Two things are a developer's: development
//! mode is on (a root console), and the address of the connectivity check is answered by QEMU itself, so that the
//! guest is online wherever it runs. All that a run writes is in a directory that goes when the run ends.

mod directory;
mod qemu;
mod unattended;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;

use crate::image::{self, Need};
use crate::setup;
use directory::RunDirectory;
use qemu::{Machine, Outcome};

/// Its arguments.
#[derive(clap::Args)]
pub struct Arguments {
    /// The configuration to start with, instead of reference/config.json.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// QEMU's accelerator. Emulation works everywhere; kvm is faster where it works.
    #[arg(long, value_name = "NAME", default_value = "tcg")]
    accel: String,
}

/// Builds what is needed, boots, and stays until the guest powers off or the person leaves.
pub fn main(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    setup::ensure(&[setup::IMAGE, setup::QEMU])?;
    let image = image::ensure(Need::Disk)?;

    // From here on an interrupt ends the machine and removes the directory instead of ending this process.
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGTERM,
        signal_hook::consts::SIGHUP,
    ] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted)).context("cannot handle signals")?;
    }

    let config = match &arguments.config {
        Some(file) => file.clone(),
        None => image::checkout()?.join("reference/config.json"),
    };
    let directory = RunDirectory::new(&image, &config)?;
    // The run has its own copy of the disk; others may build the next one.
    drop(image);

    let attended = std::io::stdin().is_terminal();
    let port = qemu::free_port()?;
    explain(&directory, port, attended);
    let mut machine = Machine::start(&directory, port, &arguments.accel, attended)?;
    if attended {
        return Ok(match machine.wait(&interrupted)? {
            Outcome::PoweredOff => ExitCode::SUCCESS,
            // 128 + SIGINT, as a shell says it.
            Outcome::Interrupted => ExitCode::from(130),
        });
    }
    unattended::status(&mut machine, &directory, port, &interrupted)
}

fn explain(directory: &RunDirectory, port: u16, attended: bool) {
    eprintln!();
    if attended {
        eprintln!("A root console follows in about a minute; `fleet status` shows the device's state.");
        eprintln!("  leave:    Ctrl-A X, or `poweroff`; nothing is kept");
    } else {
        eprintln!("Standard input is no terminal: the device boots, says `fleet status`, and powers off.");
    }
    eprintln!("  ssh:      {}", directory.ssh_command_line(port));
    eprintln!(
        "  network:  QEMU's own; http://{}/ answers the connectivity check inside it",
        qemu::CHECK_ADDRESS
    );
    eprintln!("  differs from production: developmentMode is on, os.sshKeys has a key made for this run");
    eprintln!();
}
