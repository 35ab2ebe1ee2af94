//! The machine: UEFI firmware, one disk, one network card behind QEMU's own network, serial console on the terminal.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::directory::RunDirectory;
use crate::{image, step};

/// Where QEMU answers the connectivity check: an address of its own network (10.0.2.0/24) that nothing else uses.
pub(super) const CHECK_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 4);
const FIRMWARE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
/// How long QEMU may take to end when it is told to.
const GRACE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(100);

/// How a run ended.
pub(super) enum Outcome {
    /// The guest powered off, or the person left with Ctrl-A X.
    PoweredOff,
    /// This process was told to end.
    Interrupted,
}

/// A running QEMU; ended when dropped.
pub(super) struct Machine(Child);

impl Machine {
    /// Starts it, with ssh at `port` of the loopback. `attended`: the terminal's keys go to the console.
    pub(super) fn start(run: &RunDirectory, port: u16, accel: &str, attended: bool) -> anyhow::Result<Self> {
        let mut command = Command::new("qemu-system-x86_64");
        // -nodefaults: no VGA, floppy or parallel port that a kernel would search for.
        command.args([
            "-nodefaults",
            "-machine",
            "q35",
            "-accel",
            accel,
            "-smp",
            "2",
            "-m",
            "768",
        ]);
        command.args([
            "-display",
            "none",
            "-serial",
            if attended { "mon:stdio" } else { "stdio" },
        ]);
        command
            .arg("-drive")
            .arg(format!("if=pflash,format=raw,readonly=on,file={FIRMWARE}"));
        command
            .arg("-drive")
            .arg(format!("if=pflash,format=raw,file={}", quoted(&run.variables())));
        command.arg("-drive").arg(format!(
            "if=none,id=disk,format=raw,discard=unmap,file={}",
            quoted(&run.disk())
        ));
        command.args([
            "-device",
            "virtio-blk-pci,drive=disk,bootindex=1",
            "-device",
            "virtio-rng-pci",
        ]);
        // The program is started anew for each connection; it is found by the working directory.
        command.arg("-netdev").arg(format!(
            "user,id=net,hostfwd=tcp:127.0.0.1:{port}-:22222,guestfwd=tcp:{CHECK_ADDRESS}:80-cmd:sh no-content.sh"
        ));
        command.args([
            "-device",
            "virtio-net-pci,netdev=net,romfile=",
            "-device",
            "i6300esb",
        ]);
        command.current_dir(image::checkout()?.join("reference"));
        let child = step::tethered(&command)
            .stdin(if attended { Stdio::inherit() } else { Stdio::null() })
            .spawn()
            .context("cannot run qemu-system-x86_64")?;
        Ok(Self(child))
    }

    /// Waits until the machine has ended, or `interrupted`; then ends it.
    pub(super) fn wait(&mut self, interrupted: &AtomicBool) -> anyhow::Result<Outcome> {
        loop {
            if self.has_ended()? {
                return Ok(Outcome::PoweredOff);
            }
            if interrupted.load(Ordering::Relaxed) {
                self.end();
                return Ok(Outcome::Interrupted);
            }
            std::thread::sleep(POLL);
        }
    }

    /// Whether it has ended by itself; an error if QEMU failed.
    pub(super) fn has_ended(&mut self) -> anyhow::Result<bool> {
        match self.0.try_wait().context("cannot wait for QEMU")? {
            None => Ok(false),
            Some(status) if status.success() => Ok(true),
            Some(status) => bail!("qemu-system-x86_64 failed ({status})"),
        }
    }

    /// SIGTERM lets QEMU restore the terminal.
    fn end(&mut self) {
        if let Ok(pid) = i32::try_from(self.0.id()) {
            // It may have ended in this moment: that is what was wanted.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(POLL);
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            self.end();
        }
    }
}

/// A TCP port of the loopback that nobody listens on.
pub(super) fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot find a free port")?;
    Ok(listener.local_addr().context("cannot find a free port")?.port())
}

/// A path inside an option of QEMU: a comma is doubled.
fn quoted(path: &std::path::Path) -> String {
    path.display().to_string().replace(',', ",,")
}
