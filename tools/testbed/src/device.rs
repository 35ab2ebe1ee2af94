//! A device under test: a guest with the world around it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::boot::{Boot, Tier};
use crate::disk;
use crate::guest::{Guest, Presence, Streams, captured};
use crate::output::Output;
use crate::qemu::RECORDING;
use crate::run::Run;
use crate::settle::settle;
use crate::world::World;

/// A booted device. Everything of it ends with the value.
pub struct Device {
    guest: Box<dyn Guest>,
    run: Arc<Run>,
    timeout: Duration,
    started: Instant,
}

impl Device {
    /// Begins to describe a boot of the reference image.
    #[must_use]
    pub fn boot(tier: Tier) -> Boot {
        Boot::new(tier)
    }

    pub(crate) fn power_on(guest: Box<dyn Guest>, run: Arc<Run>, timeout: Duration) -> Result<Self> {
        let mut device = Self {
            guest,
            run,
            timeout,
            started: Instant::now(),
        };
        device.guest.start()?;
        Ok(device)
    }

    /// Runs a command in the guest (root, `sh -c`) and keeps its output. A device that has rebooted by itself is
    /// waited for first.
    pub fn run(&mut self, command: &str) -> Result<Output> {
        self.be_there()?;
        let Self { guest, run, .. } = self;
        captured(&run.directory().join("out"), command, |streams| {
            guest.exec(command, streams)
        })
        .with_context(|| format!("cannot run in the guest: {command}"))
    }

    /// Runs a command in the guest, its output going to `streams` as it comes; returns its exit code.
    pub fn stream(&mut self, command: &str, streams: Streams) -> Result<i32> {
        self.be_there()?;
        self.guest
            .exec(command, streams)
            .with_context(|| format!("cannot run in the guest: {command}"))
    }

    /// Asks until the command succeeds and says `wanted`, for as long as `timeout`: for what takes its time.
    pub fn soon(&mut self, timeout: Duration, command: &str, wanted: &str) -> Result<Output> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.run(command)?.says(wanted) {
                Err(error) if Instant::now() >= deadline => {
                    return Err(error).with_context(|| format!("not even after {timeout:?}"));
                }
                Err(_) => std::thread::sleep(self.guest.patience()),
                said => return said,
            }
        }
    }

    /// The world around the device.
    pub fn world(&self) -> World<'_> {
        World::of(&self.run)
    }

    /// The run that this device belongs to.
    pub fn own_run(&self) -> &Run {
        &self.run
    }

    /// What was written to the disk since the last start, if the boot was asked to record it: a file as the kernel's
    /// `dm-log-writes` has it. It may be read while the device runs.
    pub fn recording(&self) -> PathBuf {
        self.run.directory().join(RECORDING)
    }

    /// Writes the disk as it was before the first start to `image`, raw: what the recording goes on top of.
    pub fn first_disk(&self, image: &Path) -> Result<()> {
        disk::first(self.run.directory(), image)
    }

    /// Reboots in order and waits until the device has settled; returns how long that took since it went down.
    pub fn reboot(&mut self) -> Result<Duration> {
        self.be_there()?;
        self.guest.reboot(Instant::now() + self.timeout)?;
        self.started = Instant::now();
        self.settle()
    }

    /// Switches off in order, then on again, and waits until the device has settled; returns how long that took.
    pub fn switch_off_and_on(&mut self) -> Result<Duration> {
        self.run("systemctl poweroff")?.succeeds()?;
        let deadline = Instant::now() + self.timeout;
        while self.guest.check().is_ok() {
            ensure!(
                Instant::now() < deadline,
                "the guest has not switched itself off in time"
            );
            std::thread::sleep(self.guest.patience());
        }
        self.guest.start()?;
        self.started = Instant::now();
        self.settle()
    }

    /// Cuts the power, boots again and waits until the device has settled; returns how long that took.
    pub fn cut(&mut self) -> Result<Duration> {
        self.guest.cut()?;
        self.started = Instant::now();
        self.settle()
    }

    /// Waits until the device has settled; returns how long that took since its start. It has when systemd has
    /// finished booting, the configuration was applied once, and NetworkManager is not connecting.
    pub fn settle(&mut self) -> Result<Duration> {
        let deadline = self.started + self.timeout;
        settle(self.guest.as_mut(), &self.run.directory().join("out"), deadline)?;
        Ok(self.started.elapsed())
    }

    /// When the device was started last.
    pub fn started(&self) -> Instant {
        self.started
    }

    fn be_there(&mut self) -> Result<()> {
        if self.guest.check()? == Presence::Again {
            self.started = Instant::now();
            self.settle()?;
        }
        Ok(())
    }
}
