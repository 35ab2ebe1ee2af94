//! On files, with an MBR and FAT made here: no root, no tools.

use std::cell::Cell;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use fleet_base::exit::Exit;
use fleet_base::secret::Secret;
use fleet_medium::writing::Follow;

use super::*;

const MIB: u64 = 1 << 20;
const BOOT: u64 = 2 * MIB;
const IMAGE: u64 = 6 * MIB;
const DEVICE: u64 = 8 * MIB;
/// What was on the device before, where nothing else was.
const OLD: u8 = 0xa5;

/// A part of a file.
struct Part(File, u64);

impl Read for Part {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for Part {
    fn write(&mut self, from: &[u8]) -> std::io::Result<usize> {
        self.0.write(from)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Seek for Part {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let to = match to {
            SeekFrom::Start(place) => SeekFrom::Start(place + self.1),
            SeekFrom::End(_) => SeekFrom::Start(self.1 + BOOT),
            other => other,
        };
        Ok(self.0.seek(to)? - self.1)
    }
}

/// A folder with an image, a device and the flasher's boot partition.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        bench.disk(
            "image.img",
            IMAGE,
            0,
            &[("config.json", "{\"hostname\": \"image\"}")],
        );
        fs::create_dir(bench.path("boot")).unwrap();
        bench.device(&[
            ("config.json", "{\"hostname\": \"pump\"}"),
            ("system-connections/wifi", "[connection]\nid=wifi\n"),
        ]);
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn device(&self, files: &[(&str, &str)]) {
        self.disk("device", DEVICE, OLD, files);
    }

    /// A boot partition at 1 MiB, something behind it.
    fn disk(&self, name: &str, size: u64, fill: u8, files: &[(&str, &str)]) {
        let path = self.path(name);
        fs::write(&path, vec![fill; usize::try_from(size).unwrap()]).unwrap();
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut table = [0; 512];
        for (entry, (kind, start, size)) in [(0x0c, MIB, BOOT), (0x83, 3 * MIB, 2 * MIB)]
            .into_iter()
            .enumerate()
        {
            let entry = &mut table[446 + entry * 16..][..16];
            entry[4] = kind;
            entry[8..12].copy_from_slice(&u32::try_from(start / 512).unwrap().to_le_bytes());
            entry[12..].copy_from_slice(&u32::try_from(size / 512).unwrap().to_le_bytes());
        }
        table[510..].copy_from_slice(&[0x55, 0xaa]);
        file.write_all_at(&table, 0).unwrap();
        file.write_all_at(b"kernel", 4 * MIB).unwrap();
        let part = || Part(file.try_clone().unwrap(), MIB);
        let options = fatfs::FormatVolumeOptions::new().volume_label(*b"FLEET-BOOT ");
        let options = options.total_sectors(u32::try_from(BOOT / 512).unwrap());
        let mut formatted = part();
        formatted.seek(SeekFrom::Start(0)).unwrap();
        fatfs::format_volume(&mut formatted, options).unwrap();
        let mut written = part();
        written.seek(SeekFrom::Start(0)).unwrap();
        let system = fatfs::FileSystem::new(written, fatfs::FsOptions::new()).unwrap();
        for (name, text) in files {
            if let Some((folder, _)) = name.split_once('/') {
                system.root_dir().create_dir(folder).unwrap();
            }
            let mut file = system.root_dir().create_file(name).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }
        system.unmount().unwrap();
    }

    /// Damages the beginning of the device's boot partition. What tells whose it was is the state partition.
    fn lose_boot(&self) {
        let file = OpenOptions::new().write(true).open(self.path("device")).unwrap();
        file.write_all_at(&[0; 4096], MIB).unwrap();
        // Magic number and label in the superblock of ext4, at 1024.
        file.write_all_at(&[0x53, 0xef], 3 * MIB + 1024 + 0x38).unwrap();
        file.write_all_at(b"fleet-state\0", 3 * MIB + 1024 + 0x78)
            .unwrap();
    }

    fn own(&self, name: &str, text: &str) {
        let path = self.path("boot").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn run_keeping(&self, keep: Keep, console: &mut dyn Console) -> Result<(), Failure> {
        Installation {
            image: &self.path("image.img"),
            target: &self.path("device"),
            identity: "1501",
            boot: &self.path("boot"),
            keep,
        }
        .run(console)
    }

    fn run(&self) -> Result<Vec<String>, Failure> {
        let mut console = Script::default();
        self.run_keeping(Keep::Configuration, &mut console)?;
        Ok(console.lines)
    }

    /// What a device with this medium starts with; none if it does not start.
    fn starts_with(&self) -> Option<Content> {
        let target = writing::open_target(&self.path("device")).unwrap();
        match Found::on(&target.medium).unwrap() {
            Found::Whole(content) => Some(content),
            _ => None,
        }
    }

    /// The host name and the profiles that the device has.
    fn configured(&self) -> (String, Vec<String>) {
        let content = self.starts_with().unwrap();
        let config = content
            .config
            .map(|config| config.expose().clone())
            .unwrap_or_default();
        (
            String::from_utf8(config).unwrap(),
            content.keyfiles.into_keys().collect(),
        )
    }

    fn stash(&self) -> Content {
        Stash::on(&self.path("boot"), "1501").read().unwrap()
    }

    /// Everything but the boot partition is the image's; nothing is left of what was there before.
    fn is_the_image(&self) {
        let (image, device) = (
            fs::read(self.path("image.img")).unwrap(),
            fs::read(self.path("device")).unwrap(),
        );
        let behind = usize::try_from(MIB + BOOT).unwrap();
        assert!(image[..usize::try_from(MIB).unwrap()] == device[..usize::try_from(MIB).unwrap()]);
        assert!(image[behind..] == device[behind..image.len()]);
        let tail = usize::try_from(DEVICE - MIB).unwrap();
        assert!(
            device[image.len()..tail].iter().all(|&byte| byte == OLD),
            "it was not to be touched"
        );
        assert!(device[tail..].iter().all(|&byte| byte == 0), "an old GPT");
    }
}

/// Notes what is said, and fails at an event, as if the power were cut there.
#[derive(Default)]
struct Script {
    lines: Vec<String>,
    events: Cell<usize>,
    cut_at: Option<usize>,
}

impl Script {
    fn event(&self) -> Result<(), Failure> {
        let event = self.events.get();
        self.events.set(event + 1);
        match self.cut_at == Some(event) {
            true => Err(Failure::new(Exit::Failure, "cut")),
            false => Ok(()),
        }
    }
}

impl Follow for Script {
    fn add(&mut self, _: usize) -> Result<(), Failure> {
        self.event()
    }
}

impl Console for Script {
    fn say(&mut self, line: &str) -> Result<(), Failure> {
        self.lines.push(line.to_owned());
        self.event()
    }

    fn begin(&mut self, phase: &'static str, _: Option<u64>) -> Result<(), Failure> {
        self.say(phase)
    }
}

fn wifi(content: &Content) -> Option<&Secret<Vec<u8>>> {
    content.keyfiles.get("wifi")
}

#[test]
fn what_the_device_has_is_kept() {
    let bench = Bench::new();
    bench.run().unwrap();
    assert_eq!(
        bench.configured(),
        ("{\"hostname\": \"pump\"}".to_owned(), vec!["wifi".to_owned()])
    );
    bench.is_the_image();
    assert!(content::is_none(&bench.stash()), "secrets stay on the flasher");
}

#[test]
fn what_is_on_the_flasher_comes_first() {
    let bench = Bench::new();
    bench.own("config.json", "{\"hostname\": \"new\"}");
    bench.own("system-connections/lan", "[connection]\nid=lan\n");
    bench.run().unwrap();
    let wanted = ["lan", "wifi"].map(str::to_owned).to_vec();
    assert_eq!(bench.configured(), ("{\"hostname\": \"new\"}".to_owned(), wanted));
    // Once more: nothing is different.
    bench.run().unwrap();
    assert_eq!(bench.configured().0, "{\"hostname\": \"new\"}");
    bench.is_the_image();
}

#[test]
fn an_empty_device_gets_the_images_own() {
    let bench = Bench::new();
    fs::write(bench.path("device"), vec![OLD; usize::try_from(DEVICE).unwrap()]).unwrap();
    bench.run().unwrap();
    assert_eq!(bench.configured().0, "{\"hostname\": \"image\"}");
    bench.is_the_image();
}

#[test]
fn nothing_is_kept_if_that_is_asked_for() {
    let bench = Bench::new();
    bench.run_keeping(Keep::Nothing, &mut Script::default()).unwrap();
    assert_eq!(
        bench.configured(),
        ("{\"hostname\": \"image\"}".to_owned(), Vec::new())
    );
}

#[test]
fn a_cut_anywhere_loses_nothing_and_is_resumed() {
    let config = Some(Secret::new(b"{\"hostname\": \"pump\"}".to_vec()));
    let mut cuts = 0;
    for cut_at in 0.. {
        let bench = Bench::new();
        let mut script = Script {
            cut_at: Some(cut_at),
            ..Script::default()
        };
        let result = bench.run_keeping(Keep::Configuration, &mut script);
        let on_device = bench.starts_with();
        let has_both = |content: &Content| content.config == config && wifi(content).is_some();
        assert!(
            on_device.as_ref().is_some_and(has_both) || has_both(&bench.stash()),
            "lost at {cut_at}, after {:?}",
            script.lines.last()
        );
        if result.is_ok() {
            break;
        }
        cuts += 1;
        // Again there, unless that run has less to do and gets through; then on.
        script.events.set(0);
        let _ = bench.run_keeping(Keep::Configuration, &mut script);
        assert!(
            bench.starts_with().as_ref().is_some_and(has_both) || has_both(&bench.stash()),
            "lost at the second cut at {cut_at}"
        );
        bench.run().unwrap();
        assert_eq!(
            bench.configured(),
            ("{\"hostname\": \"pump\"}".to_owned(), vec!["wifi".to_owned()]),
            "cut at {cut_at}"
        );
        bench.is_the_image();
        assert!(content::is_none(&bench.stash()));
    }
    assert!(cuts > 15, "only {cuts} places were tried");
}

#[test]
fn what_was_kept_of_an_earlier_time_is_not_taken_for_what_is_there_now() {
    let bench = Bench::new();
    let mut old = content::none();
    old.config = Some(Secret::new(b"{\"hostname\": \"old\"}".to_vec()));
    Stash::on(&bench.path("boot"), "1501").keep(&old).unwrap();
    // Of another board.
    Stash::on(&bench.path("boot"), "other").keep(&old).unwrap();
    bench.run().unwrap();
    assert_eq!(bench.configured().0, "{\"hostname\": \"pump\"}");
    assert!(
        Stash::on(&bench.path("boot"), "other")
            .read()
            .unwrap()
            .config
            .is_some()
    );
}

#[test]
fn what_cannot_be_kept_is_not_destroyed() {
    let bench = Bench::new();
    bench.device(&[("config.json", "{\"hostname\": ")]);
    let before = fs::read(bench.path("device")).unwrap();
    let failure = bench.run().unwrap_err();
    assert_eq!(failure.exit(), Exit::InvalidData);
    assert!(failure.to_string().contains("keep = nothing"), "{failure}");
    assert!(fs::read(bench.path("device")).unwrap() == before);
    // Nor if the boot partition of a Fleet OS cannot be found any more.
    let bench = Bench::new();
    bench.lose_boot();
    let before = fs::read(bench.path("device")).unwrap();
    let failure = bench.run().unwrap_err();
    assert_eq!(failure.exit(), Exit::InvalidData, "{failure}");
    assert!(fs::read(bench.path("device")).unwrap() == before);
    // Nor if there is no room for it.
    let bench = Bench::new();
    fs::write(bench.path("boot/carried"), "in the way").unwrap();
    assert!(
        bench
            .run()
            .unwrap_err()
            .to_string()
            .contains("nothing was changed")
    );
    assert_eq!(bench.configured().0, "{\"hostname\": \"pump\"}");
    // With a configuration of its own it is what a person wants.
    let bench = Bench::new();
    bench.device(&[("config.json", "{\"hostname\": ")]);
    bench.own("config.json", "{\"hostname\": \"new\"}");
    bench.run().unwrap();
    assert_eq!(bench.configured().0, "{\"hostname\": \"new\"}");
}

#[test]
fn what_is_wrong_is_told_before_anything_is_written() {
    let bench = Bench::new();
    bench.own("config.json", "{,}");
    let before = fs::read(bench.path("device")).unwrap();
    assert_eq!(bench.run().unwrap_err().exit(), Exit::InvalidData);
    bench.own("config.json", "{}");
    File::options()
        .write(true)
        .open(bench.path("image.img"))
        .unwrap()
        .set_len(DEVICE + MIB)
        .unwrap();
    let failure = bench.run().unwrap_err();
    assert!(failure.to_string().contains("take a larger one"), "{failure}");
    assert!(fs::read(bench.path("device")).unwrap() == before);
}
