//! The GRUB configuration of `meta-fleet`, run by the reference image's GRUB on UEFI firmware: which slot it starts, with
//! which words, and what it writes. RAUC's part is done with `rauc-grub`, which RAUC calls. What a kernel does then is
//! for `slots_qemu.rs`, which boots the whole image.

#![cfg(feature = "long")]

mod loader;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use loader::{FIRST, Folder, Machine, guid, make, run, template, templates};
use testbed::Reference;

const FIRMWARE: [&str; 2] = [
    "/usr/share/OVMF/OVMF_CODE_4M.fd",
    "/usr/share/OVMF/OVMF_VARS_4M.fd",
];
/// The files of the environment.
const COPIES: [&str; 2] = ["fleet-1.env", "fleet-2.env"];
/// The last of them shows that the words are whole.
const WORDS: &str = "ro init=/usr/libexec/fleet/fleet-preinit end";

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

/// Slot A, slot B, what GRUB says, and whether it writes: the table of docs/boot.md. Order A, B; A was the last good slot.
const TABLE: [(Slot, Slot, &str, bool); 16] = [
    (Good, Good, "slot A", false),
    (Good, Trial, "slot A", false),
    (Good, Spent, "slot A", false),
    (Good, Absent, "slot A", false),
    (Trial, Good, "slot A, on trial", true),
    (Trial, Trial, "slot A, on trial", true),
    (Trial, Spent, "slot A, on trial", true),
    (Trial, Absent, "slot A, on trial", true),
    (Spent, Good, "slot B", true),
    (Spent, Trial, "slot B, on trial", true),
    (Spent, Spent, "slot A, last resort", true),
    (Spent, Absent, "slot A, last resort", true),
    (Absent, Good, "slot B", true),
    (Absent, Trial, "slot B, on trial", true),
    (Absent, Spent, "slot B, last resort", true),
    (Absent, Absent, "no slot can be started", false),
];

struct Disk {
    folder: Folder,
    path: PathBuf,
}

impl Disk {
    /// With the image's kernel in the slots that are not [`Absent`].
    fn new(name: &str, a: Slot, b: Slot) -> Result<Self> {
        let reference = Reference::locate()?;
        let folder = Folder::new(name)?;
        let boot = folder.join("EFI/BOOT");
        fs::create_dir_all(&boot)?;
        let grub = reference.root().join("usr/lib/fleet-reference/BOOTX64.EFI");
        fs::copy(&grub, boot.join("BOOTX64.EFI"))
            .with_context(|| format!("cannot copy {}", grub.display()))?;
        let configuration = template(
            "grub.cfg.in",
            &[
                ("ARGUMENTS", WORDS),
                ("KERNEL", "vmlinuz"),
                ("INITRD", "initrd.img"),
            ],
        )?;
        fs::write(boot.join("grub.cfg"), configuration)?;
        for (slot, state) in [("a", a), ("b", b)] {
            let boot = folder.join(slot).join("boot");
            fs::create_dir_all(&boot)?;
            fs::write(boot.join("initrd.img"), "none")?;
            if state != Absent {
                fs::copy(reference.root().join("boot/vmlinuz"), boot.join("vmlinuz"))?;
            }
        }
        let path = folder.join("disk.img");
        make(
            &folder,
            &path,
            &[folder.join("EFI")],
            [&folder.join("a"), &folder.join("b")],
            24,
        )?;
        let mut block = fs::read(templates().join("grub.env"))?;
        block.resize(1024, b'#');
        for copy in COPIES {
            fs::write(folder.join(copy), &block)?;
        }
        let disk = Self { folder, path };
        for (slot, state) in [("B", b), ("A", a)] {
            match state {
                Good | Absent => {}
                Trial => disk.rauc(&["set-primary", slot]).map(drop)?,
                Spent => disk.edit(&format!("{slot}_OK=1"), &format!("{slot}_OK=0"))?,
            }
        }
        // The table's order.
        disk.edit("ORDER=B A", "ORDER=A B")?;
        Ok(disk)
    }

    /// What RAUC runs.
    fn rauc(&self, arguments: &[&str]) -> Result<String> {
        let said = run(Command::new(templates().join("rauc-grub"))
            .args(arguments)
            .env("FLEET_GRUB_FOLDER", self.folder.path()))?;
        Ok(said.trim().to_owned())
    }

    /// Replaces a text by one as long in both copies, if it is there.
    fn edit(&self, from: &str, to: &str) -> Result<()> {
        for copy in COPIES {
            let text = fs::read_to_string(self.folder.join(copy))?;
            fs::write(self.folder.join(copy), text.replace(from, to))?;
        }
        Ok(())
    }

    fn says(&self, line: &str) -> Result<()> {
        let copy = fs::read_to_string(self.folder.join(COPIES[0]))?;
        ensure!(copy.lines().any(|found| found == line), "no {line} in:\n{copy}");
        Ok(())
    }

    /// Copies of the environment between this machine and the disk.
    fn mcopy(&self, arguments: &[String]) -> Result<()> {
        run(Command::new("mcopy")
            .args(["-o", "-i"])
            .arg(format!("{}@@{FIRST}", self.path.display()))
            .args(arguments))
        .map(drop)
    }

    /// Boots until GRUB has said which kernel it starts, and gives that, and whether it wrote.
    fn boot(&self, options: &str) -> Result<(String, bool)> {
        for copy in COPIES {
            let here = self.folder.join(copy).display().to_string();
            self.mcopy(&[here, format!("::/EFI/BOOT/{copy}")])?;
        }
        let before = fs::read(&self.path)?;
        let variables = self.folder.join("variables.fd");
        fs::copy(FIRMWARE[1], &variables)?;
        let flash = |number, file: &Path, more: &str| {
            format!("if=pflash,unit={number},format=raw,file={}{more}", file.display())
        };
        let mut command = Command::new("qemu-system-x86_64");
        command.args(["-machine", "q35", "-accel", "tcg", "-m", "256", "-nodefaults"]);
        command.args(["-display", "none", "-serial", "stdio"]);
        command.args(["-drive", &flash(0, Path::new(FIRMWARE[0]), ",readonly=on")]);
        command.args(["-drive", &flash(1, &variables, "")]);
        command.args(["-device", "virtio-blk-pci,drive=disk", "-drive"]);
        command.arg(format!(
            "if=none,id=disk,format=raw,file={}{options}",
            self.path.display()
        ));
        let said = Machine::start(&mut command)?.until(|said| {
            let plain = plain(said);
            let from = plain
                .find("fleet: slot")
                .or_else(|| plain.find("fleet: no slot"))?;
            let rest = &plain[from + "fleet: ".len()..];
            let whole = match rest.find(" end") {
                Some(end) => &rest[..end + " end".len()],
                None => {
                    rest.split_once(';')
                        .filter(|(first, _)| first.starts_with("no slot"))?
                        .0
                }
            };
            Some(whole.to_owned())
        })?;
        let written = before != fs::read(&self.path)?;
        for copy in COPIES {
            let here = self.folder.join(copy).display().to_string();
            self.mcopy(&[format!("::/EFI/BOOT/{copy}"), here])?;
        }
        let Some((chosen, words)) = said.split_once(": ") else {
            return Ok((said, written));
        };
        let slot = if chosen.starts_with("slot A") { 'A' } else { 'B' };
        let whole = format!("root=PARTUUID={} rauc.slot={slot} {WORDS}", guid(slot));
        // GRUB breaks the line at a space, and leaves that out.
        ensure!(
            words.replace(' ', "") == whole.replace(' ', ""),
            "the kernel gets {words:?}, and not {whole:?}"
        );
        Ok((chosen.to_owned(), written))
    }
}

/// The text of a terminal without what moves its cursor, and without the ends of its lines, which are anywhere.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            // CSI sequences end with a letter.
            for next in characters.by_ref() {
                if next.is_ascii_alphabetic() {
                    break;
                }
            }
        } else if !character.is_control() {
            plain.push(character);
        }
    }
    plain
}

fn walk(rows: &[(Slot, Slot, &str, bool)]) -> Result<()> {
    for &(a, b, chosen, writes) in rows {
        let disk = Disk::new(&format!("grub-{a:?}-{b:?}"), a, b)?;
        let boot = disk.boot("").with_context(|| format!("A {a:?}, B {b:?}"))?;
        ensure!(boot == (chosen.to_owned(), writes), "A {a:?}, B {b:?}: {boot:?}");
        match chosen {
            "slot A, on trial" => disk.says("A_TRY=2")?,
            "slot B, on trial" => disk.says("B_TRY=2")?,
            "slot B" => disk.says("FLEET_GOOD=B")?,
            "slot A, last resort" | "slot B, last resort" => disk.says("FLEET_TRIES=2")?,
            _ => {}
        }
    }
    Ok(())
}

#[test]
fn every_state_of_two_slots_boots_what_the_table_says() -> Result<()> {
    loader::in_halves(&TABLE, walk)
}

#[test]
fn an_update_is_tried_three_times_and_nothing_goes_round_for_ever() -> Result<()> {
    let disk = Disk::new("grub-update", Good, Good)?;
    let boots = |count: usize| -> Result<Vec<String>> { (0..count).map(|_| Ok(disk.boot("")?.0)).collect() };
    // As RAUC installs an update in B; each boot ends with a reset.
    disk.rauc(&["set-state", "B", "bad"])?;
    ensure!(disk.rauc(&["get-primary"])? == "A" && disk.rauc(&["get-state", "B"])? == "bad");
    disk.rauc(&["set-primary", "B"])?;
    ensure!(disk.rauc(&["get-primary"])? == "B" && disk.rauc(&["get-state", "B"])? == "good");
    let trial = "slot B, on trial";
    let said = boots(4)?;
    ensure!(said == [trial, trial, trial, "slot A"], "{said:?}");
    ensure!(disk.rauc(&["get-primary"])? == "A");

    // The same update, marked good in its first boot: from then on nothing is written.
    disk.rauc(&["set-primary", "B"])?;
    ensure!(boots(1)? == [trial]);
    disk.rauc(&["set-state", "B", "good"])?;
    ensure!(disk.boot("")? == ("slot B".to_owned(), false));

    // Both spent: three times the last good slot, then rescue in turns; until one is marked good.
    disk.edit("B_OK=1", "B_OK=0")?;
    disk.edit("A_OK=1", "A_OK=0")?;
    let last = "slot B, last resort";
    let said = boots(6)?;
    ensure!(
        said == [
            last,
            last,
            last,
            "slot B, rescue",
            "slot A, rescue",
            "slot B, rescue"
        ],
        "{said:?}"
    );
    disk.rauc(&["set-state", "A", "good"])?;
    ensure!(disk.boot("")? == ("slot A".to_owned(), false));
    disk.says("FLEET_TRIES=3")
}

#[test]
fn a_damaged_environment_costs_a_copy_and_a_try_that_cannot_be_counted_is_none() -> Result<()> {
    let disk = Disk::new("grub-damage", Good, Good)?;
    disk.rauc(&["set-primary", "B"])?;
    // Nothing can be written: the trial is left out.
    ensure!(disk.boot(",readonly=on")?.0 == "slot A");

    // The first copy was hit by a power cut: the second one holds, and counts.
    fs::write(disk.folder.join(COPIES[0]), [0xff; 1024])?;
    ensure!(disk.boot("")? == ("slot B, on trial".to_owned(), true));
    ensure!(fs::read_to_string(disk.folder.join(COPIES[1]))?.contains("\nB_TRY=2\n"));
    // RAUC makes both whole again.
    disk.rauc(&["set-state", "B", "good"])?;
    let [first, second] = COPIES.map(|copy| fs::read(disk.folder.join(copy)));
    ensure!(first? == second? && disk.rauc(&["get-primary"])? == "B");

    // Nothing is left of both.
    for copy in COPIES {
        fs::write(disk.folder.join(copy), [0xff; 1024])?;
    }
    ensure!(disk.boot("")? == ("slot A".to_owned(), false));
    ensure!(disk.rauc(&["get-primary"])? == "A");
    Ok(())
}
