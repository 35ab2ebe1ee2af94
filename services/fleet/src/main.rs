//! The command line, and the programs that run for a moment.
//!
//! The name it is called by picks the program; `fleet` is the command line.

mod cli;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use fleet_base::exit::Exit;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let arguments: Vec<OsString> = arguments.collect();
    run(&name, &arguments).into()
}

/// Runs the program that `name` (argv[0]) picks. The names are links, made by `make install`.
fn run(name: &std::ffi::OsStr, arguments: &[OsString]) -> Exit {
    match Path::new(name).file_name().and_then(|name| name.to_str()) {
        Some("fleet-authorized-keys") => fleet_config::authorized_keys::main(arguments),
        Some("fleet-grow-data") => fleet_grow_data::main(),
        Some("fleet-helper") => fleet_helper::main(),
        Some("fleet-host-keys") => fleet_identity::host_keys::main(),
        Some("fleet-journal") => fleet_journal::main(),
        Some("fleet-preinit") => fleet_preinit::main(arguments),
        Some("fleet-reboot-reason") => fleet_reboot_reason::main(arguments),
        Some("fleet-regdomain") => fleet_regdomain::main(),
        Some("fleet-upload-cursor") => fleet_journal::upload_cursor::main(arguments),
        _ => cli::main(arguments),
    }
}
