//! The asynchronous runtime of a service, and why it ends.

use std::future::Future;
use std::io;

use tokio::signal::unix::{SignalKind, signal};

use crate::exit::Exit;

/// Runs a service on a single-threaded runtime: one thread, no wake-ups while idle.
///
/// Ends with the service's own exit, or with [`Exit::Done`] on SIGTERM or SIGINT.
pub fn run(name: &str, service: impl Future<Output = Exit>) -> Exit {
    crate::logging::init();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            log::error!("{name} cannot start: no runtime: {error}");
            return Exit::Failure;
        }
    };
    runtime.block_on(async {
        tokio::select! {
            exit = service => exit,
            ended = termination() => match ended {
                Ok(()) => Exit::Done,
                Err(error) => {
                    log::error!("{name} cannot start: no signal handler: {error}");
                    Exit::Failure
                }
            },
        }
    })
}

/// Waits for SIGTERM or SIGINT.
async fn termination() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
