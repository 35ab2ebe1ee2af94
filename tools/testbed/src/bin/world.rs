//! The `world` command beside the system tests; `cargo xtask` plays the same part by its own name.

use std::process::ExitCode;

fn main() -> ExitCode {
    testbed::world::command::main()
}
