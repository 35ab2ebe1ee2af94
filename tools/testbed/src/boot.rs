//! What to boot and how: the words before [`Boot::start`].

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::device::Device;
use crate::guest::Guest;
use crate::nspawn::Nspawn;
use crate::qemu::{Firmware, Hardware, Medium, Qemu};
use crate::reference::Reference;
use crate::run::Run;

/// What a guest runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// systemd-nspawn: seconds; no udev, clock, resource limits, Wi-Fi or watchdog.
    Nspawn,
    /// QEMU: a whole machine, emulated; about a minute. It waits until the host has processors for it, so a test that has
    /// one ends it before it starts another.
    Qemu,
}

impl Tier {
    /// How long a guest may take to settle when nobody says otherwise.
    pub fn default_timeout(self) -> Duration {
        Duration::from_secs(match self {
            Self::Nspawn => 60,
            Self::Qemu => 300,
        })
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nspawn => "nspawn",
            Self::Qemu => "qemu",
        })
    }
}

impl FromStr for Tier {
    type Err = anyhow::Error;

    fn from_str(word: &str) -> Result<Self> {
        match word {
            "nspawn" => Ok(Self::Nspawn),
            "qemu" => Ok(Self::Qemu),
            _ => bail!("the tier cannot be {word:?}: it is nspawn or qemu"),
        }
    }
}

/// A boot that is being described.
#[derive(Debug, Clone)]
pub struct Boot {
    tier: Tier,
    config: Option<Config>,
    folder: Option<PathBuf>,
    timeout: Duration,
    firmware: Firmware,
    medium: Medium,
    hardware: Hardware,
}

#[derive(Debug, Clone)]
enum Config {
    File(PathBuf),
    Bytes(Vec<u8>),
}

impl Boot {
    pub(crate) fn new(tier: Tier) -> Self {
        Self {
            tier,
            config: None,
            folder: None,
            timeout: tier.default_timeout(),
            firmware: Firmware::Uefi,
            medium: Medium::default(),
            hardware: Hardware::default(),
        }
    }

    /// `config.json` is a copy of this file; otherwise of `reference/config.json`.
    #[must_use]
    pub fn config(mut self, file: impl Into<PathBuf>) -> Self {
        self.config = Some(Config::File(file.into()));
        self
    }

    /// `config.json` is these bytes, be they JSON or not.
    #[must_use]
    pub fn config_text(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.config = Some(Config::Bytes(text.into()));
        self
    }

    /// The content of this folder goes on the boot partition too. A `config.json` in it takes the place of the
    /// reference one, but not of one that was named.
    #[must_use]
    pub fn boot_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// How long the guest may take from its start, and from each later one, until it has settled.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// In QEMU: the image's kernel is started by QEMU itself, without UEFI and boot loader, and with `words` added
    /// to its command line.
    #[must_use]
    pub fn direct_kernel(mut self, words: impl Into<String>) -> Self {
        self.firmware = Firmware::DirectKernel(words.into());
        self
    }

    /// In QEMU: every write and flush of the disk is recorded from the start on, see [`Device::recording`].
    #[must_use]
    pub fn record_disk(mut self) -> Self {
        self.medium.is_recorded = true;
        self
    }

    /// In QEMU: the disk is this raw image as it is, with the boot partition that it has; it is not written to.
    #[must_use]
    pub fn disk(mut self, image: impl Into<PathBuf>) -> Self {
        self.medium.image = Some(image.into());
        self
    }

    /// In QEMU: the machine's clock (RTC) has this time (`2016-02-29T12:00:00`, UTC) whenever it is switched on, as if it
    /// had no battery; it keeps it over a reboot.
    #[must_use]
    pub fn clock(mut self, time: impl Into<String>) -> Self {
        self.hardware.clock = Some(time.into());
        self
    }

    /// In QEMU: there are serial ports for a modem, which [`World::modem`](crate::World::modem) plugs in, and for the
    /// operator's end of its calls, `/dev/virtio-ports/operator`.
    #[must_use]
    pub fn with_modem(mut self) -> Self {
        self.hardware.has_modem = true;
        self
    }

    /// In QEMU: there is a second network card, [`SECOND_CARD`](crate::SECOND_CARD), whose cable leads nowhere before
    /// [`World::second_uplink`](crate::World::second_uplink).
    #[must_use]
    pub fn with_second_card(mut self) -> Self {
        self.hardware.has_second_card = true;
        self
    }

    /// Boots and waits until the guest has settled.
    pub fn start(self) -> Result<Device> {
        let mut device = self.power_on()?;
        device.settle()?;
        Ok(device)
    }

    /// Boots and does not wait.
    pub fn power_on(self) -> Result<Device> {
        let reference = Reference::locate()?;
        let run = Arc::new(Run::open(&reference.runs(), self.tier)?);
        let boot = run.directory().join("boot.new");
        self.fill(&boot, &reference)?;
        let guest: Box<dyn Guest> = match self.tier {
            Tier::Nspawn => Box::new(Nspawn::new(Arc::clone(&run), &reference, &boot)?),
            Tier::Qemu => Box::new(Qemu::new(
                Arc::clone(&run),
                &reference,
                &boot,
                self.firmware,
                &self.medium,
                self.hardware,
            )?),
        };
        Device::power_on(guest, run, self.timeout)
    }

    /// Lays out what goes on the boot partition.
    fn fill(&self, boot: &Path, reference: &Reference) -> Result<()> {
        fs::create_dir(boot).with_context(|| format!("cannot create {}", boot.display()))?;
        copy(&reference.config(), &boot.join("config.json"))?;
        if let Some(folder) = &self.folder {
            copy_content(folder, boot)?;
        }
        match &self.config {
            Some(Config::File(file)) => copy(file, &boot.join("config.json")),
            Some(Config::Bytes(bytes)) => {
                fs::write(boot.join("config.json"), bytes).context("cannot write config.json")
            }
            None => Ok(()),
        }
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = fs::copy(from, to).map(|_| ());
    copied.with_context(|| format!("cannot copy {} to the boot partition", from.display()))
}

/// Files and folders; FAT has nothing else, so links are followed.
fn copy_content(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let from = entry?.path();
        let Some(name) = from.file_name() else { continue };
        let to = to.join(name);
        if from.is_dir() {
            fs::create_dir_all(&to).with_context(|| format!("cannot create {}", to.display()))?;
            copy_content(&from, &to)?;
        } else {
            copy(&from, &to)?;
        }
    }
    Ok(())
}
