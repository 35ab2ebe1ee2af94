//! `fleet-image`: cards for devices that run Fleet OS, from a workstation. `docs/fleet-image.md` is the guide.

mod configure;
mod flash;
mod inspect;
mod judgement;
mod map;
mod output;
mod undo;
mod unpacked;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use fleet_base::exit::Exit;

/// Prepares cards for Fleet OS: configures an image, shows what is in one, writes it to a card.
#[derive(Parser)]
#[command(name = "fleet-image", version, after_long_help = include_str!("help/after.txt").trim_end())]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Put a config.json and keyfiles on the boot partition of an image or card
    #[command(long_about = include_str!("help/configure.txt").trim_end())]
    Configure(configure::Arguments),
    /// Show the partitions, the system and the configuration of an image or card
    #[command(long_about = include_str!("help/inspect.txt").trim_end())]
    Inspect(inspect::Arguments),
    /// Write an image to a card, and read it back
    #[command(long_about = include_str!("help/flash.txt").trim_end())]
    Flash(flash::Arguments),
}

fn main() -> ExitCode {
    let command = CommandLine::parse().command;
    let result = match &command {
        Command::Configure(arguments) => configure::main(arguments),
        Command::Inspect(arguments) => inspect::main(arguments),
        Command::Flash(arguments) => flash::main(arguments),
    };
    let exit: Exit = result.unwrap_or_else(|failure| {
        eprintln!("fleet-image: {failure}");
        failure.exit()
    });
    exit.into()
}
