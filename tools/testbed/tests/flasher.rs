//! The flasher on a whole machine: from its own medium to the device's, cut at ten points, each time started again; at each cut
//! the configuration is on one of the two media. In the end the device starts alone.

#![cfg(feature = "long")]

#[path = "../../fleet-image/tests/support/bmap.rs"]
mod bmap;
#[path = "flasher/board.rs"]
mod board;
#[path = "flasher/medium.rs"]
mod medium;

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use board::Board;
use medium::{Media, Place, has_table};
use testbed::{Device, Reference, Tier};

const CONFIG: &str = "{\"hostname\": \"pump-17\", \"os\": {\"timezone\": \"Europe/Vienna\"}}\n";
/// Of the device, and of the flasher.
const PLANT: &str =
    "[connection]\nid=plant\nuuid=4f4a3a3c-2f0b-4c0c-9d1b-6c1f0d8d7a01\ntype=ethernet\nautoconnect=false\n";
const OFFICE: &str =
    "[connection]\nid=office\nuuid=4f4a3a3c-2f0b-4c0c-9d1b-6c1f0d8d7a02\ntype=ethernet\nautoconnect=false\n";
/// What is on the console when the power goes. The first is before anything was written to the device, the last after
/// everything was.
const CUTS: [&str; 10] = [
    "keeping the configuration of the device",
    "write    0 %",
    "write   15 %",
    "write   40 %",
    "write   65 %",
    "write   95 %",
    "verify  50 %",
    "putting the configuration in place",
    "putting the partition table in place",
    "the device is whole",
];

#[test]
fn cut_at_ten_points_it_always_goes_on() -> Result<()> {
    let reference = Reference::locate()?;
    let begun = Instant::now();
    let media = Media::make(
        &reference,
        &[
            ("flasher.txt", "target = /dev/disk/by-id/virtio-soldered\n"),
            ("system-connections/office.nmconnection", OFFICE),
        ],
        &[
            ("config.json", CONFIG),
            ("system-connections/plant.nmconnection", PLANT),
        ],
    )?;
    println!("the media are made ({:?})", begun.elapsed());
    has_configuration(&media)?;

    for cut in CUTS {
        let begun = Instant::now();
        let mut board = Board::start(&media)?;
        board.shows(cut)?;
        board.cut()?;
        let is_whole = has_table(&media)?;
        println!(
            "cut at {cut:?} after {:?}; the device has a table: {is_whole}",
            begun.elapsed()
        );
        has_configuration(&media)?;
    }

    let begun = Instant::now();
    let mut board = Board::start(&media)?;
    board.switches_itself_off()?;
    let console = board.console();
    for line in console.lines().filter(|line| line.contains("fleet-flasher[")) {
        println!("{line}");
    }
    ensure!(console.contains("target: /dev/vdb (2.0 GiB)") && console.contains("done. Remove this medium"));
    println!("installed in {:?}", begun.elapsed());
    let (device, flasher) = (Place::device(&media), Place::flasher(&media));
    ensure!(device.read("config.json").as_deref() == Some(CONFIG));
    ensure!(
        flasher.list("carried").is_empty(),
        "what was kept stays on the flasher"
    );
    ensure!(flasher.read("system-connections/office.nmconnection").as_deref() == Some(OFFICE));

    let mut device = Device::boot(Tier::Qemu).disk(media.path("device.img")).start()?;
    device.run("systemctl is-system-running")?.says("running")?;
    device.run("systemctl --failed --no-legend")?.says("")?;
    device.run("hostname")?.says("pump-17")?;
    device
        .run("fleet config get os.timezone")?
        .says("\"Europe/Vienna\"")?;
    for profile in ["plant", "office"] {
        device
            .run(&format!("nmcli -g connection.id connection show {profile}"))?
            .says(profile)?;
    }
    // A factory install: no state of before, and nothing of the flasher.
    device
        .run("ls /usr/libexec/fleet/fleet-flasher /usr/share/fleet-flasher")?
        .fails()?;
    Ok(())
}

#[test]
fn without_an_emmc_nothing_is_written_and_it_stays_on() -> Result<()> {
    let reference = Reference::locate()?;
    let device = [
        ("config.json", CONFIG),
        ("system-connections/plant.nmconnection", PLANT),
    ];
    let media = Media::make(&reference, &[], &device)?;
    let before = std::fs::metadata(media.path("device.img"))?.modified()?;
    let mut board = Board::start(&media)?;
    board.shows("FAILED: there is no eMMC. There are: /dev/vdb (2.0 GiB)")?;
    board.shows("Nothing is tried again by itself")?;
    std::thread::sleep(Duration::from_secs(30));
    ensure!(board.is_on()?, "it switched itself off");
    ensure!(
        board.console().matches("FAILED: there is no eMMC").count() == 1,
        "it was tried again"
    );
    board.cut()?;
    ensure!(
        std::fs::metadata(media.path("device.img"))?.modified()? == before,
        "it was written to"
    );
    Ok(())
}

/// The configuration of the device is on one of the two media, whole.
fn has_configuration(media: &Media) -> Result<()> {
    let is_there = |place: &Place, folder: &str| {
        place.read(&format!("{folder}config.json")).as_deref() == Some(CONFIG)
            && place
                .read(&format!("{folder}system-connections/plant.nmconnection"))
                .as_deref()
                == Some(PLANT)
    };
    let on_device = has_table(media)? && is_there(&Place::device(media), "");
    let flasher = Place::flasher(media);
    let kept = flasher.list("carried");
    let on_flasher = kept
        .iter()
        .any(|folder| is_there(&flasher, &format!("carried/{folder}/")));
    println!("  on the device: {on_device}, on the flasher: {on_flasher}");
    ensure!(on_device || on_flasher, "lost; kept on the flasher: {kept:?}");
    Ok(())
}
