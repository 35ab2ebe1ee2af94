//! `root/`: the root file system as a directory. systemd-nspawn boots it read-only, and both slots are filled from it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use super::generation::Generation;
use super::inputs::Inputs;
use super::{SOURCE_DATE_EPOCH, Workshop, inside, remove};

/// Its directory in the generation.
pub(super) const OUTPUT: &str = "root";
/// The Yocto image's, from the top of the checkout.
const RAUC_GRUB: &str = "meta-fleet/recipes-bsp/fleet-boot/files/rauc-grub";
const RAUC_CONFIGURATION: &str = "meta-fleet/recipes-core/rauc/files/system.conf.in";
/// What of it is copied beside it: for a direct kernel boot, and to see what is in it.
const BESIDE: &[(&str, &str)] = &[
    ("boot/vmlinuz", "vmlinuz"),
    ("boot/initrd.img", "initrd.img"),
    ("usr/lib/fleet-reference/manifest", "manifest"),
];

/// Adds what it is made from beside the base: the executables, dist/ with the Makefile that installs it, reference/'s part.
pub(super) fn add_to(inputs: Inputs, workshop: &Workshop, bindir: &Path) -> anyhow::Result<Inputs> {
    inputs
        .text("root 2")
        .path(&bindir.join("fleet"))?
        .path(&bindir.join("fleet-certificate"))?
        .path(&bindir.join("fleet-services"))?
        .path(&workshop.checkout.join("dist"))?
        .path(&workshop.checkout.join("Makefile"))?
        .path(&workshop.reference("overlay"))?
        .path(&workshop.reference("finish.sh"))?
        .path(&workshop.checkout.join(RAUC_GRUB))?
        .path(&workshop.checkout.join(RAUC_CONFIGURATION))
}

/// How RAUC knows the slots and reaches the boot loader, as the recipes fleet-boot and fleet-rauc-conf install it. There is
/// no keyring: the image installs nobody's updates.
fn install_rauc(workshop: &Workshop, root: &Path) -> anyhow::Result<()> {
    let target = root.join("usr/libexec/fleet/rauc-grub");
    fs::copy(workshop.checkout.join(RAUC_GRUB), &target)
        .with_context(|| format!("cannot write {}", target.display()))?;
    let template = fs::read_to_string(workshop.checkout.join(RAUC_CONFIGURATION))
        .with_context(|| format!("cannot read {RAUC_CONFIGURATION}"))?;
    let configuration: String = template
        .split_inclusive('\n')
        .map(|line| line.strip_prefix("@grub@").unwrap_or(line))
        .filter(|line| !line.starts_with('@'))
        .map(|line| line.replace("@COMPATIBLE@", "fleet-reference"))
        .collect();
    let target = root.join("usr/lib/rauc/system.conf");
    fs::create_dir_all(root.join("usr/lib/rauc")).context("cannot make usr/lib/rauc")?;
    fs::write(&target, configuration).with_context(|| format!("cannot write {}", target.display()))
}

/// Makes it, and puts the kernel, the initial RAM disk and the manifest beside it.
pub(super) fn make(workshop: &Workshop, generation: &Generation, bindir: &Path) -> anyhow::Result<()> {
    let steps = &workshop.steps;
    steps.say("root: base, services, dist/ and what the reference image adds");
    steps.clear(OUTPUT);
    let made = generation.path().join("root.new");
    remove(&made)?;
    fs::create_dir(&made).with_context(|| format!("cannot make {}", made.display()))?;

    let mut unpack = Command::new("tar");
    unpack.args([
        "--extract",
        "--preserve-permissions",
        "--numeric-owner",
        "--xattrs",
        "--xattrs-include=*",
    ]);
    unpack
        .arg("--file")
        .arg(workshop.output("base.tar"))
        .arg("--directory")
        .arg(&made);
    steps.run(OUTPUT, &unpack)?;

    let mut install = Command::new("make");
    install
        .arg("--directory")
        .arg(&workshop.checkout)
        .args(["--no-print-directory", "install"]);
    install
        .arg(format!("DESTDIR={}", made.display()))
        .arg(format!("BINDIR={}", bindir.display()));
    steps.run(OUTPUT, &install)?;

    let mut overlay = Command::new("cp");
    overlay.args(["--recursive", "--no-dereference", "--preserve=mode"]);
    overlay.arg(workshop.reference("overlay/.")).arg(&made);
    steps.run(OUTPUT, &overlay)?;

    install_rauc(workshop, &made)?;

    steps.run_with_input(OUTPUT, &inside(&made), &workshop.reference("finish.sh"))?;

    let mut clamp = Command::new("find");
    clamp
        .arg(&made)
        .arg("-newermt")
        .arg(format!("@{SOURCE_DATE_EPOCH}"));
    clamp
        .args(["-exec", "touch", "--no-dereference"])
        .arg(format!("--date=@{SOURCE_DATE_EPOCH}"))
        .args(["{}", "+"]);
    steps.run(OUTPUT, &clamp)?;

    for (from, to) in BESIDE {
        fs::copy(made.join(from), generation.path().join(to))
            .with_context(|| format!("cannot copy {from}"))?;
    }
    generation.keep(&made, OUTPUT)
}
