//! Ctrl-C and its kin: every run of the process is ended before the process is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::run;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on SIGINT, SIGTERM and SIGHUP end all runs of this process, wait until nothing of them is left, and
/// exit with 128 + the signal's number. Without this, the runs end themselves a moment after the process.
pub fn handle() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot handle signals")?;
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            if let Some(signal) = signals.forever().next() {
                INTERRUPTED.store(true, Ordering::SeqCst);
                run::end_all();
                std::process::exit(128 + signal);
            }
        })
        .context("cannot start a thread for signals")?;
    Ok(())
}

/// Never returns if a signal is ending the process: what fails from then on fails because of that, and is
/// not to be told.
pub(crate) fn stop_here_if_interrupted() {
    while INTERRUPTED.load(Ordering::SeqCst) {
        thread::park();
    }
}
