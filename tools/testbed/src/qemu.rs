//! A guest in QEMU: firmware, boot loader, kernel, a disk with partitions. Emulated (`-accel tcg`) on purpose:
//! where /dev/kvm opens, a guest may still hang under it.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::agent::Agent;
use crate::disk::{self, Layout};
use crate::guest::{Guest, Presence, Streams, captured, tail};
use crate::qmp::Qmp;
use crate::reference::Reference;
use crate::run::{Run, SpawnApart, only_child};
use crate::world::{CARD, GUEST_MAC, INTERFACE, MODEM_SOCKETS, SECOND_INTERFACE, SOCKET as LINK_SOCKET};

/// UEFI for the machine q35, as Debian's package `ovmf` has it; the second is a template.
const FIRMWARE: [&str; 2] = [
    "/usr/share/OVMF/OVMF_CODE_4M.fd",
    "/usr/share/OVMF/OVMF_VARS_4M.fd",
];
/// How long QEMU may take to open its sockets.
const OPENING: Duration = Duration::from_secs(20);
const TICK: Duration = Duration::from_millis(5);
/// How often a machine that waits for another one looks whether it has ended.
const TURN: Duration = Duration::from_millis(250);
/// Processors of a machine. Each is a thread that keeps a processor of the host busy.
const PROCESSORS: usize = 2;

/// How the kernel is found.
#[derive(Debug, Clone)]
pub(crate) enum Firmware {
    /// UEFI, then the boot loader of the boot partition, as on a device.
    Uefi,
    /// QEMU loads the image's kernel itself; these words are added to the kernel's command line.
    DirectKernel(String),
}

/// The machine's disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Medium {
    /// A raw image to start from, in place of the reference image with the run's files on its boot partition.
    pub(crate) image: Option<PathBuf>,
    /// Every write and flush is recorded, from each start on.
    pub(crate) is_recorded: bool,
}

/// What the machine has beside disk and network card, and how its clock is set.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hardware {
    /// The time at every start, as QEMU's `-rtc base=` has it; otherwise the host's.
    pub(crate) clock: Option<String>,
    pub(crate) has_modem: bool,
    pub(crate) has_second_card: bool,
}

/// The guest's name of its second card, by the slot that it is in.
pub const SECOND_CARD: &str = "enp0s16";
const SECOND_SLOT: &str = "0x10";

/// The recording, in the run's folder: `log-writes` of the kernel's device mapper (admin-guide/device-mapper).
pub(crate) const RECORDING: &str = "disk.log";

/// A machine, running or not.
pub(crate) struct Qemu {
    run: Arc<Run>,
    reference: Reference,
    layout: Layout,
    disk: PathBuf,
    is_recorded: bool,
    firmware: Firmware,
    hardware: Hardware,
    cgroup: PathBuf,
    agent: Agent,
    process: Option<Process>,
    /// Held as long as there is the machine.
    _place: File,
}

/// Waits until the host has processors for one machine more. With more machines than that none gets ahead: what a device
/// waits ten seconds for takes it a minute.
fn place(runs: &Path) -> Result<File> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let mut is_told = false;
    loop {
        for number in 0..(processors / PROCESSORS).max(1) {
            let path = runs.join(format!(".machine-{number}"));
            let place = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
            match place.try_lock() {
                Ok(()) => return Ok(place),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("cannot lock {}", path.display()));
                }
            }
        }
        if !is_told {
            eprintln!("testbed: this waits until another emulated machine has ended");
            is_told = true;
        }
        thread::sleep(TURN);
    }
}

struct Process {
    nsenter: Child,
    monitor: Qmp,
}

impl Qemu {
    /// Makes the run's disk. `boot` is what goes on the boot partition, where it is not a given image's.
    pub(crate) fn new(
        run: Arc<Run>,
        reference: &Reference,
        boot: &Path,
        firmware: Firmware,
        medium: &Medium,
        hardware: Hardware,
    ) -> Result<Self> {
        let place = place(&reference.runs())?;
        let layout = Layout::read(reference)?;
        let disk = match &medium.image {
            Some(image) => disk::over(run.directory(), image, &layout)?,
            None => disk::make(run.directory(), reference, &layout, boot)?,
        };
        if medium.is_recorded {
            // What the recording starts from.
            disk::keep_first(&disk)?;
        }
        if matches!(firmware, Firmware::Uefi) {
            let variables = run.directory().join("variables.fd");
            fs::copy(FIRMWARE[1], variables).with_context(|| {
                format!(
                    "cannot copy {} (package ovmf): run `cargo xtask setup`",
                    FIRMWARE[1]
                )
            })?;
        }
        let cgroup = run.guest_cgroup()?;
        let agent = Agent::new(run.directory().join("agent.sock"));
        Ok(Self {
            reference: reference.clone(),
            run,
            layout,
            disk,
            is_recorded: medium.is_recorded,
            firmware,
            hardware,
            cgroup,
            agent,
            process: None,
            _place: place,
        })
    }

    /// QEMU's command line. Its folder is the run's, so that the sockets' paths are short.
    fn command(&self) -> Command {
        let mut command = self.run.enter(self.run.directory(), "sh");
        command
            .args(["-c", r#"echo 0 >"$0/cgroup.procs" && exec "$@""#])
            .arg(&self.cgroup);
        command.args([
            "qemu-system-x86_64",
            "-name",
            "fleet",
            "-nodefaults",
            "-no-user-config",
        ]);
        command.args([
            "-machine",
            "q35",
            "-accel",
            "tcg,thread=multi",
            "-smp",
            &PROCESSORS.to_string(),
            "-m",
            "768",
        ]);
        command.args(["-display", "none", "-device", "virtio-rng-pci"]);
        if let Some(clock) = &self.hardware.clock {
            command.args(["-rtc", &format!("base={clock}")]);
        }
        match &self.firmware {
            Firmware::Uefi => {
                let flash = |number, options: &str| format!("if=pflash,unit={number},format=raw,{options}");
                command.args(["-drive", &flash(0, &format!("readonly=on,file={}", FIRMWARE[0]))]);
                command.args(["-drive", &flash(1, "file=variables.fd")]);
            }
            Firmware::DirectKernel(words) => {
                let root = self.reference.root();
                let beside = |name| root.with_file_name(name);
                command
                    .arg("-kernel")
                    .arg(beside("vmlinuz"))
                    .arg("-initrd")
                    .arg(beside("initrd.img"));
                command.args(["-append", &format!("{} {words}", self.layout.command_line)]);
            }
        }
        command.args(self.medium());
        command.args([
            "-netdev",
            &format!("tap,id=net0,ifname={INTERFACE},script=no,downscript=no"),
        ]);
        // Without the option ROM that boots from the network.
        let card = format!("virtio-net-pci,netdev=net0,id={CARD},mac={GUEST_MAC},romfile=");
        command.args(["-device", &card]);
        if self.hardware.has_second_card {
            let tap = format!("tap,id=net1,ifname={SECOND_INTERFACE},script=no,downscript=no");
            let card = format!("virtio-net-pci,netdev=net1,addr={SECOND_SLOT},romfile=");
            command.args(["-netdev", &tap, "-device", &card]);
        }
        command.args([
            "-chardev",
            "file,id=console,path=console.log,append=on",
            "-serial",
            "chardev:console",
        ]);
        command.args([
            "-device",
            "virtio-serial-pci",
            "-chardev",
            "socket,id=agent,path=agent.sock,server=on,wait=off",
        ]);
        command.args([
            "-device",
            "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
        ]);
        if self.hardware.has_modem {
            for (name, socket) in ["modem", "operator"].iter().zip(MODEM_SOCKETS) {
                command.args([
                    "-chardev",
                    &format!("socket,id={name},path={socket},server=on,wait=off"),
                ]);
            }
            command.args(["-device", "qemu-xhci", "-device", "usb-serial,chardev=modem"]);
            command.args(["-device", "virtserialport,chardev=operator,name=operator"]);
        }
        for (name, socket) in [("monitor", "qmp.sock"), ("link", LINK_SOCKET)] {
            command.args([
                "-chardev",
                &format!("socket,id={name},path={socket},server=on,wait=off"),
            ]);
            command.args(["-mon", &format!("chardev={name},mode=control")]);
        }
        // What tells this board from others.
        command.args(["-smbios", "type=1,serial=fleet-testbed"]);
        // The chipset's own watchdog is off: the guest's /dev/watchdog0 is this one.
        command.args(["-global", "ICH9-LPC.enable_tco=off"]);
        command.args(["-device", "i6300esb,id=watchdog0", "-action", "watchdog=reset"]);
        command
    }

    /// The options that give the machine its disk.
    fn medium(&self) -> Vec<String> {
        // What a killed QEMU loses is what a power cut takes from a disk with a volatile cache: writes since the
        // guest's last flush, as far as qcow2 keeps their place on the disk in memory. What was flushed stays.
        // cache=unsafe would lose flushed writes too; cache=directsync would lose nothing but what is in flight.
        // Against `writeback`, `none` changes only the host's page cache, and asks for O_DIRECT that not every
        // file system has.
        let file = self.disk.display();
        let mut options = if self.is_recorded {
            // The number of entries is in the log's first sector: kept current, so that the log can be read while
            // the machine runs. Nobody cuts the host's power, so the log needs no flush.
            vec![
                "-blockdev".into(),
                format!("driver=qcow2,node-name=overlay,file.driver=file,file.filename={file}"),
                "-blockdev".into(),
                format!("driver=file,node-name=recording,filename={RECORDING},cache.no-flush=on"),
                "-blockdev".into(),
                "driver=blklogwrites,node-name=disk0,file=overlay,log=recording,log-sector-size=512,\
                 log-append=off,log-super-update-interval=1"
                    .into(),
            ]
        } else {
            vec![
                "-drive".into(),
                format!("if=none,id=disk0,format=qcow2,cache=writeback,file={file}"),
            ]
        };
        options.extend(["-device".into(), "virtio-blk-pci,drive=disk0,bootindex=1".into()]);
        options
    }

    fn path(&self, name: &str) -> PathBuf {
        self.run.directory().join(name)
    }

    fn complaints(&self) -> String {
        fs::read_to_string(self.path("qemu.log"))
            .unwrap_or_default()
            .trim()
            .to_owned()
    }
}

impl Drop for Qemu {
    /// As for systemd-nspawn: nsenter has to reap QEMU.
    fn drop(&mut self) {
        self.run.end();
        if let Some(process) = &mut self.process {
            let _ = process.nsenter.wait();
        }
    }
}

impl Guest for Qemu {
    fn start(&mut self) -> Result<()> {
        for socket in ["agent.sock", "qmp.sock", LINK_SOCKET]
            .into_iter()
            .chain(MODEM_SOCKETS)
        {
            let _ = fs::remove_file(self.path(socket));
        }
        if self.is_recorded {
            // QEMU opens it and does not make it.
            File::create(self.path(RECORDING)).context("cannot create the disk's recording")?;
        }
        let log = File::create(self.path("qemu.log")).context("cannot create qemu.log")?;
        let mut nsenter = self
            .command()
            .stdout(Stdio::from(log.try_clone()?))
            .stderr(Stdio::from(log))
            .spawn_apart()
            .context("cannot start nsenter (util-linux)")?;
        let deadline = Instant::now() + OPENING;
        let monitor = loop {
            match Qmp::connect(&self.path("qmp.sock")) {
                Ok(monitor) => break monitor,
                Err(error) if Instant::now() >= deadline => {
                    return Err(
                        error.context(format!("QEMU does not answer; it says: {}", self.complaints()))
                    );
                }
                Err(_) => {}
            }
            if let Some(status) = nsenter.try_wait()? {
                bail!("QEMU failed ({status}): {}", self.complaints());
            }
            thread::sleep(TICK);
        };
        self.agent.forget();
        self.process = Some(Process { nsenter, monitor });
        // The cable may have been unplugged before this machine was there.
        let out = self.path("out");
        let run = Arc::clone(&self.run);
        captured(&out, "world link-mirror", |streams| {
            crate::world::World::of(&run).stream("world link-mirror", streams)
        })?
        .succeeds()?;
        Ok(())
    }

    fn check(&mut self) -> Result<Presence> {
        let complaints = self.complaints();
        let console = self.console();
        let Some(process) = &mut self.process else {
            bail!("the guest is off")
        };
        if let Some(status) = process.nsenter.try_wait()? {
            self.process = None;
            bail!(
                "QEMU has ended ({status}) {complaints}; the end of the guest's console:\n{}",
                tail(&console, 25)
            );
        }
        if process.monitor.events()?.iter().any(|event| event == "RESET") {
            self.agent.forget();
            return Ok(Presence::Again);
        }
        Ok(Presence::Same)
    }

    fn exec(&mut self, command: &str, streams: Streams) -> Result<i32> {
        ensure!(self.process.is_some(), "the guest is off");
        self.agent.exec(command, streams)
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

    fn cut(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else {
            bail!("the guest is off")
        };
        let qemu = only_child(process.nsenter.id()).context("cannot find QEMU's process")?;
        kill(Pid::from_raw(qemu), Signal::SIGKILL).context("cannot kill QEMU")?;
        process.nsenter.wait().context("cannot wait for QEMU")?;
        self.start()
    }

    fn console(&self) -> PathBuf {
        self.path("console.log")
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(250)
    }
}
