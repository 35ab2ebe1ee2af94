//! The least processor time that applying a whole file can take: the bare writes, calls and questions to chronyd that the
//! file of `make bench` (`whole.json`) needs, by one process that is root and connected already.
//!
//! For `make bench`, inside the guest, as root: `apply_least FOLDER COUNT` writes into FOLDER. One number a line:
//! microseconds of this process. Nothing is parsed, judged, compared, reported or announced here, and no
//! caller is asked who it is.

use std::error::Error;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use fleet_base::file::{self, Durability};
use fleet_base::proxy::avahi::AvahiProxy;
use fleet_base::proxy::hostname::HostnameProxy;
use fleet_base::proxy::network_manager::{NetworkManagerProxy, RELOAD_CONF};
use fleet_base::proxy::systemd::ManagerProxy;
use fleet_base::{bus, chronyd};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use zbus::Connection;

/// What the store writes for this file, in place.
const STORED: usize = 4096;
/// The files for NetworkManager, chrony, journald and the proxy, and the report, with their sizes.
const FILES: [(&str, usize); 5] = [
    ("NetworkManager.conf", 316),
    ("fleet.sources", 156),
    ("journald.conf", 347),
    ("proxy.env", 268),
    ("report.json", 6218),
];
/// Between two, so that each starts from rest.
const PAUSE: Duration = Duration::from_millis(600);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, count] = arguments.as_slice() else {
        return Err("usage: apply_least FOLDER COUNT".into());
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let connection = bus::open(bus::system()).await?;
        for number in 0..count.parse()? {
            tokio::time::sleep(PAUSE).await;
            let before = spent()?;
            apply(&connection, Path::new(folder), number).await?;
            println!("{}", spent()? - before);
        }
        Ok(())
    })
}

/// Microseconds of this process.
fn spent() -> Result<i64, Box<dyn Error>> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    Ok((usage.user_time() + usage.system_time()).num_microseconds())
}

async fn apply(connection: &Connection, folder: &Path, number: u64) -> Result<(), Box<dyn Error>> {
    let name = format!("least-{}-{number}", std::process::id());
    let generation = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(folder.join("generation"))?;
    generation.write_all_at(format!("{name:<STORED$}").as_bytes(), 0)?;
    generation.sync_data()?;
    for (file, size) in FILES {
        let text = format!("{name:<size$}");
        let path = Path::new("/run").join(file);
        file::replace(&path, text.as_bytes(), 0o644, Durability::Volatile)?;
    }
    HostnameProxy::new(connection).set_hostname(&name, false).await?;
    AvahiProxy::new(connection).set_host_name(&name).await?;
    let network_manager = NetworkManagerProxy::new(connection);
    network_manager.reload(RELOAD_CONF).await?;
    network_manager.in_force().await?;
    let own = folder.join("chronyd.sock");
    chronyd::reload_sources(Path::new(chronyd::CONTROL_SOCKET), &own).await?;
    let systemd = ManagerProxy::new(connection);
    let variables = [
        "http_proxy",
        "HTTP_PROXY",
        "https_proxy",
        "HTTPS_PROXY",
        "no_proxy",
        "NO_PROXY",
    ];
    let set = variables.map(|variable| format!("{variable}=http://10.9.4.{number}:3128"));
    systemd.change_environment(Vec::new(), set.to_vec()).await?;
    systemd.environment().await?;
    systemd
        .set_time_span("RebootWatchdogUSec", (300 + number) * 1_000_000)
        .await?;
    systemd.time_span("RebootWatchdogUSec").await?;
    systemd.can_reload("systemd-journald.service").await?;
    Ok(())
}
