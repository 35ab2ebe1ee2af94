//! The reference image, configured and written by the program, and booted in QEMU.

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use support::{Card, KEYFILE, bmap, fleet_image, run, tool};
use testbed::{Device, Reference, Tier};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_card_made_in_three_commands_starts_with_its_configuration() -> Result<()> {
    let reference = Reference::locate()?;
    // Beside the image: it is large, and a temporary folder may be in memory.
    let folder = tempfile::tempdir_in(reference.disk().parent().context("no folder")?)?;
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (image, card) = (path("fleet.img"), path("card.img"));
    tool(
        "cp",
        &["--sparse=always", &reference.disk().to_string_lossy(), &image],
    )?;
    fs::write(path("config.json"), r#"{"hostname": "pump-17"}"#)?;
    fs::create_dir(path("wifi"))?;
    fs::write(path("wifi/office.nmconnection"), KEYFILE)?;

    run(&[
        "configure",
        &image,
        "--config",
        &path("config.json"),
        "--connections",
        &path("wifi"),
    ])?
    .succeeds()?;
    let shown = run(&["inspect", &image])?.succeeds()?.out();
    for line in [
        "fleet-root-b: Debian",
        "applied  hostname  \"pump-17\"",
        "office.nmconnection",
    ] {
        ensure!(shown.contains(line), "{line}: {shown}");
    }
    put_program(&reference, &image, &path("program"))?;
    fs::write(path("fleet.img.bmap"), bmap::of(image.as_ref())?)?;
    flash_in_two(&image, &card)?;
    tool("cmp", &[&image, &card])?;

    let mut device = Device::boot(Tier::Qemu).disk(&card).start()?;
    device.run("hostname")?.says("pump-17")?;
    device.soon(
        SECOND * 10,
        "nmcli --get-values connection.id connection show office",
        "office",
    )?;
    refuses_its_own_disk(&mut device)?;
    a_device_goes_away(&mut device)
}

/// The program and an image on the boot partition, for the machine itself to run and write.
fn put_program(reference: &Reference, image: &str, stripped: &str) -> Result<()> {
    let layout = fs::read(reference.disk().with_file_name("layout.json"))?;
    let layout: serde_json::Value = serde_json::from_slice(&layout)?;
    let start = &layout["partitions"][0]["start"];
    tool("strip", &["-o", stripped, env!("CARGO_BIN_EXE_fleet-image")])?;
    let card = Card::gpt(40)?;
    tool("zstd", &["-q", card.path()])?;
    let boot = format!("{image}@@{start}");
    tool("mcopy", &["-i", &boot, stripped, "::/fleet-image"])?;
    tool("mcopy", &["-i", &boot, &card.name("card.img.zst"), "::/card.zst"])?;
    Ok(())
}

/// Writes the image, but the first run is killed half way.
fn flash_in_two(image: &str, card: &str) -> Result<()> {
    let arguments = ["flash", image, card, "--yes", "--create", "--json"];
    let mut child = fleet_image(&arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    for line in BufReader::new(child.stdout.take().context("no output")?).lines() {
        let line: serde_json::Value = serde_json::from_str(&line?)?;
        let half = line["total"].as_u64().context("no total")? / 2;
        if line["phase"] == "write" && line["done"].as_u64() >= Some(half) {
            child.kill()?;
            break;
        }
    }
    ensure!(!child.wait()?.success(), "it ended before it was killed");
    let compared = Command::new("cmp").args(["-s", image, card]).status()?;
    ensure!(!compared.success(), "it was written whole before it was killed");
    run(&arguments)?.succeeds()?;
    Ok(())
}

/// On a machine that runs from partitions of the disk, the kernel's own account of them is what counts.
fn refuses_its_own_disk(device: &mut Device) -> Result<()> {
    device
        .run("cp /boot/fleet-image /run/fleet-image && chmod 755 /run/fleet-image")?
        .succeeds()?;
    device
        .run("head -c 1048576 /dev/zero >/run/image && /run/fleet-image flash --yes /run/image /dev/vda1")?
        .exits(77)?
        .complains("it is a partition; name the whole disk, /dev/vda")?;
    for command in [
        "flash --yes /run/image /dev/vda",
        "configure /dev/vda --config /boot/config.json",
    ] {
        device
            .run(&format!("/run/fleet-image {command}"))?
            .exits(77)?
            .complains("this machine runs from it")?;
    }
    device
        .run("/run/fleet-image inspect /dev/vda | grep -o '\"pump-17\"'")?
        .says("\"pump-17\"")?;
    Ok(())
}

/// A disk of the kernel's own for such tests, slow, and deleted while it is written to; and one that cannot be written.
fn a_device_goes_away(device: &mut Device) -> Result<()> {
    device
        .run("modprobe scsi_debug dev_size_mb=64 max_queue=1 delay=25 && udevadm settle")?
        .succeeds()?;
    device
        .run(
            "TMPDIR=/run /run/fleet-image flash --yes --json /boot/card.zst /dev/sda >/run/progress & \
             until grep -q write /run/progress; do sleep 0.1; done; echo 1 >/sys/block/sda/device/delete; wait $!",
        )?
        .exits(69)?
        .complains("/dev/sda went away")?;
    device
        .run("rmmod scsi_debug && modprobe scsi_debug dev_size_mb=64 wp=1 && udevadm settle")?
        .succeeds()?;
    device
        .run("/run/fleet-image flash --yes /boot/card.zst /dev/sda")?
        .exits(77)?
        .complains("write-protected")?;
    device.run("rmmod scsi_debug")?.succeeds()?;
    Ok(())
}
