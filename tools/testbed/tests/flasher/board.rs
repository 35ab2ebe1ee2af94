//! A board: QEMU with the flasher's medium, from which UEFI starts first, and the device's. QEMU has
//! an eMMC for the machines only that have one built in, so it is a disk that `flasher.txt` names.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::medium::Media;

/// Generous: an emulated machine that shares its host.
const PATIENCE: Duration = Duration::from_secs(900);
const TICK: Duration = Duration::from_millis(10);

/// A board that is on.
pub struct Board<'a> {
    media: &'a Media,
    process: Child,
}

impl<'a> Board<'a> {
    /// Switches it on.
    pub fn start(media: &'a Media) -> Result<Self> {
        let variables = media.path("variables.fd");
        fs::copy("/usr/share/OVMF/OVMF_VARS_4M.fd", &variables).context("cannot copy OVMF (package ovmf)")?;
        let _ = fs::remove_file(media.path("console.log"));
        // It ends with this process, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
        command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]);
        command.args([
            "-machine",
            "q35",
            "-accel",
            "tcg,thread=multi",
            "-smp",
            "2",
            "-m",
            "768",
        ]);
        command.args(["-device", "virtio-rng-pci", "-nic", "none"]);
        command.args([
            "-drive",
            "if=pflash,unit=0,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd",
        ]);
        command.args(["-drive", "if=pflash,unit=1,format=raw,file=variables.fd"]);
        command.args(["-drive", "if=none,id=flasher,format=raw,file=flasher.img"]);
        command.args(["-device", "virtio-blk-pci,drive=flasher,bootindex=1"]);
        command.args(["-drive", "if=none,id=device,format=raw,file=device.img"]);
        command.args([
            "-device",
            "virtio-blk-pci,drive=device,serial=soldered,bootindex=2",
        ]);
        command.args(["-serial", "file:console.log"]);
        let log = File::create(media.path("qemu.log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let process = command
            .current_dir(media.path(""))
            .spawn()
            .context("cannot start QEMU")?;
        Ok(Self { media, process })
    }

    /// What is on the console.
    pub fn console(&self) -> String {
        let text = fs::read(self.media.path("console.log")).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Waits for a text on the console.
    pub fn shows(&mut self, text: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.console().contains(text) {
            if let Some(status) = self.process.try_wait()? {
                bail!("it is off ({status}) before it said {text:?}: {}", self.tail());
            }
            ensure!(
                Instant::now() < deadline,
                "it does not say {text:?}: {}",
                self.tail()
            );
            thread::sleep(TICK);
        }
        Ok(())
    }

    /// Whether it is on.
    pub fn is_on(&mut self) -> Result<bool> {
        Ok(self.process.try_wait()?.is_none())
    }

    /// Takes the power away.
    pub fn cut(mut self) -> Result<()> {
        ensure!(
            self.process.try_wait()?.is_none(),
            "it was off already: {}",
            self.tail()
        );
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Waits until it has switched itself off.
    pub fn switches_itself_off(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait()? {
                ensure!(status.success(), "{status}: {}", self.tail());
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "it stays on: {}", self.tail());
            thread::sleep(TICK);
        }
    }

    fn tail(&self) -> String {
        let console = self.console();
        let lines: Vec<_> = console.lines().collect();
        let qemu = fs::read_to_string(self.media.path("qemu.log")).unwrap_or_default();
        format!("{qemu}\n{}", lines[lines.len().saturating_sub(40)..].join("\n"))
    }
}

impl Drop for Board<'_> {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
