//! The services that stay in memory.
//!
//! The name it is called by picks one. One executable, because the services share most of their code, whose pages are then
//! in memory once; and nothing else in it, because the kernel maps what lies beside a page that is used.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use fleet_base::exit::Exit;

fn main() -> ExitCode {
    run(&std::env::args_os().next().unwrap_or_default()).into()
}

/// Runs the service that `name` (argv[0]) picks. The names are links, made by `make install`.
fn run(name: &OsStr) -> Exit {
    match Path::new(name).file_name().and_then(OsStr::to_str) {
        Some("fleet-config") => fleet_config::main(),
        Some("fleet-journal-sync") => fleet_journal_sync::main(),
        Some("fleet-watch") => fleet_watch::main(),
        _ => {
            let told = "fleet-services is called by a link with the name of a service, which systemd starts; for people \
                        there is the command `fleet`\n";
            // Nobody else could be told.
            let _ = std::io::stderr().write_all(told.as_bytes());
            Exit::Usage
        }
    }
}
