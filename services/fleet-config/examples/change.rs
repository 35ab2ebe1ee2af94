//! Makes changes in a store and a boot folder, one after the other: `change STATE_DIR BOOT_DIR KEY=JSON…`.
//!
//! To be run under strace(1), for tests that cut the power after each system call.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [state, boot, changes @ ..] = arguments.as_slice() else {
        eprintln!("usage: change STATE_DIR BOOT_DIR KEY=JSON…");
        return ExitCode::from(2);
    };
    let changes: Option<Vec<(&str, &str)>> = changes.iter().map(|change| change.split_once('=')).collect();
    let Some(changes) = changes else {
        eprintln!("a change is KEY=JSON");
        return ExitCode::from(2);
    };
    match fleet_config::offline::change(Path::new(state), Path::new(boot), &changes) {
        Ok(revision) => {
            println!("{revision}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
