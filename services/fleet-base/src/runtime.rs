//! The asynchronous runtime of a service, and why it ends.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};

use tokio::signal::unix::{SignalKind, signal};

use crate::exit::Exit;

/// Events of the kernel taken at once: tokio keeps room for 1024, 12 KiB, and takes what does not fit in the next turn.
const EVENTS: usize = 16;

/// Runs a service on a single-threaded runtime: one thread, no wake-ups while idle.
///
/// Ends with the service's own exit, or with [`Exit::Done`] on SIGTERM or SIGINT.
pub fn run(name: &str, service: impl Future<Output = Exit>) -> Exit {
    run_pinned(name, pin!(service))
}

/// Once for all services, not once each: a runtime is some KiB.
fn run_pinned(name: &str, service: Pin<&mut dyn Future<Output = Exit>>) -> Exit {
    crate::logging::init();
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_io_events_per_tick(EVENTS)
        .build()
    {
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
///
/// Not by signalfd(2), which is smaller: the signals would have to be blocked, and stay so in every program started.
async fn termination() -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    #[test]
    fn ends_on_sigterm_and_what_it_starts_is_not_deaf() {
        let exit = run("test", async {
            // Until the signals are taken.
            tokio::time::sleep(Duration::from_millis(10)).await;
            let child = Command::new("grep")
                .args(["SigBlk", "/proc/self/status"])
                .output()
                .unwrap();
            assert_eq!(
                String::from_utf8_lossy(&child.stdout),
                "SigBlk:\t0000000000000000\n"
            );
            nix::sys::signal::raise(nix::sys::signal::SIGTERM).unwrap();
            std::future::pending().await
        });
        assert_eq!(exit, Exit::Done);
    }
}
