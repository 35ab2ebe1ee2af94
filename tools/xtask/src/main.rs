//! `cargo xtask`: what a developer runs that is more than one cargo command.
//!
//! One module a subcommand; each is a thin door to the crate or the tool that does the work.

mod arm;
mod bench;
mod debian;
mod fuzz;
mod image;
mod layer;
mod run;
mod schema;
mod setup;
mod step;
mod test;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds, boots and checks Fleet OS on a workstation.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds the reference image below build/reference (only what changed).
    Image(image::Arguments),
    /// Boots the reference image in QEMU and leaves you at its console.
    Run(run::Arguments),
    /// Boots the reference image, runs commands in it and in the world around it, and cleans up.
    Vm(vm::Arguments),
    /// Runs everything a change must pass, and ends with a count.
    Test(test::Arguments),
    /// Measures what the services cost, in a table and in build/bench.json.
    Bench(bench::Arguments),
    /// Builds the executables for ARM, shows their sizes, and runs their tests under emulation.
    Arm(arm::Arguments),
    /// Runs the fuzz targets for a while (nightly Rust and cargo-fuzz).
    Fuzz(fuzz::Arguments),
    /// Lints the layer, and parses it with BitBake where its layers can be checked out.
    LayerCheck(layer::Arguments),
    /// Writes the recipe's list of crates from Cargo.lock.
    Crates(layer::CratesArguments),
    /// Writes docs/config.schema.json and docs/config-reference.md of tools/config-reference/keys.
    Schema(schema::Arguments),
    /// Installs the host tools that the other commands need (Debian and its derivatives).
    Setup(setup::Arguments),
}

fn main() -> ExitCode {
    // Inside the world of `vm`, this executable is the command `world`.
    if let Some(code) = testbed::world::applet() {
        return code;
    }
    let outcome = match Arguments::parse().command {
        Command::Image(arguments) => image::main(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Run(arguments) => run::main(&arguments),
        Command::Vm(arguments) => vm::main(&arguments),
        Command::Test(arguments) => test::main(&arguments),
        Command::Bench(arguments) => bench::main(&arguments),
        Command::Arm(arguments) => arm::main(&arguments),
        Command::Fuzz(arguments) => fuzz::main(&arguments).map(|()| ExitCode::SUCCESS),
        Command::LayerCheck(arguments) => layer::main(&arguments),
        Command::Crates(arguments) => layer::crates(&arguments).map(|()| ExitCode::SUCCESS),
        Command::Schema(arguments) => schema::main(&arguments),
        Command::Setup(arguments) => setup::main(&arguments).map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}
