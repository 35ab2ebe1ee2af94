//! A run: a folder, a control group and a process namespace of its own, so that two runs never meet and
//! nothing outlives its owner.
//!
//! `unshare` makes a process, network and mount namespace, in which [`crate::world::init`] is process 1. The
//! owner holds a pipe to it. When the pipe closes, for whatever reason, process 1 kills everything in the
//! namespace, removes the control group and the folder, and ends; mounts and interfaces go with the namespaces.
//! Should even process 1 be killed, the kernel ends the rest and the next run sweeps the folder away.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::boot::Tier;
use crate::cgroup::Cgroup;
use crate::interrupt::stop_here_if_interrupted;
use crate::world;

/// How long process 1 of a run may take to end it.
const ENDING: Duration = Duration::from_secs(10);

/// Runs of this process that have not ended: what a signal has to end.
static OPEN: Mutex<Vec<Owner>> = Mutex::new(Vec::new());
static COUNT: AtomicU32 = AtomicU32::new(0);

/// A run that is under way. Ends with the value.
#[derive(Debug)]
pub struct Run {
    name: String,
    directory: PathBuf,
    cgroup: Cgroup,
    init: i32,
}

/// The owner's end of a run.
struct Owner {
    name: String,
    directory: PathBuf,
    lifeline: ChildStdin,
    unshare: Child,
    _lock: File,
}

impl Run {
    /// Makes a run's folder below `runs`, its namespaces and the world in them. Removes what killed runs left.
    pub fn open(runs: &Path, tier: Tier) -> Result<Self> {
        ensure!(
            nix::unistd::geteuid().is_root(),
            "namespaces and mounts need root: run it as root, or with sudo"
        );
        fs::create_dir_all(runs).with_context(|| format!("cannot create {}", runs.display()))?;
        // Held while a folder exists that is not locked yet, so that nobody sweeps it away.
        let gate = lock_file(&runs.join(".lock"))?;
        gate.lock()
            .with_context(|| format!("cannot lock {}", runs.display()))?;
        sweep(runs);
        let name = format!(
            "{tier}-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let directory = runs.join(&name);
        fs::create_dir(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let lock = lock_file(&directory.join("lock"))?;
        lock.lock_shared()
            .with_context(|| format!("cannot lock {}", directory.display()))?;
        drop(gate);

        let opened = Self::furnish(&directory, &name, tier, lock);
        if opened.is_err() {
            stop_here_if_interrupted();
            let _ = remove(&directory);
        }
        opened
    }

    fn furnish(directory: &Path, name: &str, tier: Tier, lock: File) -> Result<Self> {
        let cgroup = Cgroup::below_own(&format!("fleet-{name}"))?;
        fs::write(directory.join("cgroups"), cgroup.lines())?;
        for folder in ["bin", "out"] {
            fs::create_dir(directory.join(folder))?;
        }
        let program = directory.join("bin/world");
        symlink(world::program()?, &program)?;
        let mut unshare = Command::new("unshare")
            .args([
                "--net",
                "--pid",
                "--fork",
                "--kill-child=SIGKILL",
                "--mount",
                "--mount-proc",
                "--",
            ])
            .arg(&program)
            .args(["init", &tier.to_string()])
            .arg(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(directory.join("world.log"))?)
            .spawn_apart()
            .context("cannot start unshare (util-linux)")?;
        let (lifeline, stdout) = (unshare.stdin.take(), unshare.stdout.take());
        let (lifeline, stdout) = lifeline
            .zip(stdout)
            .ok_or_else(|| anyhow!("no pipe to the run's process 1"))?;
        let process = unshare.id();
        let owner = Owner {
            name: name.to_owned(),
            directory: directory.to_owned(),
            lifeline,
            unshare,
            _lock: lock,
        };
        open_runs().push(owner);
        let mut run = Self {
            name: name.to_owned(),
            directory: directory.to_owned(),
            cgroup,
            init: 0,
        };

        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .context("cannot hear from the run's process 1")?;
        ensure!(
            line == world::READY,
            "the world around the guest did not come up: {}",
            fs::read_to_string(run.directory.join("world.log"))
                .unwrap_or_default()
                .trim()
        );
        run.init = only_child(process).ok_or_else(|| anyhow!("unshare has lost the run's process 1"))?;
        Ok(run)
    }

    /// The run's name, unique on this machine while it lasts.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The run's own folder; removed at its end.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The group in which the guest runs, as a directory.
    pub(crate) fn guest_cgroup(&self) -> Result<PathBuf> {
        self.cgroup.child("guest")
    }

    /// A command inside the run's namespaces, in `directory`, with the `world` command on its PATH.
    pub(crate) fn enter(&self, directory: &Path, program: &str) -> Command {
        let mut wd = std::ffi::OsString::from("--wd=");
        wd.push(directory);
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/sbin:/usr/bin:/sbin:/bin".into());
        let mut command = Command::new("nsenter");
        command
            .args(["--net", "--pid", "--mount", "--target", &self.init.to_string()])
            .arg(wd)
            .args(["--", program])
            .env("PATH", format!("{}:{path}", self.directory.join("bin").display()))
            .stdin(Stdio::null());
        command
    }

    /// The words before a command that enter the run's network, and nothing else of it.
    pub(crate) fn enter_network(&self) -> String {
        format!("nsenter --net=/proc/{}/ns/net", self.init)
    }
}

impl Run {
    /// Ends everything that belongs to the run, and waits for that. Does nothing the second time.
    pub(crate) fn end(&self) {
        stop_here_if_interrupted();
        // Held until the run has ended: a signal in the meantime waits here rather than exit too early.
        let mut open = open_runs();
        if let Some(at) = open.iter().position(|owner| owner.name == self.name) {
            open.swap_remove(at).end();
        }
        drop(open);
        stop_here_if_interrupted();
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.end();
    }
}

impl Owner {
    /// Lets go of the lifeline and waits until the run has removed itself; helps if it does not.
    fn end(mut self) {
        drop(self.lifeline);
        let deadline = Instant::now() + ENDING;
        while matches!(self.unshare.try_wait(), Ok(None)) {
            if Instant::now() >= deadline {
                let _ = self.unshare.kill();
                let _ = self.unshare.wait();
                break;
            }
            thread::sleep(Duration::from_millis(2));
        }
        if let Err(error) = remove(&self.directory) {
            eprintln!("testbed: {error:#}");
        }
    }
}

/// Ends every run of this process.
pub(crate) fn end_all() {
    open_runs().drain(..).for_each(Owner::end);
}

/// Removes a run's control group and folder; gone already is fine.
pub(crate) fn remove(directory: &Path) -> Result<()> {
    if let Ok(lines) = fs::read_to_string(directory.join("cgroups"))
        && let Some(cgroup) = Cgroup::from_lines(&lines)
    {
        cgroup.remove()?;
    }
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

/// Removes the folders whose lock nobody holds: their owner and their process 1 are dead.
fn sweep(runs: &Path) {
    let Ok(entries) = fs::read_dir(runs) else { return };
    for directory in entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
    {
        let stale = match File::open(directory.join("lock")) {
            Ok(lock) => lock.try_lock().is_ok(),
            Err(_) => true,
        };
        if stale && let Err(error) = remove(&directory) {
            eprintln!("testbed: {error:#}");
        }
    }
}

fn lock_file(path: &Path) -> Result<File> {
    File::create(path).with_context(|| format!("cannot create {}", path.display()))
}

fn open_runs() -> MutexGuard<'static, Vec<Owner>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The one child of a process, if it has exactly one; see proc_pid_task(5), `children`.
pub(crate) fn only_child(process: u32) -> Option<i32> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).ok()?;
    let mut children = children.split_whitespace();
    let child = children.next()?.parse().ok()?;
    children.next().is_none().then_some(child)
}

/// Starting a process in a process group of its own, so that a Ctrl-C at the terminal reaches only us and the
/// run is ended in order.
pub(crate) trait SpawnApart {
    /// Like [`Command::spawn`].
    fn spawn_apart(&mut self) -> std::io::Result<Child>;
}

impl SpawnApart for Command {
    fn spawn_apart(&mut self) -> std::io::Result<Child> {
        use std::os::unix::process::CommandExt;
        self.process_group(0).spawn()
    }
}
