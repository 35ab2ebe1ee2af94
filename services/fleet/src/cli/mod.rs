//! `fleet`, the command line for people and scripts.
//!
//! It is a client of the services on the bus and knows nothing by itself, except `config check`, which also works on a
//! workstation. Every command prints sentences, or one JSON value with `--json`.

mod arguments;
mod config;
mod connection;
mod connectivity;
mod failure;
mod help;
mod journal;
mod output;
#[cfg(feature = "workstation")]
mod rollout;
mod status;

use std::ffi::OsString;
use std::future::Future;
use std::pin::{Pin, pin};

use fleet_base::exit::Exit;

use arguments::{Command, Invocation};
use failure::Failure;

/// Runs one command and returns the exit code (`fleet help exit-codes`).
pub(crate) fn main(arguments: &[OsString]) -> Exit {
    fleet_base::logging::init();
    match arguments::parse(arguments).and_then(|invocation| run(&invocation)) {
        Ok(exit) => exit,
        Err(failure) => {
            eprintln!("fleet: {failure}");
            failure.exit()
        }
    }
}

fn run(invocation: &Invocation) -> Result<Exit, Failure> {
    let json = invocation.json;
    match &invocation.command {
        Command::Help(topic) => help::show(topic),
        Command::Version => output::line(&format!("fleet {}", env!("CARGO_PKG_VERSION"))),
        Command::Status => wait(status::show(json)),
        Command::Connectivity(false) => wait(connectivity::show(json)),
        Command::Connectivity(true) => wait(connectivity::watch(json)),
        Command::ConfigShow => wait(config::show(json)),
        Command::ConfigGet(key) => wait(config::get(key)),
        Command::ConfigSet(key, value) => wait(config::change::set(key, value, json)),
        Command::ConfigUnset(key) => wait(config::change::unset(key, json)),
        Command::ConfigCheck(file) => config::check(file, json),
        Command::ConfigApply(None, _) => wait(config::change::apply_again(json)),
        Command::ConfigApply(Some(file), expected) => wait(config::change::apply_file(file, *expected, json)),
        Command::ConfigHistory => wait(config::history::show(json)),
        Command::ConfigRevert(revision) => wait(config::change::revert(*revision, json)),
        #[cfg(feature = "workstation")]
        Command::Rollout(options) => wait(rollout::run(options, json)),
        Command::JournalStatus => wait(journal::status(json)),
        Command::JournalPersist(switch) => wait(journal::persist(*switch, json)),
        Command::JournalVolatile(switch) => wait(journal::volatile(*switch, json)),
        Command::JournalReset => wait(journal::reset(json)),
        Command::JournalPurge => wait(journal::purge(json)),
        Command::JournalExport(options) => wait(journal::export::run(options, json)),
    }
}

/// Waits for a command that talks to the bus.
fn wait(command: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    wait_for(pin!(command))
}

/// Once for all commands, not once each: a runtime is some KiB.
fn wait_for(command: Pin<&mut dyn Future<Output = Result<Exit, Failure>>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::other(format!("cannot start: {error}")))?;
    runtime.block_on(command)
}
