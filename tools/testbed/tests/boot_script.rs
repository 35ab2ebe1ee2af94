//! The script of `meta-fleet` in a real U-Boot, on a disk with its partitions: which slot it starts, with which words,
//! and what it writes. The kernel is one that prints its command line and resets, as a kernel that panics does; RAUC's
//! part is done with the tools of libubootenv that RAUC calls.
//!
//! `FLEET_UBOOT=u-boot.bin` takes another U-Boot than Debian's, such as the one of the layer for qemuarm64.

mod loader;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use loader::{
    COPY_SIZE, Folder, Machine, environment, guid, make, run, set_environment, template, templates,
};

/// Debian's package u-boot-qemu.
const UBOOT: &str = "/usr/lib/u-boot/qemu_arm64/u-boot.bin";
/// loader/kernel.s, assembled.
const KERNEL: [u32; 43] = [
    0x1400_0010,
    0x0000_0000,
    0x0000_0000,
    0x0000_0000,
    0x0001_0000,
    0x0000_0000, //
    0x0000_000a,
    0x0000_0000,
    0x0000_0000,
    0x0000_0000,
    0x0000_0000,
    0x0000_0000, //
    0x0000_0000,
    0x0000_0000,
    0x644d_5241,
    0x0000_0000,
    0xd2a1_2001,
    0x3940_0003, //
    0x7101_c87f,
    0x5400_0141,
    0x3940_0403,
    0x7101_bc7f,
    0x5400_00e1,
    0x3940_0c03, //
    0x7101_d07f,
    0x5400_0081,
    0x3940_1003,
    0x7100_f47f,
    0x5400_0060,
    0x9100_0400, //
    0x17ff_fff3,
    0x5280_07c3,
    0xb900_0023,
    0x3840_1403,
    0x3400_0063,
    0xb900_0023, //
    0x17ff_fffd,
    0x5280_0143,
    0xb900_0023,
    0x52b0_8000,
    0x7280_0120,
    0xd400_0002, //
    0x1400_0000,
];
const WORDS: &str = "ro init=/usr/libexec/fleet/fleet-preinit";
const RESCUE: &str = " systemd.unit=fleet-rescue.target systemd.mask=data.mount";

/// What has become of a slot.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Slot {
    Good,
    Trial,
    Spent,
    /// Marked good, and its kernel cannot be loaded.
    Absent,
}
use Slot::{Absent, Good, Spent, Trial};

/// What a boot does: a slot's kernel is started, ordinarily or in rescue, and the environment is written or not.
#[derive(Debug, PartialEq)]
enum Boot {
    Ordinary(char),
    /// The environment is written: a try is counted, or another slot is remembered as the last good one.
    Written(char),
    Rescue(char),
    Nothing,
}
use Boot::{Nothing, Ordinary, Rescue, Written};

/// The table of docs/boot.md: slot A, slot B, what the boot does. Order A, B; A was the last good slot.
const TABLE: [(Slot, Slot, Boot); 16] = [
    (Good, Good, Ordinary('A')),
    (Good, Trial, Ordinary('A')),
    (Good, Spent, Ordinary('A')),
    (Good, Absent, Ordinary('A')),
    (Trial, Good, Written('A')),
    (Trial, Trial, Written('A')),
    (Trial, Spent, Written('A')),
    (Trial, Absent, Written('A')),
    (Spent, Good, Written('B')),
    (Spent, Trial, Written('B')),
    (Spent, Spent, Written('A')),
    (Spent, Absent, Written('A')),
    (Absent, Good, Written('B')),
    (Absent, Trial, Written('B')),
    (Absent, Spent, Written('B')),
    (Absent, Absent, Nothing),
];

/// A disk, and what libubootenv has to know to reach its environment.
struct Disk {
    folder: Folder,
    path: PathBuf,
}

impl Disk {
    /// With a kernel in the slots that are not [`Absent`], and the environment that an image comes with.
    fn new(name: &str, a: Slot, b: Slot) -> Result<Self> {
        let folder = Folder::new(name)?;
        let script = template(
            "boot.cmd.in",
            &[
                ("ARGUMENTS", WORDS),
                ("KERNEL", "Image"),
                ("FDT", "firmware"),
                ("BOOT", "booti"),
            ],
        )?;
        let (source, binary) = (folder.join("boot.cmd"), folder.join("boot.scr"));
        fs::write(&source, script)?;
        run(Command::new("mkimage")
            .args(["-A", "arm64", "-T", "script", "-C", "none", "-d"])
            .args([&source, &binary]))?;
        let kernel: Vec<u8> = KERNEL.iter().flat_map(|word| word.to_le_bytes()).collect();
        for (slot, state) in [("a", a), ("b", b)] {
            fs::create_dir_all(folder.join(slot).join("boot"))?;
            if state != Absent {
                fs::write(folder.join(slot).join("boot/Image"), &kernel)?;
            }
        }
        let path = folder.join("disk.img");
        make(
            &folder,
            &path,
            &[binary],
            [&folder.join("a"), &folder.join("b")],
            4,
        )?;
        let image = folder.join("env.img");
        run(Command::new("mkenvimage")
            .args(["-r", "-s", &COPY_SIZE.to_string(), "-o"])
            .args([&image, &templates().join("boot.env")]))?;
        let image = fs::read(&image)?;
        set_environment(&path, [&image, &image])?;
        let disk = Self { folder, path };
        // The file of the layer, on this disk.
        let config = fs::read_to_string(templates().join("fw_env.config"))?;
        fs::write(
            disk.config(),
            config.replace("/dev/disk/fleet/disk", &disk.path.to_string_lossy()),
        )?;
        disk.set("BOOT_A_LEFT", left(a))?;
        disk.set("BOOT_B_LEFT", left(b))?;
        Ok(disk)
    }

    fn config(&self) -> PathBuf {
        self.folder.join("fw_env.config")
    }

    /// As RAUC does it.
    fn set(&self, name: &str, value: &str) -> Result<()> {
        run(Command::new("fw_setenv")
            .arg("-c")
            .arg(self.config())
            .args([name, value]))
        .map(drop)
    }

    fn get(&self, name: &str) -> Result<String> {
        let text = run(Command::new("fw_printenv")
            .arg("-c")
            .arg(self.config())
            .args(["-n", name]))?;
        Ok(text.trim().to_owned())
    }

    fn machine(&self, options: &str) -> Result<Machine> {
        let uboot = std::env::var_os("FLEET_UBOOT").map_or_else(|| PathBuf::from(UBOOT), PathBuf::from);
        ensure!(
            uboot.exists(),
            "there is no {}: run `cargo xtask setup`",
            uboot.display()
        );
        let mut command = Command::new("qemu-system-aarch64");
        command.args([
            "-machine",
            "virt",
            "-cpu",
            "cortex-a57",
            "-accel",
            "tcg",
            "-m",
            "256",
        ]);
        command
            .args(["-nodefaults", "-display", "none", "-serial", "stdio", "-bios"])
            .arg(uboot);
        command.args(["-device", "virtio-blk-device,drive=disk", "-drive"]);
        command.arg(format!(
            "if=none,id=disk,format=raw,file={}{options}",
            self.path.display()
        ));
        Machine::start(&mut command)
    }

    /// The next `count` boots, each of which ends with a reset: what the kernels were told.
    fn boots(&self, count: usize, options: &str) -> Result<Vec<String>> {
        self.machine(options)?.until(|said| {
            let kernels: Vec<String> = said
                .split_inclusive('\n')
                .filter(|line| line.ends_with('\n'))
                .filter_map(|line| line.trim().strip_prefix('>'))
                .map(str::to_owned)
                .collect();
            (kernels.len() >= count).then(|| kernels[..count].to_vec())
        })
    }

    /// One boot, and whether it wrote.
    fn boot(&self) -> Result<Boot> {
        let before = fs::read(&self.path)?;
        let mut machine = self.machine("")?;
        let line = machine.until(|said| {
            said.split_inclusive('\n')
                .filter(|line| line.ends_with('\n'))
                .map(str::trim)
                .find(|line| line.starts_with('>') || line.starts_with("fleet: no slot"))
                .map(str::to_owned)
        })?;
        drop(machine);
        let written = before != fs::read(&self.path)?;
        let Some(words) = line.strip_prefix('>') else {
            ensure!(!written, "nothing was started, and something was written");
            return Ok(Nothing);
        };
        let slot = slot_of(words)?;
        Ok(match (words.ends_with(RESCUE), written) {
            (true, _) => Rescue(slot),
            (false, true) => Written(slot),
            (false, false) => Ordinary(slot),
        })
    }
}

/// `BOOT_x_LEFT` of a slot in this state.
fn left(slot: Slot) -> &'static str {
    match slot {
        Good | Absent => "9",
        Trial => "2",
        Spent => "0",
    }
}

/// The slot of a command line, which has to be the whole line that the slot gets.
fn slot_of(words: &str) -> Result<char> {
    let slot = if words.contains("rauc.slot=A") { 'A' } else { 'B' };
    let whole = format!("root=PARTUUID={} rauc.slot={slot} {WORDS}", guid(slot));
    ensure!(
        words == whole || words == format!("{whole}{RESCUE}"),
        "the kernel got {words:?}, and not {whole:?}"
    );
    Ok(slot)
}

fn walk(rows: &[(Slot, Slot, Boot)]) -> Result<()> {
    for (a, b, expected) in rows {
        let disk = Disk::new(&format!("{a:?}-{b:?}"), *a, *b)?;
        let boot = disk.boot().with_context(|| format!("A {a:?}, B {b:?}"))?;
        ensure!(
            boot == *expected,
            "A {a:?}, B {b:?}: {boot:?} and not {expected:?}"
        );
        match boot {
            // What was counted is the slot that was started, and one try.
            Written(slot) => {
                let state = if slot == 'A' { *a } else { *b };
                let tries = disk.get(&format!("BOOT_{slot}_LEFT"))?;
                match state {
                    Trial => ensure!(tries == "1", "A {a:?}, B {b:?}: {tries} tries are left"),
                    Good => {
                        ensure!(tries == "9" && disk.get("FLEET_GOOD")? == slot.to_string());
                        // Once.
                        let again = disk.boot()?;
                        ensure!(again == Ordinary(slot), "A {a:?}, B {b:?}, again: {again:?}");
                    }
                    Spent | Absent => ensure!(disk.get("FLEET_TRIES")? == "2"),
                }
            }
            Ordinary(_) | Rescue(_) | Nothing => {}
        }
    }
    Ok(())
}

#[test]
fn every_state_of_two_slots_boots_what_the_table_says() -> Result<()> {
    loader::in_halves(&TABLE, walk)
}

#[test]
fn a_kernel_that_panics_spends_its_tries_and_nothing_goes_round_for_ever() -> Result<()> {
    // An update in B that panics, while A is good: three tries, then A for as long as it likes.
    let disk = Disk::new("update", Good, Spent)?;
    // RAUC's `mark-active`.
    disk.set("BOOT_B_LEFT", "3")?;
    disk.set("BOOT_ORDER", "B A")?;
    let slots: String = disk
        .boots(5, "")?
        .iter()
        .map(|words| slot_of(words))
        .collect::<Result<_>>()?;
    ensure!(slots == "BBBAA", "{slots}");
    ensure!(disk.get("BOOT_A_LEFT")? == "9" && disk.get("BOOT_B_LEFT")? == "0");
    // Marked good by hand, the next boot goes there, and remembers it.
    disk.set("BOOT_B_LEFT", "9")?;
    ensure!(disk.boot()? == Written('B') && disk.boot()? == Ordinary('B'));

    // Then both are spent: three times the last good slot, then rescue in turns.
    disk.set("BOOT_A_LEFT", "0")?;
    disk.set("BOOT_B_LEFT", "0")?;
    let boots = disk.boots(7, "")?;
    let slots: String = boots.iter().map(|words| slot_of(words)).collect::<Result<_>>()?;
    ensure!(slots == "BBBBABA", "{slots}");
    let rescues: Vec<bool> = boots.iter().map(|words| words.ends_with(RESCUE)).collect();
    ensure!(
        rescues == [false, false, false, true, true, true, true],
        "{rescues:?}"
    );
    // A slot that is marked good ends it, and the last resort is whole again.
    disk.set("BOOT_A_LEFT", "9")?;
    ensure!(disk.boot()? == Written('A') && disk.get("FLEET_TRIES")? == "3");
    ensure!(disk.boot()? == Ordinary('A'));
    // RAUC's `mark-bad` also takes the slot out of the order.
    disk.set("BOOT_ORDER", "B")?;
    disk.set("BOOT_A_LEFT", "0")?;
    disk.set("BOOT_B_LEFT", "3")?;
    ensure!(disk.boot()? == Written('B'));
    // And `mark-good` does not put it back: of both, nothing is left of the order.
    disk.set("BOOT_ORDER", "")?;
    disk.set("BOOT_B_LEFT", "0")?;
    disk.set("BOOT_A_LEFT", "9")?;
    ensure!(disk.boot()? == Ordinary('A'));
    Ok(())
}

#[test]
fn a_damaged_environment_costs_a_copy_and_a_try_that_cannot_be_counted_is_none() -> Result<()> {
    let disk = Disk::new("damage", Good, Trial)?;
    disk.set("BOOT_ORDER", "B A")?;
    let counters = |disk: &Disk| -> Result<[u8; 2]> { Ok(environment(&disk.path)?.map(|copy| copy[4])) };
    let newer = |disk: &Disk| -> Result<usize> {
        let [first, second] = counters(disk)?;
        Ok(usize::from(second == first.wrapping_add(1)))
    };

    // Nothing can be written: the trial is left out.
    let slots: String = disk
        .boots(1, ",readonly=on")?
        .iter()
        .map(|words| slot_of(words))
        .collect::<Result<_>>()?;
    ensure!(slots == "A", "{slots}");

    // The counter of the copies goes from 255 to 0.
    let mut copies = environment(&disk.path)?;
    let last = newer(&disk)?;
    copies[last][4] = 255;
    copies[1 - last][4] = 254;
    set_environment(&disk.path, [&copies[0], &copies[1]])?;
    ensure!(disk.boot()? == Written('B') && disk.get("BOOT_B_LEFT")? == "1");
    ensure!(
        newer(&disk)? == 1 - last && counters(&disk)?[1 - last] == 0,
        "{:?}",
        counters(&disk)?
    );

    // Power lost while the newer copy was written: the older one holds, with one try more.
    let mut copies = environment(&disk.path)?;
    copies[1 - last][100..600].fill(0xff);
    set_environment(&disk.path, [&copies[0], &copies[1]])?;
    ensure!(disk.boot()? == Written('B') && disk.get("BOOT_B_LEFT")? == "1");

    // Nothing is left of both: the slots count as good, and nothing is written.
    let nothing = vec![0xff; COPY_SIZE];
    set_environment(&disk.path, [&nothing, &nothing])?;
    ensure!(disk.boot()? == Ordinary('A'));

    // What nobody writes there is neither good nor a try.
    let image = disk.folder.join("env.img");
    let text = disk.folder.join("odd.env");
    fs::write(
        &text,
        "BOOT_ORDER=C B A\nBOOT_A_LEFT=9\nBOOT_B_LEFT=-; reset\nFLEET_GOOD=A\nFLEET_TRIES=3\nbootcmd=reset\n",
    )?;
    let odd = mkenvimage(&text, &image)?;
    set_environment(&disk.path, [&odd, &odd])?;
    ensure!(disk.boot()? == Ordinary('A'));
    Ok(())
}

fn mkenvimage(text: &Path, image: &Path) -> Result<Vec<u8>> {
    run(Command::new("mkenvimage")
        .args(["-r", "-s", &COPY_SIZE.to_string(), "-o"])
        .args([image, text]))?;
    Ok(fs::read(image)?)
}
