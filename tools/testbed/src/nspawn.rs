//! A guest under systemd-nspawn: the same root, read-only, booted in a second. What lies on partitions in a real
//! device are folders of the run here.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::guest::{ENVIRONMENT, Guest, Presence, Streams, captured, code, tail, wait};
use crate::reference::Reference;
use crate::run::{Run, SpawnApart, only_child};
use crate::world::GUEST_INTERFACE;

/// What runs as process 1, as on the kernel command line of a device.
const PREINIT: &str = "/usr/libexec/fleet/fleet-preinit";
/// Owner of /boot, as its mount options say on a device: the user fleet-config.
const BOOT_OWNER: u32 = 560;
/// systemd-nspawn with --keep-unit says with this that the guest wants to be started again
/// (EXIT_FORCE_RESTART, systemd's src/basic/exit-status.h).
const REBOOT: i32 = 133;
/// How long the container may take from systemd-nspawn's start to its own process 1.
const FORKING: Duration = Duration::from_secs(20);
/// How long the last step of a shutdown may take, after all services were stopped: systemd-shutdown(8) waits 10 s
/// for processes that do not end.
const LEAVING: Duration = Duration::from_secs(30);
const TICK: Duration = Duration::from_millis(2);

/// chronyd must not touch the host's clock, and the container has no right to.
const CHRONY: &str = "\
[Unit]
ConditionCapability=
[Service]
ExecStart=
ExecStart=!/usr/sbin/chronyd -x $DAEMON_OPTS
";

/// Starts a program in a control group: `$0` is the group's directory.
const IN_CGROUP: &str = r#"echo 0 >"$0/cgroup.procs" && exec "$@""#;

/// A container, started or not.
pub(crate) struct Nspawn {
    run: Arc<Run>,
    reference: Reference,
    cgroup: PathBuf,
    process: Option<Process>,
}

/// A container that was started and has not been waited for.
struct Process {
    nspawn: Child,
    leader: u32,
}

impl Nspawn {
    /// Lays out the run's folders. `boot` is what goes on the boot partition.
    pub(crate) fn new(run: Arc<Run>, reference: &Reference, boot: &Path) -> Result<Self> {
        let directory = run.directory();
        for folder in ["state", "data"] {
            fs::create_dir(directory.join(folder))
                .with_context(|| format!("cannot create the {folder} folder"))?;
        }
        look_like_fat(boot)?;
        fs::rename(boot, directory.join("boot")).context("cannot move the boot folder")?;
        fs::write(directory.join("chrony.conf"), CHRONY).context("cannot write chrony's drop-in")?;
        let cgroup = run.guest_cgroup()?;
        Ok(Self {
            run,
            reference: reference.clone(),
            cgroup,
            process: None,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.run.directory().join(name)
    }

    fn command(&self) -> Result<Command> {
        let bind =
            |kind: &str, from: &str, to: &str| format!("--bind{kind}={}:{to}", self.path(from).display());
        let console = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.console())?;
        let mut command = self.run.enter(Path::new("/"), "sh");
        command
            .args(["-c", IN_CGROUP])
            .arg(&self.cgroup)
            .args([
                "systemd-nspawn",
                "--quiet",
                "--register=no",
                "--keep-unit",
                "--settings=no",
            ])
            .args(["--machine=fleet", "--hostname=localhost", "--read-only"])
            .arg(format!("--directory={}", self.reference.root().display()))
            .arg(format!("--network-interface={GUEST_INTERFACE}"))
            .args([
                "--resolv-conf=off",
                "--timezone=off",
                "--link-journal=no",
                "--bind=/dev/net/tun",
            ])
            .arg(bind("", "boot", "/boot"))
            .arg(bind("", "state", "/var/lib/fleet"))
            .arg(bind("", "data", "/data"))
            .arg(bind(
                "-ro",
                "chrony.conf",
                "/run/systemd/system/chrony.service.d/50-testbed.conf",
            ))
            .args(["--console=read-only", "--kill-signal=SIGRTMIN+3"])
            .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
            // The root is never written to, so many runs may share it.
            .env("SYSTEMD_NSPAWN_LOCK", "0")
            .stdout(Stdio::from(console.try_clone()?))
            .stderr(Stdio::from(console));
        let preinit = self.reference.root().join(PREINIT.trim_start_matches('/'));
        command.arg(if preinit.symlink_metadata().is_ok() {
            PREINIT
        } else {
            "--boot"
        });
        Ok(command)
    }

    fn gone(&self, how: &str) -> anyhow::Error {
        anyhow::anyhow!("{how}; the end of its console:\n{}", tail(&self.console(), 25))
    }
}

impl Drop for Nspawn {
    /// nsenter is not killed but waited for: it has to reap systemd-nspawn, which would otherwise be a zombie of the
    /// host's process 1, and keep the run's namespace from ending until that one looks.
    fn drop(&mut self) {
        self.run.end();
        if let Some(process) = &mut self.process {
            let _ = process.nspawn.wait();
        }
    }
}

impl Guest for Nspawn {
    fn start(&mut self) -> Result<()> {
        let mut nspawn = self
            .command()?
            .spawn_apart()
            .context("cannot start systemd-nspawn")?;
        let deadline = Instant::now() + FORKING;
        let leader = loop {
            if let Some(leader) = leader_of(nspawn.id()) {
                break leader;
            }
            if let Some(status) = nspawn.try_wait()? {
                return Err(self.gone(&format!("systemd-nspawn failed ({status})")));
            }
            ensure!(
                Instant::now() < deadline,
                "systemd-nspawn did not start a container in {FORKING:?}"
            );
            thread::sleep(TICK);
        };
        self.process = Some(Process { nspawn, leader });
        Ok(())
    }

    fn check(&mut self) -> Result<Presence> {
        let Some(process) = &mut self.process else {
            bail!("the guest is off")
        };
        let deadline = Instant::now() + LEAVING;
        let status = loop {
            match process.nspawn.try_wait()? {
                Some(status) => break status,
                // Its last breath: what is started now would be killed.
                None if is_leaving(process.leader) => {
                    ensure!(Instant::now() < deadline, "the guest did not end in {LEAVING:?}");
                    thread::sleep(TICK);
                }
                None => return Ok(Presence::Same),
            }
        };
        self.process = None;
        match code(status) {
            REBOOT => self.start().map(|()| Presence::Again),
            0 => Err(self.gone("the guest has switched itself off")),
            code => Err(self.gone(&format!("the guest has died (systemd-nspawn: {code})"))),
        }
    }

    fn exec(&mut self, command: &str, streams: Streams) -> Result<i32> {
        self.check()?;
        let Some(process) = &self.process else {
            bail!("the guest is off")
        };
        // What the container can, and no more: not the host's clock.
        let forbidden = forbidden(process.leader)?;
        // A group of its own beside the guest's slices: its systemd neither knows nor stops what is in there.
        let group = self.cgroup.join("payload/testbed");
        fs::create_dir_all(&group).with_context(|| format!("cannot create {}", group.display()))?;
        let mut child = Command::new("/bin/sh")
            .args(["-c", IN_CGROUP])
            .arg(group)
            .args([
                "setpriv",
                "--inh-caps=-all",
                &format!("--bounding-set={}", forbidden),
            ])
            .args([
                "nsenter",
                "--all",
                "--target",
                &process.leader.to_string(),
                "--",
                "/bin/sh",
                "-c",
                command,
            ])
            .env_clear()
            .envs(ENVIRONMENT)
            .stdin(Stdio::null())
            .stdout(Stdio::from(streams.stdout))
            .stderr(Stdio::from(streams.stderr))
            .spawn_apart()
            .context("cannot start sh")?;
        wait(&mut child)
    }

    fn reboot(&mut self, deadline: Instant) -> Result<()> {
        let out = self.path("out");
        captured(&out, "systemctl reboot", |streams| {
            self.exec("systemctl reboot", streams)
        })?
        .succeeds()?;
        while self.check()? == Presence::Same {
            ensure!(
                Instant::now() < deadline,
                "the guest did not shut down in time; the end of its console:\n{}",
                tail(&self.console(), 25)
            );
            thread::sleep(TICK);
        }
        Ok(())
    }

    /// The folders are the host's and lose nothing, unlike a disk: what a power cut tears is shown in QEMU.
    fn cut(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else {
            bail!("the guest is off")
        };
        let leader = i32::try_from(process.leader).context("process number out of range")?;
        kill(Pid::from_raw(leader), Signal::SIGKILL).context("cannot kill the guest")?;
        process.nspawn.wait().context("cannot wait for systemd-nspawn")?;
        self.start()
    }

    fn console(&self) -> PathBuf {
        self.path("console.log")
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(20)
    }
}

/// Owner and modes as the FAT mount of a device has them (`uid=560,gid=560,umask=0077`).
fn look_like_fat(path: &Path) -> Result<()> {
    let change = || -> std::io::Result<()> {
        chown(path, Some(BOOT_OWNER), Some(BOOT_OWNER))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))
    };
    change().with_context(|| format!("cannot change the owner of {}", path.display()))?;
    if path.is_dir() {
        for entry in fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))? {
            look_like_fat(&entry?.path())?;
        }
    }
    Ok(())
}

/// The container's process 1, by its number here: nsenter's child is systemd-nspawn, whose child it is as soon as
/// the process in between has gone.
fn leader_of(nsenter: u32) -> Option<u32> {
    let nspawn = u32::try_from(only_child(nsenter)?).ok()?;
    let leader = u32::try_from(only_child(nspawn)?).ok()?;
    let status = fs::read_to_string(format!("/proc/{leader}/status")).ok()?;
    (field(&status, "NSpid:")?.split_whitespace().next_back()? == "1").then_some(leader)
}

/// Whether process 1 has gone, or has become systemd-shutdown(8); the kernel cuts names at 15 bytes.
fn is_leaving(leader: u32) -> bool {
    let name = fs::read_to_string(format!("/proc/{leader}/comm"));
    name.map_or(true, |name| name.trim_end() == "systemd-shutdow")
}

/// The capabilities that the container does not have, in the words of setpriv(1).
fn forbidden(leader: u32) -> Result<String> {
    let path = format!("/proc/{leader}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let bounding = field(&status, "CapBnd:").and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
    let last = fs::read_to_string("/proc/sys/kernel/cap_last_cap").context("cannot read cap_last_cap")?;
    let last = last.trim().parse().context("cannot read cap_last_cap")?;
    Ok(without(
        bounding.context("no CapBnd in a process's status")?,
        last,
    ))
}

fn without(bounding: u64, last: u32) -> String {
    let absent = (0..=last).filter(|capability| bounding >> capability & 1 == 0);
    let words: Vec<String> = absent.map(|capability| format!("-cap_{capability}")).collect();
    // +cap_0 takes nothing away and is something to say.
    if words.is_empty() {
        "+cap_0".into()
    } else {
        words.join(",")
    }
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_capabilities_are_taken_away() {
        assert_eq!(without(0b1011, 4), "-cap_2,-cap_4");
        assert_eq!(without(0b11, 1), "+cap_0");
    }

    #[test]
    fn status_fields_are_found() {
        assert_eq!(field("Name:\tx\nNSpid:\t9\t1\n", "NSpid:"), Some("\t9\t1"));
    }
}
