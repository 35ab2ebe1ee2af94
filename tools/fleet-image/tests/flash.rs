//! `fleet-image flash`, to files and to loop devices (which need root).

mod support;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use support::{BOOT, Card, Loop, MIB, Outcome, bmap, fleet_image, run, tool};

/// A byte that no image has everywhere: what was on the card before.
const OLD: u8 = 0xa5;

/// A file of old bytes to write to.
fn old_card(card: &Card, size: u64) -> Result<String> {
    card.file("target", vec![OLD; usize::try_from(size)?])
}

fn size(card: &Card) -> Result<u64> {
    Ok(card.image.metadata()?.len())
}

#[test]
fn nothing_old_is_left_where_the_image_has_nothing() -> Result<()> {
    let card = Card::gpt(16)?;
    let image = card.bytes()?;
    let map = card.file("card.img.bmap", bmap::of(&card.image)?)?;
    let length = size(&card)? + 4 * MIB;
    // The device clears by itself, the kernel writes zeros for it, the program does.
    for injection in [None, Some("when=1..1000+2"), Some("when=1+")] {
        let target = old_card(&card, length)?;
        let mut command = match injection {
            None => fleet_image(&[]),
            Some(when) => {
                let mut command = Command::new("strace");
                command
                    .args(["-f", "-o", "/dev/null", "-e", "trace=fallocate", "-e"])
                    .arg(format!("inject=fallocate:error=EOPNOTSUPP:{when}"))
                    .arg(env!("CARGO_BIN_EXE_fleet-image"));
                command
            }
        };
        command.args(["flash", card.path(), &target, "--yes"]);
        Outcome::of(&mut command)?
            .succeeds()?
            .says("clear  100 %")?
            .says("verify 100 %")?;
        let written = fs::read(&target)?;
        ensure!(written[..image.len()] == image, "{injection:?}");
        // Behind the image only the end, where an old GPT would have its second copy.
        let (behind, end) = written[image.len()..].split_at(3 << 20);
        ensure!(behind.iter().all(|&byte| byte == OLD) && end.iter().all(|&byte| byte == 0));
    }
    // Only what is mapped was written: the map has no block in the middle of the boot partition.
    let target = old_card(&card, length)?;
    let holes = Command::new("strace")
        .args(["-f", "-e", "trace=pwrite64", "-P", &target])
        .arg(env!("CARGO_BIN_EXE_fleet-image"))
        .args(["flash", card.path(), &target, "--yes"])
        .output()?;
    let calls = String::from_utf8_lossy(&holes.stderr)
        .matches("pwrite64(")
        .count();
    ensure!(
        holes.status.success() && (3..15).contains(&calls),
        "{calls} calls"
    );

    // Without the map every block.
    fs::rename(map, card.beside("elsewhere"))?;
    run(&["flash", card.path(), &target, "--yes"])?
        .succeeds()?
        .says("no block map")?
        .says("verify 100 %")?;
    ensure!(fs::read(&target)?[..image.len()] == image);
    Ok(())
}

#[test]
fn compressed_images_are_unpacked_on_the_way() -> Result<()> {
    let card = Card::gpt(16)?;
    let image = card.bytes()?;
    let map = bmap::of(&card.image)?;
    tool("gzip", &["--keep", card.path()])?;
    tool("zstd", &["-q", "--keep", card.path()])?;
    // Two frames, and one that is to be skipped between them.
    let half = image.len() / 2;
    let mut parts = Vec::new();
    for (name, part) in [("first", &image[..half]), ("second", &image[half..])] {
        let path = card.file(name, part)?;
        tool("zstd", &["-q", &path])?;
        parts.extend(fs::read(card.beside(&format!("{name}.zst")))?);
        if name == "first" {
            parts.extend([0x51, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);
        }
    }
    card.file("parts.img.zst", &parts)?;
    for with_map in [false, true] {
        for name in ["card.img.gz", "card.img.zst", "parts.img.zst"] {
            let target = card.file("target", vec![OLD; image.len()])?;
            if with_map {
                card.file(&name.replace(".gz", ".bmap").replace(".zst", ".bmap"), &map)?;
            }
            run(&["flash", &card.name(name), &target, "--yes"])?.succeeds()?;
            ensure!(fs::read(&target)? == image, "{name}, with a map: {with_map}");
        }
    }
    // Damaged, cut off, larger than the card, compressed by something else.
    for map in ["card.img.bmap", "parts.img.bmap"] {
        fs::remove_file(card.beside(map))?;
    }
    let target = old_card(&card, size(&card)?)?;
    for name in ["card.img.gz", "card.img.zst"] {
        let good = fs::read(card.beside(name))?;
        let path = card.file(name, &good[..good.len() - 2])?;
        run(&["flash", &path, &target, "--yes"])?
            .exits(65)?
            .says("cannot be unpacked")?;
        let mut bad = good.clone();
        let last = bad.len() - if name.ends_with("gz") { 8 } else { 1 };
        bad[last] ^= 1;
        card.file(name, &bad)?;
        run(&["flash", &path, &target, "--yes"])?
            .exits(65)?
            .says("cannot be unpacked")?;
        card.file(name, &good)?;
        let small = card.file("small", vec![OLD; 4 << 20])?;
        run(&["flash", &path, &small, "--yes"])?
            .exits(73)?
            .says("take a larger one")?;
        let made = card.name("made");
        run(&["flash", &path, &made, "--yes", "--create"])?.succeeds()?;
        ensure!(fs::read(&made)? == image);
        fs::remove_file(&made)?;
    }
    // All that is known before the first write.
    ensure!(fs::read(&target)?.iter().all(|&byte| byte == OLD));
    let xz = card.file("card.img.xz", b"\xfd7zXZ\0 and so on")?;
    run(&["flash", &xz, &target, "--yes"])?
        .exits(65)?
        .says("xz --decompress")?;
    Ok(())
}

#[test]
fn what_is_refused_is_not_written() -> Result<()> {
    let card = Card::gpt(16)?;
    let target = old_card(&card, size(&card)?)?;
    let before = fs::read(&target)?;
    let map = bmap::of(&card.image)?;
    let other = card.file("other.bmap", map.replace("made by", "mad by"))?;
    let wrong_size = {
        let larger = card.file("larger", vec![1; 8 << 20])?;
        card.file("larger.bmap", bmap::of(larger.as_ref())?)?
    };
    let small = card.file("small", vec![OLD; 4096])?;
    let none = card.name("none");
    let cases: [(&[&str], i32, &str); 9] = [
        (&[card.path(), &target, "--yes", "--bmap", &other], 65, "damaged"),
        (
            &[card.path(), &target, "--yes", "--bmap", &wrong_size],
            65,
            "of another image",
        ),
        (&[card.path(), &target, "--yes", "--bmap", &none], 66, "none"),
        (&[card.path(), &small, "--yes"], 73, "take a larger one"),
        (&[card.path(), &none, "--yes"], 66, "--create"),
        (&[card.path(), card.path(), "--yes"], 65, "the image itself"),
        (&[&none, &target, "--yes"], 66, "none"),
        (&[card.path(), "/dev/null", "--yes"], 65, "neither"),
        // Nobody types its name.
        (&[card.path(), &target], 1, "not its name"),
    ];
    for (arguments, code, hint) in cases {
        run(&[&["flash"], arguments].concat())?.exits(code)?.says(hint)?;
        ensure!(fs::read(&target)? == before, "{arguments:?}: it was written to");
    }
    ensure!(!card.beside("none").exists());

    let typed = |name: &str| -> Result<Outcome> {
        let mut child = fleet_image(&["flash", card.path(), &target])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        writeln!(child.stdin.take().context("no input")?, "{name}")?;
        Ok(Outcome {
            output: child.wait_with_output()?,
        })
    };
    typed("yes")?.exits(1)?.says("Type target to go on")?;
    ensure!(fs::read(&target)? == before);
    typed("target")?.succeeds()?;
    ensure!(fs::read(&target)? == card.bytes()?);
    run(&["flash", card.path(), &none, "--yes", "--create"])?.succeeds()?;
    ensure!(fs::read(&none)? == card.bytes()?);
    Ok(())
}

#[test]
fn what_is_no_whole_system_is_not_written() -> Result<()> {
    let card = Card::gpt(16)?;
    let whole = card.bytes()?;
    let mbr = Card::mbr(16)?.bytes()?;
    let other = Card::gpt(16)?.format("other")?.bytes()?;
    let cut = whole.len() / 2;
    let cases: [(&[u8], &str); 6] = [
        (&whole[..cut], "cut off"),
        (&mbr[..cut], "cut off"),
        (&other, "no image of Fleet OS"),
        (&fs::read("/etc/passwd")?, "no partition table"),
        (&[0; 1 << 20], "no partition table"),
        (&[], "shorter than a partition table"),
    ];
    let target = old_card(&card, size(&card)?)?;
    for (number, (bytes, hint)) in cases.iter().enumerate() {
        let image = card.file(&format!("image{number}"), bytes)?;
        tool("gzip", &["--keep", &image])?;
        tool("zstd", &["-q", &image])?;
        for ending in ["", ".gz", ".zst"] {
            let name = format!("{image}{ending}");
            let new = card.name("new");
            for device in [target.as_str(), new.as_str()] {
                run(&["flash", &name, device, "--yes", "--create"])?
                    .exits(65)?
                    .says(hint)?
                    .says("Nothing was written")?;
            }
        }
    }
    ensure!(fs::read(&target)?.iter().all(|&byte| byte == OLD));
    ensure!(!card.beside("new").exists());
    Ok(())
}

#[test]
fn an_image_that_changed_is_told_by_its_map() -> Result<()> {
    let card = Card::gpt(16)?;
    card.file("card.img.bmap", bmap::of(&card.image)?)?;
    let target = card.file("target", vec![0; usize::try_from(size(&card)?)?])?;
    File::options()
        .write(true)
        .open(&card.image)?
        .write_all_at(b"x", BOOT + 100)?;
    run(&["flash", card.path(), &target, "--yes"])?
        .exits(65)?
        .says("the checksum in")?;
    // What is there now has no partition table.
    ensure!(fs::read(&target)?[..4096].iter().all(|&byte| byte == 0));
    Ok(())
}

#[test]
fn a_card_that_lies_is_found_out_and_has_no_table() -> Result<()> {
    let card = Card::gpt(4)?;
    let target = card.name("target");
    let flash = |what: &str, when: u32| {
        card.file("target", vec![OLD; usize::try_from(size(&card)?)?])?;
        let mut command = Command::new("strace");
        command
            .args([
                "-f",
                "-o",
                "/dev/null",
                "-P",
                &target,
                "-e",
                "trace=pread64",
                "-e",
            ])
            .arg(format!("inject=pread64:{what}:when={when}"))
            .arg(env!("CARGO_BIN_EXE_fleet-image"))
            .args(["flash", card.path(), &target, "--yes"]);
        Outcome::of(&mut command)
    };
    let kinds = [
        ("poke_exit=@arg2=77", 1, "gives back something else"),
        ("error=EIO", 73, "cannot be read back"),
    ];
    for (what, code, hint) in kinds {
        let mut failed = 0;
        for when in 1.. {
            let outcome = flash(what, when)?;
            let now = fs::read(&target)?;
            if outcome.output.status.success() {
                ensure!(now == card.bytes()?);
                break;
            }
            outcome.exits(code)?.says(hint)?;
            failed += 1;
            ensure!(
                now[..512].iter().all(|&byte| byte == 0),
                "{what} {when}: it has a table"
            );
            run(&["inspect", &target])?.exits(65)?;
        }
        // One read is of each mebibyte behind the first, and one of the first with the table.
        ensure!(failed == size(&card)? / MIB, "{what}: {failed}");
    }
    Ok(())
}

#[test]
fn a_device_is_written_and_configured() -> Result<()> {
    let card = Card::mbr(16)?;
    card.file("card.img.bmap", bmap::of(&card.image)?)?;
    let backing = card.file("backing", vec![OLD; usize::try_from(size(&card)? + 4 * MIB)?])?;
    let device = Loop::over(&backing)?;
    let out = run(&["flash", card.path(), &device.0, "--yes", "--json"])?
        .succeeds()?
        .out();
    let last: serde_json::Value = serde_json::from_str(out.lines().last().unwrap_or_default())?;
    assert_eq!(last["phase"], "done");
    let config = card.file("c.json", r#"{"hostname": "pump-17"}"#)?;
    let states = card.name("states");
    let mut command = fleet_image(&["configure", &device.0, "--config", &config]);
    Outcome::of(command.env("XDG_STATE_HOME", &states))?.succeeds()?;
    let shown = run(&["inspect", &device.0])?.succeeds()?.out();
    ensure!(shown.contains("pump-17") && shown.contains("MBR"), "{shown}");
    ensure!(fs::read_dir(card.beside("states/fleet-image"))?.next().is_none());
    drop(device);
    let written = fs::read(&backing)?;
    let image = card.bytes()?;
    let behind = image.len() - usize::try_from(4 * MIB)?;
    ensure!(written[behind..image.len()] == image[behind..]);
    let (rest, end) = written[image.len()..].split_at(3 << 20);
    ensure!(rest.iter().all(|&byte| byte == OLD) && end.iter().all(|&byte| byte == 0));
    Ok(())
}

#[test]
fn a_device_in_use_is_refused() -> Result<()> {
    let card = Card::gpt(16)?;
    // A file system without a partition table, of a kind that every kernel mounts.
    let backing = card.file("backing", vec![0; 16 << 20])?;
    tool("mkfs.ext4", &["-q", &backing])?;
    let before = fs::read(&backing)?;
    let config = card.file("c.json", "{}")?;
    let mounted = card.name("SD card");
    fs::create_dir(&mounted)?;

    let device = Loop::over(&backing)?;
    tool("mount", &["-o", "ro", &device.0, &mounted])?;
    let refused = || -> Result<()> {
        for arguments in [
            ["flash", card.path(), &device.0, "--yes"],
            ["configure", &device.0, "--config", &config],
        ] {
            run(&arguments)?
                .exits(77)?
                .says(&format!("{mounted} is mounted from it"))?;
        }
        Ok(())
    };
    let refused = refused();
    tool("umount", &[&mounted])?;
    refused?;

    // The file below it.
    for arguments in [
        ["flash", card.path(), &backing, "--yes"],
        ["configure", &backing, "--config", &config],
    ] {
        run(&arguments)?
            .exits(75)?
            .says(&format!("is attached to {}", device.0))?;
    }
    drop(device);
    ensure!(fs::read(&backing)? == before);
    Ok(())
}

#[test]
fn a_medium_that_takes_no_more_is_an_error() -> Result<()> {
    let card = Card::gpt(16)?;
    let mounted = card.name("mounted");
    fs::create_dir(&mounted)?;
    tool("mount", &["-t", "tmpfs", "-o", "size=8M", "tmpfs", &mounted])?;
    let outcome = || -> Result<()> {
        let backing = format!("{mounted}/backing");
        File::create(&backing)?.set_len(64 * MIB)?;
        let device = Loop::over(&backing)?;
        // 4 MiB of the image are there, all of it is written without a map.
        run(&["flash", card.path(), &device.0, "--yes"])?
            .exits(73)?
            .says("is no system")?;
        Ok(())
    };
    let outcome = outcome();
    tool("umount", &[&mounted])?;
    outcome
}

#[test]
fn a_run_that_was_killed_is_done_again() -> Result<()> {
    let card = Card::gpt(80)?;
    let target = old_card(&card, size(&card)?)?;
    let mut child = fleet_image(&["flash", card.path(), &target, "--yes", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let lines = BufReader::new(child.stdout.take().context("no output")?).lines();
    for line in lines {
        let line: serde_json::Value = serde_json::from_str(&line?)?;
        if line["done"].as_u64() > Some(10 * MIB) {
            child.kill()?;
            break;
        }
    }
    ensure!(!child.wait()?.success());
    // Begun, not ended, and not to be taken for a disk.
    let now = fs::read(&target)?;
    ensure!(now[..512].iter().all(|&byte| byte == 0));
    ensure!(now.last() == Some(&OLD), "it was at its end already");
    run(&["inspect", &target])?.exits(65)?;
    run(&["flash", card.path(), &target, "--yes"])?.succeeds()?;
    ensure!(fs::read(&target)? == card.bytes()?);
    Ok(())
}
