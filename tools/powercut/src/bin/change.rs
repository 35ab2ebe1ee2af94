//! Starts with a store and a boot folder and makes changes, one after the other, saying when each begins and is done:
//! `change STATE BOOT [STEP [-- STEP]…]`, each step as [`Running::step`] has it. To be run under strace(1).

use std::path::Path;
use std::process::ExitCode;

use powercut::configuration::Running;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        [state, boot, steps @ ..] => run(Path::new(state), Path::new(boot), steps),
        _ => Err("usage: change STATE BOOT [STEP [-- STEP]…]".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn run(state: &Path, boot: &Path, steps: &[&str]) -> Result<(), String> {
    println!("begin start");
    let mut running = Running::start(state, boot)?;
    println!("done start");
    for step in steps.split(|word| *word == "--").filter(|step| !step.is_empty()) {
        println!("begin {}", step[0]);
        running.step(step)?;
        println!("done {}", step[0]);
    }
    Ok(())
}
