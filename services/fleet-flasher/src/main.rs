//! `fleet-flasher`: installs Fleet OS to the internal medium of a board that was started from an SD card or USB stick.
//! `docs/flasher.md` is the guide; the order of its steps, and what holds when the power goes in between, is in
//! [`install`].

mod console;
mod content;
mod disks;
mod install;
mod led;
mod settings;
mod stash;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use console::{Console, Lines};
use disks::{Disk, Disks};
use fleet_base::exit::Exit;
use fleet_base::{mount_point, paths};
use fleet_medium::failure::Failure;
use install::Installation;
use led::{Led, Pattern};
use settings::Settings;

/// Where the image is.
const PAYLOAD: &str = "/usr/share/fleet-flasher";
/// How long the internal medium may take to appear, and whoever looks into it (udev) to let it go.
const PATIENCE: Duration = Duration::from_secs(60);
/// After the first one was found: another one makes it ambiguous.
const ANOTHER: Duration = Duration::from_secs(3);
const TICK: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    if std::env::args_os().len() > 1 {
        eprintln!("fleet-flasher takes no arguments: docs/flasher.md says where its settings are");
        return Exit::Usage.into();
    }
    let mut console = Lines::default();
    let settings = Settings::read(Path::new("/proc/cmdline"), Path::new(paths::BOOT));
    let led = Led::find(
        settings
            .as_ref()
            .ok()
            .and_then(|settings| settings.led.as_deref()),
    );
    led.show(Pattern::Working);
    match settings.and_then(|settings| run(&settings, &mut console)) {
        Ok(()) => {
            led.show(Pattern::Done);
            Exit::Done.into()
        }
        Err(failure) => {
            led.show(Pattern::Failed);
            // What a person in front of a console reads last.
            let _ = console.say(&format!("FAILED: {failure}"));
            let _ = console.say(again(failure.exit()));
            failure.exit().into()
        }
    }
}

/// What the unit does next: `RestartPreventExitStatus` of it.
const fn again(exit: Exit) -> &'static str {
    match exit {
        Exit::Usage | Exit::InvalidData | Exit::NoInput | Exit::NotAllowed | Exit::OwnConfiguration => {
            "Nothing is tried again by itself. Put it right, and start the board again from this medium."
        }
        _ => {
            "It is tried up to three times. If it stays, start the board again from this medium: it begins from the \
             start, and the configuration is kept."
        }
    }
}

fn run(settings: &Settings, console: &mut dyn Console) -> Result<(), Failure> {
    let image = payload(Path::new(PAYLOAD))?;
    is_mounted(Path::new(paths::BOOT))?;
    let disk = find(settings, console)?;
    console.say(&format!("target: {disk}"))?;
    let installation = Installation {
        image: &image,
        target: &disk.path(),
        identity: &disk.identity,
        boot: Path::new(paths::BOOT),
        keep: settings.keep,
    };
    patiently(|| installation.run(console))?;
    console
        .say("done. Remove this medium; the board switches itself off, and starts from its own medium next")
}

/// Without its own boot partition it could neither read what a person put there nor keep what the device has.
fn is_mounted(boot: &Path) -> Result<(), Failure> {
    match mount_point::is_one(boot) {
        Ok(true) => Ok(()),
        _ => Err(Failure::new(
            Exit::Unavailable,
            format!(
                "the boot partition of this medium is not mounted at {}: it is damaged, or this medium was not made as it \
                 should be",
                boot.display()
            ),
        )),
    }
}

/// The one image in the folder.
fn payload(folder: &Path) -> Result<PathBuf, Failure> {
    let entries = folder.read_dir().map_err(|error| Failure::open(folder, &error))?;
    let mut images = entries.flatten().map(|entry| entry.path());
    let mut images = images
        .by_ref()
        .filter(|path| path.is_file() && path.extension().is_none_or(|extension| extension != "bmap"));
    match (images.next(), images.next()) {
        (Some(image), None) => Ok(image),
        _ => Err(Failure::new(
            Exit::NoInput,
            format!(
                "{} must hold one image, with its block map: this medium was not made as it should be",
                folder.display()
            ),
        )),
    }
}

/// Waits until there is one to install to.
fn find(settings: &Settings, console: &mut dyn Console) -> Result<Disk, Failure> {
    let disks = Disks::of_this_board()?;
    let deadline = Instant::now() + PATIENCE;
    let mut is_told = false;
    loop {
        match disks.choose(settings.target.as_deref()) {
            Ok(_) => break,
            Err(failure) if failure.exit() != Exit::NoInput || Instant::now() >= deadline => {
                return Err(failure);
            }
            Err(_) => {
                if !is_told {
                    console.say("waiting for the internal medium")?;
                    is_told = true;
                }
                thread::sleep(TICK);
            }
        }
    }
    thread::sleep(ANOTHER);
    disks.choose(settings.target.as_deref())
}

/// Does it again while somebody else holds the medium.
fn patiently(mut run: impl FnMut() -> Result<(), Failure>) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match run() {
            Err(failure) if failure.exit() == Exit::TryAgain && Instant::now() < deadline => {
                thread::sleep(TICK);
            }
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_does_what_is_said() {
        let unit = include_str!("../dist/usr/lib/systemd/system/fleet-flasher.service");
        let line = unit
            .lines()
            .find_map(|line| line.strip_prefix("RestartPreventExitStatus="));
        let codes: Vec<&str> = line.unwrap().split(' ').collect();
        let all = [
            Exit::Failure,
            Exit::Usage,
            Exit::InvalidData,
            Exit::NoInput,
            Exit::Unavailable,
            Exit::CannotWrite,
            Exit::TryAgain,
            Exit::NotAllowed,
            Exit::OwnConfiguration,
        ];
        for exit in all {
            let is_final = codes.contains(&(exit as u8).to_string().as_str());
            assert_eq!(again(exit).starts_with("Nothing"), is_final, "{exit:?}");
        }
    }

    #[test]
    fn there_is_one_image() {
        let folder = tempfile::tempdir().unwrap();
        assert!(payload(folder.path()).is_err());
        std::fs::write(folder.path().join("image.wic.bmap"), "").unwrap();
        std::fs::write(folder.path().join("image.wic.zst"), "").unwrap();
        assert_eq!(
            payload(folder.path()).unwrap(),
            folder.path().join("image.wic.zst")
        );
        std::fs::write(folder.path().join("other.img"), "").unwrap();
        assert!(payload(folder.path()).is_err());
    }

    /// What is in no package stops a build an hour after it was added; what is in the wrong one is on every device.
    #[test]
    fn the_recipe_has_all_of_it_in_the_package() {
        let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("dist");
        let recipes = dist.join("../../../meta-fleet/recipes-rust/fleet-services");
        let mut entries = recipes.read_dir().unwrap().flatten().map(|entry| entry.path());
        let recipe = entries.find(|path| path.extension().is_some_and(|extension| extension == "bb"));
        let recipe = std::fs::read_to_string(recipe.unwrap()).unwrap();
        let (_, files) = recipe.split_once("FILES:fleet-flasher = \"").unwrap();
        let (files, _) = files.split_once('"').unwrap();
        let packaged: Vec<String> = files
            .split_whitespace()
            .map(|file| {
                file.replace("${sysconfdir}", "etc")
                    .replace("${systemd_system_unitdir}", "usr/lib/systemd/system")
                    .replace("${libexecdir}", "usr/libexec")
            })
            .collect();
        let mut folders = vec![dist.clone()];
        let mut count = 0;
        while let Some(folder) = folders.pop() {
            for path in folder.read_dir().unwrap().flatten().map(|entry| entry.path()) {
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let name = path.strip_prefix(&dist).unwrap();
                assert!(
                    packaged.iter().any(|file| name.starts_with(file)),
                    "{name:?} is in no package"
                );
                count += 1;
            }
        }
        assert_eq!(count, 6);
        assert!(packaged.contains(&"usr/libexec/fleet/fleet-flasher".to_owned()));
    }
}
