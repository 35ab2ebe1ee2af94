//! `fleet-image configure` and `inspect` on small images: what mtools and fsck.vfat find afterwards, and what is left when
//! something is wrong, or stops half way.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use anyhow::{Result, ensure};
use support::{BOOT, Card, KEYFILE, Loop, MIB, Outcome, bmap, run, tool};

const CONFIG: &str = r#"{"hostname": "pump-17", "os": {"vpn": {"openvpn": {"config": "x"}}}}"#;
const GOOD: &str = r#"{"hostname": "pump-17", "deviceApiKey": "hunter2hunter2"}"#;

/// The small one is FAT12 or FAT16, the large one FAT32.
fn cards() -> Result<Vec<Card>> {
    Ok(vec![Card::gpt(16)?, Card::mbr(16)?, Card::gpt(80)?])
}

#[test]
fn config_and_keyfiles_are_put_on_the_boot_partition() -> Result<()> {
    for card in cards()? {
        let before = card.bytes()?;
        let config = card.file("c.json", GOOD)?;
        card.file("net/office.nmconnection", KEYFILE)?;
        card.file("net/.hidden", "left by an editor")?;
        let arguments = [
            "configure",
            card.path(),
            "--config",
            &config,
            "--connections",
            &card.name("net"),
        ];
        run(&arguments)?.succeeds()?;
        card.is_sound()?;
        assert_eq!(card.read("config.json")?, GOOD);
        assert_eq!(card.read("system-connections/office.nmconnection")?, KEYFILE);
        let after = card.bytes()?;
        let start = usize::try_from(BOOT)?;
        let behind = after.len() - usize::try_from(4 * MIB)?;
        ensure!(before[..start] == after[..start] && before[behind..] == after[behind..]);

        // Again, with another keyfile of the same profile, and one more: those that were there stay.
        fs::remove_file(card.beside("net/office.nmconnection"))?;
        card.file("net/office", format!("{KEYFILE}autoconnect=false\n"))?;
        run(&arguments)?.succeeds()?;
        fs::remove_file(card.beside("net/office"))?;
        card.file("net/guest net.nmconnection", KEYFILE)?;
        run(&arguments)?.succeeds()?;
        card.is_sound()?;
        let shown = run(&["inspect", card.path()])?.succeeds()?.out();
        for line in [
            "system-connections/guest net.nmconnection",
            "system-connections/office\n",
        ] {
            ensure!(shown.contains(line), "{line}: {shown}");
        }
        ensure!(
            !shown.contains("office.nmconnection") && !shown.contains("hunter2"),
            "{shown}"
        );
        ensure!(!card.beside("card.img.fleet-undo").exists());

        // What is the same already is not written.
        let now = card.bytes()?;
        run(&arguments)?.succeeds()?;
        ensure!(now == card.bytes()?);
    }
    Ok(())
}

/// Writes an image by its map to a card of zeros, and compares.
fn flashes(card: &Card, name: &str, image: &[u8]) -> Result<Outcome> {
    let target = card.file("target", vec![0; image.len()])?;
    let outcome = run(&["flash", &card.name(name), &target, "--yes"])?.succeeds()?;
    ensure!(fs::read(target)? == image, "{name} is another on the card");
    Ok(outcome)
}

#[test]
fn a_configured_image_is_flashed_by_its_map() -> Result<()> {
    for card in cards()? {
        let before = card.bytes()?;
        let small = card.file("small.json", GOOD)?;
        let large = card.file("large.json", format!("{GOOD}{}", " ".repeat(300_000)))?;
        tool("zstd", &["-q", "--keep", card.path()])?;
        for (map, name) in [("card.img.bmap", "card.img"), ("card.bmap", "link.img")] {
            fs::write(&card.image, &before)?;
            card.file(map, bmap::of(&card.image)?)?;
            if name == "link.img" {
                // As Yocto deploys images: beside the link, and beside the file, is the same map.
                std::os::unix::fs::symlink("card.img", card.beside(name))?;
                std::os::unix::fs::symlink(map, card.beside("link.img.bmap"))?;
            }
            let mapped = fs::read_to_string(card.beside(map))?;
            for config in [&small, &large] {
                run(&["configure", &card.name(name), "--config", config])?.succeeds()?;
                let now = fs::read_to_string(card.beside(map))?;
                ensure!(now != mapped && now.len() < 2 * mapped.len() + 1000, "{now}");
                let said = flashes(&card, name, &card.bytes()?)?.said();
                ensure!(!said.contains("no block map"), "{said}");
                flashes(&card, "card.img", &card.bytes()?)?;
            }
            // The packed image is as it was, and the map is not its any more.
            flashes(&card, "card.img.zst", &before)?.says("no block map")?;
            fs::remove_file(card.beside(map))?;
        }
    }
    Ok(())
}

#[test]
fn a_map_does_not_hide_damage() -> Result<()> {
    let card = Card::gpt(16)?;
    let config = card.file("c.json", GOOD)?;
    let map = bmap::of(&card.image)?;
    card.file("card.img.bmap", &map)?;
    // In the same range as what is changed: the FAT.
    let mut damaged = card.bytes()?;
    damaged[usize::try_from(BOOT)? + 450] ^= 1;
    fs::write(&card.image, &damaged)?;
    run(&["configure", card.path(), "--config", &config])?
        .exits(65)?
        .says("the checksum in")?;
    ensure!(card.bytes()? == damaged && !card.beside("card.img.fleet-undo").exists());
    assert_eq!(fs::read_to_string(card.beside("card.img.bmap"))?, map);
    Ok(())
}

#[test]
fn inspect_is_for_programs_too() -> Result<()> {
    for (card, table, count) in [(Card::gpt(16)?, "gpt", 2), (Card::mbr(16)?, "mbr", 3)] {
        let config = card.file("c.json", GOOD)?;
        run(&["configure", card.path(), "--config", &config])?.succeeds()?;
        let out = run(&["inspect", "--json", card.path()])?.succeeds()?.out();
        let shown: serde_json::Value = serde_json::from_str(&out)?;
        assert_eq!(shown["table"], table);
        assert_eq!(shown["partitions"].as_array().map(Vec::len), Some(count));
        assert_eq!(shown["partitions"][0]["start"], BOOT);
        assert_eq!(shown["partitions"][0]["label"], "fleet-boot");
        assert_eq!(shown["boot"]["config"]["document"]["deviceApiKey"], "…");
        assert_eq!(shown["boot"]["config"]["document"]["hostname"], "pump-17");
        let last = &shown["partitions"][count - 1];
        assert_eq!(last["number"], if table == "mbr" { 6 } else { 2 });
    }
    Ok(())
}

#[test]
fn packed_images_are_shown_and_not_changed() -> Result<()> {
    let card = Card::gpt(16)?;
    let config = card.file("c.json", GOOD)?;
    run(&["configure", card.path(), "--config", &config])?.succeeds()?;
    let shown = run(&["inspect", card.path()])?.succeeds()?.out();
    tool("gzip", &["--keep", card.path()])?;
    tool("zstd", &["-q", "--keep", card.path()])?;
    for (ending, unpacker) in [("zst", "zstd --decompress"), ("gz", "gzip --decompress --keep")] {
        let name = format!("{}.{ending}", card.path());
        let now = run(&["inspect", &name])?.succeeds()?.out();
        assert_eq!(now.replace(&name, card.path()), shown);
        let packed = fs::read(&name)?;
        let said = run(&["configure", &name, "--config", &config])?
            .exits(65)?
            .says(&format!("fleet-image flash {name} DEVICE"))?
            .says(&format!("fleet-image configure {} …", card.path()))?
            .said();
        ensure!(fs::read(&name)? == packed);
        // What it says does it.
        let command = said
            .lines()
            .find(|line| line.trim().starts_with(unpacker))
            .unwrap_or_default();
        let raw = card.bytes()?;
        fs::remove_file(&card.image)?;
        let words: Vec<_> = command.split_whitespace().collect();
        tool(words[0], &words[1..])?;
        ensure!(card.bytes()? == raw);
    }
    Ok(())
}

#[test]
fn what_is_refused_changes_nothing() -> Result<()> {
    type Bad = (&'static str, i32, &'static str);
    let configs: [Bad; 6] = [
        ("", 65, "line 1"),
        ("{\"hostname\": \"a\",}", 65, "line 1"),
        (r#"{"hostname": "a_b"}"#, 65, "hostname: "),
        (CONFIG, 65, "os.vpn.openvpn.config: "),
        (r#"{"deviceApiKey": "…"}"#, 65, "stands for a secret"),
        ("[]", 65, "object"),
    ];
    let card = Card::gpt(16)?;
    let before = card.bytes()?;
    for (config, code, hint) in configs {
        let config = card.file("c.json", config)?;
        run(&["configure", card.path(), "--config", &config])?
            .exits(code)?
            .says(hint)?;
    }
    let config = card.file("c.json", GOOD)?;
    let keyfiles: [(&str, &str, &str); 4] = [
        ("-office", KEYFILE, "begins with a letter"),
        ("office", "no keyfile", "[connection]"),
        ("OFFICE.nmconnection", KEYFILE, "does not tell it from"),
        ("office.", KEYFILE, "ends with a dot"),
    ];
    for (name, content, hint) in keyfiles {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join(name), content)?;
        if name.starts_with('O') {
            fs::write(folder.path().join("office"), KEYFILE)?;
        }
        let folder = folder.path().to_string_lossy().into_owned();
        run(&[
            "configure",
            card.path(),
            "--config",
            &config,
            "--connections",
            &folder,
        ])?
        .exits(65)?
        .says(hint)?;
    }
    run(&["configure", card.path(), "--config", "/none"])?
        .exits(65)?
        .says("/none")?;
    run(&["configure", "/none", "--config", &config])?.exits(66)?;
    run(&["configure", "/dev/null", "--config", &config])?.exits(65)?;
    run(&["configure", card.path()])?.exits(2)?;
    ensure!(before == card.bytes()?, "the image was changed");

    // An unknown key is told and kept.
    let unknown = card.file("c.json", r#"{"hostnam": "a"}"#)?;
    run(&["configure", card.path(), "--config", &unknown])?
        .succeeds()?
        .says("perhaps hostname was meant")?;
    assert_eq!(card.read("config.json")?, r#"{"hostnam": "a"}"#);
    Ok(())
}

#[test]
fn images_that_are_none_of_ours_are_left_alone() -> Result<()> {
    let config = tempfile::NamedTempFile::new()?;
    fs::write(config.path(), GOOD)?;
    let config = config.path().to_string_lossy().into_owned();
    let refuses = |card: &Card, code, hint| -> Result<()> {
        let before = card.bytes()?;
        run(&["configure", card.path(), "--config", &config])?
            .exits(code)?
            .says(hint)?;
        ensure!(before == card.bytes()?, "the image was changed: {hint}");
        ensure!(!card.beside("card.img.fleet-undo").exists());
        Ok(())
    };
    // Cut off.
    for card in [Card::gpt(16)?, Card::mbr(16)?] {
        fs::File::options()
            .write(true)
            .open(&card.image)?
            .set_len(8 * MIB)?;
        refuses(&card, 65, "cut off")?;
        run(&["inspect", card.path()])?.exits(65)?.says("cut off")?;
    }
    // Of another system.
    let card = Card::gpt(16)?.format("other")?;
    refuses(&card, 65, "no image of Fleet OS")?;
    run(&["inspect", card.path()])?
        .exits(65)?
        .says("no image of Fleet OS")?;
    // None at all.
    for content in [vec![], vec![0; 100], vec![0; 4096], b"no image".repeat(1000)] {
        fs::write(&card.image, content)?;
        refuses(&card, 65, "partition table")?;
    }
    fs::write(&card.image, b"PK\x03\x04".repeat(1000))?;
    refuses(&card, 65, "unzip")?;
    // No room: all of it is taken by another file.
    let card = Card::gpt(16)?;
    let free = tool_free(&card)?;
    let large = card.file("large", vec![1; free])?;
    tool("mcopy", &["-i", &card.place(), &large, "::/large"])?;
    refuses(&card, 73, "too full")?;
    // Attached elsewhere.
    let card = Card::gpt(16)?;
    let device = tool("losetup", &["--find", "--show", card.path()])?;
    let refused = refuses(&card, 75, "losetup --detach");
    tool("losetup", &["--detach", device.trim()])?;
    refused?;
    // Not ours to write.
    fs::set_permissions(&card.image, fs::Permissions::from_mode(0o444))?;
    fs::set_permissions(card.folder(), fs::Permissions::from_mode(0o755))?;
    let config = card.file("c.json", GOOD)?;
    let before = card.bytes()?;
    let mut command = support::fleet_image(&["configure", card.path(), "--config", &config]);
    Outcome::of(command.uid(65534).gid(65534))?
        .exits(77)?
        .says("Permission denied")?;
    ensure!(before == card.bytes()?);
    Ok(())
}

/// Bytes that are free, by mtools.
fn tool_free(card: &Card) -> Result<usize> {
    let listed = tool("mdir", &["-i", &card.place(), "::/"])?;
    let line = listed
        .lines()
        .find(|line| line.contains("bytes free"))
        .unwrap_or_default();
    let digits: String = line.chars().filter(char::is_ascii_digit).collect();
    Ok(digits.parse()?)
}

/// The program under strace, which does something to one of its system calls.
fn injected(card: &Card, config: &str, call: &str, what: &str) -> Result<Outcome> {
    injected_on(card.path(), card, config, call, what)
}

/// The same with another image or device.
fn injected_on(image: &str, card: &Card, config: &str, call: &str, what: &str) -> Result<Outcome> {
    let mut command = std::process::Command::new("strace");
    command
        .args(["-f", "-o", "/dev/null", "-e"])
        .arg(format!("trace={call}"))
        .arg("-e")
        .arg(format!("inject={call}:{what}"))
        .arg(env!("CARGO_BIN_EXE_fleet-image"))
        .args(["configure", image, "--config", config, "--connections"])
        .arg(card.beside("net"))
        .env("XDG_STATE_HOME", card.beside("states"));
    Outcome::of(&mut command)
}

/// A card with a configuration, one that is to take its place, and the bytes before and after.
fn prepared() -> Result<(Card, String, Vec<u8>, Vec<u8>)> {
    let card = Card::gpt(16)?;
    let first = card.file("first.json", GOOD)?;
    run(&["configure", card.path(), "--config", &first])?.succeeds()?;
    let before = card.bytes()?;
    let config = card.file("c.json", r#"{"hostname": "pump-18"}"#)?;
    for number in 0..5 {
        let comment = "#".repeat(2000);
        card.file(&format!("net/net{number}"), format!("{KEYFILE}{comment}\n"))?;
    }
    run(&[
        "configure",
        card.path(),
        "--config",
        &config,
        "--connections",
        &card.name("net"),
    ])?
    .succeeds()?;
    let after = card.bytes()?;
    ensure!(before != after);
    fs::write(&card.image, &before)?;
    Ok((card, config, before, after))
}

#[test]
fn a_run_that_is_killed_is_taken_back_by_the_next() -> Result<()> {
    let (card, config, before, after) = prepared()?;
    let undo = card.beside("card.img.fleet-undo");
    let map = bmap::of(&card.image)?;
    let mut torn = 0;
    for call in ["pwrite64", "write", "fsync", "rename", "unlink"] {
        for number in 1.. {
            fs::write(&card.image, &before)?;
            card.file("card.img.bmap", &map)?;
            let outcome = injected(&card, &config, call, &format!("signal=KILL:when={number}"))?;
            if outcome.output.status.success() {
                ensure!(number > 1, "{call} is never called");
                break;
            }
            let now = card.bytes()?;
            ensure!(
                now == before || now == after || undo.exists(),
                "{call} {number}: neither old nor new, and no way back"
            );
            if now != before && now != after {
                torn += 1;
                run(&["inspect", card.path()])?;
                run(&["flash", card.path(), &card.name("out"), "--create", "--yes"])?
                    .exits(65)?
                    .says("run it again")?;
            } else if !undo.exists() {
                flashes(&card, "card.img", &now)?;
            }
            // Taken back: one that changes nothing finds the old, one that changes the same makes the new.
            let net = card.name("net");
            let again = [
                "configure",
                card.path(),
                "--config",
                &config,
                "--connections",
                &net,
            ];
            run(&again)?.succeeds()?;
            ensure!(card.bytes()? == after, "{call} {number}");
            ensure!(!undo.exists());
            flashes(&card, "card.img", &after)?;
        }
    }
    ensure!(torn >= 2, "only {torn} runs were cut while they wrote");
    Ok(())
}

#[test]
fn a_write_that_fails_leaves_the_image_as_it_was() -> Result<()> {
    let (card, config, before, _) = prepared()?;
    let undo = card.beside("card.img.fleet-undo");
    let map = bmap::of(&card.image)?;
    card.file("card.img.bmap", &map)?;
    let mut failed = 0;
    for call in ["pwrite64", "fsync", "rename"] {
        for number in 1..6 {
            let outcome = injected(&card, &config, call, &format!("error=EIO:when={number}"))?;
            if outcome.output.status.success() {
                fs::write(&card.image, &before)?;
                card.file("card.img.bmap", &map)?;
                continue;
            }
            failed += 1;
            outcome.exits(73)?.says("cannot write")?;
            ensure!(card.bytes()? == before, "{call} {number}: the image was changed");
            ensure!(!undo.exists(), "{call} {number}");
            assert_eq!(
                fs::read_to_string(card.beside("card.img.bmap"))?,
                map,
                "{call} {number}"
            );
        }
    }
    fs::remove_file(card.beside("card.img.bmap"))?;
    ensure!(failed >= 4, "only {failed} writes failed");
    // A medium that takes nothing any more: the way back is kept.
    injected(&card, &config, "pwrite64", "error=EIO:when=2+")?
        .exits(73)?
        .says("puts it back")?;
    ensure!(undo.exists() && card.bytes()? != before);
    let first = card.name("first.json");
    run(&["configure", card.path(), "--config", &first])?
        .succeeds()?
        .says("interrupted")?;
    ensure!(card.bytes()? == before && !undo.exists());

    // The image was changed by somebody else in between: nobody knows what belongs where.
    injected(&card, &config, "pwrite64", "signal=KILL:when=2")?;
    let mut other = before.clone();
    let differs = card
        .bytes()?
        .iter()
        .zip(&before)
        .position(|(now, then)| now != then);
    other[differs.unwrap_or_default()] ^= 0xff;
    fs::write(&card.image, &other)?;
    run(&["configure", card.path(), "--config", &first])?
        .exits(65)?
        .says("was changed since then")?;
    ensure!(card.bytes()? == other);
    Ok(())
}

#[test]
fn a_device_is_not_taken_for_another_of_the_same_image() -> Result<()> {
    let (card, config, before, after) = prepared()?;
    let device = |name: &str| Loop::over(&card.file(name, &before)?);
    let net = card.name("net");
    let configure = |device: &Loop, states: &str| {
        let arguments = ["configure", &device.0, "--config", &config, "--connections", &net];
        let mut command = support::fleet_image(&arguments);
        Outcome::of(command.env("XDG_STATE_HOME", card.beside(states)))
    };
    let inspect = |device: &Loop| run(&["inspect", "--json", &device.0]);
    let mut torn = 0;
    for call in ["pwrite64", "fsync"] {
        for number in 1.. {
            let (one, other) = (device("one")?, device("other")?);
            let what = format!("signal=KILL:when={number}");
            let outcome = injected_on(&one.0, &card, &config, call, &what)?;
            if outcome.output.status.success() {
                ensure!(number > 1, "{call} is never called");
                break;
            }
            let left = fs::read(&one.0)?;
            // The other is changed as if nothing had happened, and the one stays as it is.
            let said = configure(&other, "states")?.succeeds()?.said();
            ensure!(!said.contains("interrupted"), "{said}");
            ensure!(fs::read(&other.0)? == after && fs::read(&one.0)? == left);
            inspect(&other)?.succeeds()?;
            if left != before && left != after {
                torn += 1;
                let shown = inspect(&one)?.exits(65)?.out();
                ensure!(shown.contains("\"interrupted\": true"), "{shown}");
                run(&["flash", &one.0, &card.name("out"), "--create", "--yes"])?
                    .exits(65)?
                    .says("run it again")?;
                Outcome::of(
                    support::fleet_image(&["inspect", &one.0])
                        .env_remove("HOME")
                        .env_remove("XDG_STATE_HOME"),
                )?
                .exits(65)?;
                // Where the old content is not, nothing is changed.
                configure(&one, "elsewhere")?.exits(65)?.says("is not here")?;
                let copy = card.file("copy.img", &left)?;
                run(&["configure", &copy, "--config", &config])?
                    .exits(65)?
                    .says("is not here")?;
                ensure!(fs::read(&one.0)? == left && fs::read(&copy)? == left);
                configure(&one, "states")?
                    .succeeds()?
                    .says("an earlier run was interrupted")?;
            } else {
                configure(&one, "states")?.succeeds()?;
            }
            ensure!(fs::read(&one.0)? == after, "{call} {number}");
            inspect(&one)?.succeeds()?;
        }
    }
    ensure!(torn >= 4, "only {torn} runs were cut while they wrote");
    Ok(())
}
