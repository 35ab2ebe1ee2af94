//! The step between the kernel and PID 1 (`init=/usr/libexec/fleet/fleet-preinit`).
//!
//! The root is read-only and the same on every device. What identifies this device is on the state partition, and PID 1
//! needs some of it before it can mount anything itself. So this step checks and mounts the state partition, lays the
//! few files of `/etc` that differ from device to device over the root, and becomes systemd. Whatever fails, it goes
//! on: a device without its state still comes online, on a state that lives in RAM, flagged.

mod api_mounts;
mod board;
mod boot;
mod etc;
mod journal;
mod kmsg;
mod limited;
mod network;
mod partition;
mod state;
mod udev;

use std::convert::Infallible;
use std::env;
use std::ffi::OsString;
use std::fmt::Display;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use fleet_base::exit::Exit;
use fleet_base::paths;
use partition::Disk;

/// Where systemd is; `/sbin/init` is what every distribution links to it.
const INIT: [&str; 2] = ["/usr/lib/systemd/systemd", "/sbin/init"];

/// `fleet-preinit`: never returns if systemd can be executed.
///
/// `fleet-preinit journal-limits` is the part of it that reads the configuration, as a process of its own.
#[must_use]
pub fn main(arguments: &[OsString]) -> Exit {
    // Run by hand on a live device it would mount over the state in use.
    if std::process::id() != 1 {
        if arguments == [journal::ARGUMENT] {
            return journal::supply();
        }
        eprintln!("fleet-preinit is run by the kernel as process 1 (init=), not by hand");
        return Exit::Usage;
    }
    go_on("mount the kernel's file systems", api_mounts::ensure());
    // systemd-nspawn says so in the environment (container interface of systemd) and brings its file systems along.
    if env::var_os("container").is_none() {
        find_file_systems();
    }
    let (state, run) = (Path::new(paths::STATE), Path::new(paths::RUN_BOARD));
    go_on(
        "tell which board this is",
        board::meet(Path::new("/"), state, run),
    );
    go_on("supply the files of /etc", etc::supply(Path::new(paths::STATE)));
    go_on(
        "supply NetworkManager's secret",
        network::supply(state, Path::new(paths::RUN_NETWORK_STATE)),
    );
    go_on("supply the limits of the journal", journal::supply_apart());
    match execute_init() {
        Err(error) => kmsg::warn(&format!("cannot execute systemd: {error}")),
    }
    // The kernel panics when process 1 ends; the boot loader's attempt counter takes it from there.
    Exit::Failure
}

/// Repairs the boot partition, mounts the state, and tells udev which disk the other partitions are on.
fn find_file_systems() {
    let place = Path::new(paths::STATE);
    let disk = Disk::of_root();
    if let Ok(disk) = &disk {
        go_on("tell udev the root's disk", udev::supply(disk));
        go_on("repair the boot partition", boot::repair(disk));
    }
    let mounted = disk
        .map_err(state::Error::Partition)
        .and_then(|disk| state::mount(&disk, place));
    if let Err(reason) = mounted {
        kmsg::warn(&format!("{reason}; state is kept in RAM and lost at power-off"));
        go_on(
            "keep state in RAM",
            state::mount_volatile(place, &reason.to_string()),
        );
    }
}

/// Says what failed, and goes on.
fn go_on<E: Display>(what: &str, outcome: Result<(), E>) {
    if let Err(error) = outcome {
        kmsg::warn(&format!("cannot {what}: {error}; going on without"));
    }
}

/// Becomes systemd, with the arguments that the kernel gave to init.
fn execute_init() -> io::Result<Infallible> {
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    for init in INIT {
        failed = Command::new(init).args(env::args_os().skip(1)).exec();
    }
    Err(failed)
}
