//! Process 1 of a run: prepares the namespaces, reaps orphans, and ends everything when the owner lets go.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::boot::Tier;
use crate::cgroup::{self, Cgroup};
use crate::run;
use crate::world::network;

/// Whether everybody is being killed, and whether that is because the owner wants it or is no more.
static ENDING: AtomicBool = AtomicBool::new(false);
static LET_GO: AtomicBool = AtomicBool::new(false);

/// Plays process 1 of the run in `directory`; returns when the run has ended and left nothing behind.
pub(super) fn main(tier: Tier, directory: &Path) -> Result<()> {
    // The owner's lock and this one: whoever dies last lets the next run sweep.
    let lock = File::open(directory.join("lock")).context("cannot open the run's lock")?;
    lock.lock_shared().context("cannot lock the run")?;
    let lines =
        fs::read_to_string(directory.join("cgroups")).context("cannot read the run's control groups")?;
    let group = Cgroup::from_lines(&lines).context("the run names no control group")?;
    let outside = group.outside();
    cgroup::join(&group.child("world")?)?;

    let server = furnish(directory)
        .and_then(|()| network::make(tier))
        .and_then(|()| serve(tier, directory))?;
    thread::spawn(end_with_the_owner);
    reap(server);
    // An owner that is still there reads why first, and removes the run itself.
    if LET_GO.load(Ordering::SeqCst) {
        cgroup::join(&outside)?;
        run::remove(directory)?;
    }
    Ok(())
}

/// Mounts, seen in the run only: a /sys of the world's own interfaces (read-only, or systemd-nspawn waits for
/// udev to know them), systemd-nspawn's traces, and the world as name server.
fn furnish(directory: &Path) -> Result<()> {
    let aside = directory.join("cgroup");
    fs::create_dir(&aside)?;
    let cgroups = Path::new("/sys/fs/cgroup");
    attach(Some(cgroups), &aside, None, MsFlags::MS_BIND | MsFlags::MS_REC)?;
    attach(None, Path::new("/sys"), Some("sysfs"), MsFlags::MS_RDONLY)?;
    attach(Some(&aside), cgroups, None, MsFlags::MS_MOVE)?;

    let traces = Path::new("/run/systemd/nspawn");
    fs::create_dir_all(traces)?;
    attach(None, traces, Some("tmpfs"), MsFlags::empty())?;

    let resolver = directory.join("resolv.conf");
    fs::write(&resolver, format!("nameserver {}\n", network::ADDRESS))?;
    if let Ok(target) = fs::canonicalize("/etc/resolv.conf") {
        attach(Some(&resolver), &target, None, MsFlags::MS_BIND)?;
    }
    Ok(())
}

fn attach(source: Option<&Path>, target: &Path, kind: Option<&str>, flags: MsFlags) -> Result<()> {
    mount(source, target, kind, flags, None::<&Path>)
        .with_context(|| format!("cannot mount {}", target.display()))
}

/// Starts the servers; they say for themselves that they are ready.
fn serve(tier: Tier, directory: &Path) -> Result<Pid> {
    let child = Command::new(directory.join("bin/world"))
        .args(["serve", &tier.to_string()])
        .arg(directory)
        .stdin(Stdio::null())
        .spawn()
        .context("cannot start the world's servers")?;
    let Ok(process) = i32::try_from(child.id()) else {
        bail!("process {} is out of range", child.id())
    };
    Ok(Pid::from_raw(process))
}

/// Waits for the lifeline to close, then kills everybody else in the namespace.
fn end_with_the_owner() {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    LET_GO.store(true, Ordering::SeqCst);
    end();
}

fn end() {
    ENDING.store(true, Ordering::SeqCst);
    let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
}

/// Reaps until nobody is left. A world without its servers is no world: their end is the run's.
fn reap(server: Pid) {
    loop {
        match waitpid(None, None) {
            Ok(status) if status.pid() == Some(server) && !ENDING.load(Ordering::SeqCst) => {
                eprintln!("world: the servers ended: {status:?}");
                end();
            }
            Ok(_) | Err(Errno::EINTR) => {
                // One more time: somebody may have forked between the list of processes and the signal.
                if ENDING.load(Ordering::SeqCst) {
                    end();
                }
            }
            Err(_) => return,
        }
    }
}
