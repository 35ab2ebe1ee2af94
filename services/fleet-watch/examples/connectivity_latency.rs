//! How long a change of NetworkManager's takes to be published, by fleet-watch and by a program that does the least.
//!
//! For `make bench`, inside the guest, as root. `connectivity_latency observe PATH COUNT` switches NetworkManager's
//! connectivity check off and on, and prints for each time the microseconds from its signal about that to the signal of the
//! object at PATH. `connectivity_latency bare` is what that costs at least: it reads what the verdict needs, a call an
//! object, writes a file and sends a signal from [`BARE`], until it is ended.

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use fleet_base::bus;
use fleet_base::file::{self, Durability};
use futures_util::StreamExt as _;
use tokio::time::{sleep, timeout};
use zbus::message::Type;
use zbus::{Connection, MatchRule, MessageStream, OwnedObjectPath, OwnedVariant, Variant};

/// The object of the program that does the least.
const BARE: &str = "/org/fleetos/Bench1";
const MANAGER: &str = "/org/freedesktop/NetworkManager";
const NAME: &str = "org.freedesktop.NetworkManager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// Longer than fleet-watch waits between two readings, twice: what NetworkManager says a moment later is read as well, and
/// then the next is a first one again.
const PAUSE: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(10);

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match arguments
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .as_slice()
    {
        ["observe", path, count] => runtime.block_on(observe(path, count.parse()?)),
        ["bare"] => runtime.block_on(bare()),
        _ => Err("usage: connectivity_latency observe PATH COUNT | bare".into()),
    }
}

/// Every change of the properties of an object.
async fn changes(connection: &Connection, path: &str) -> zbus::Result<MessageStream> {
    let rule = MatchRule::builder()
        .msg_type(Type::Signal)
        .interface(PROPERTIES)
        .path(path.to_owned())
        .build()?;
    MessageStream::for_match_rule(rule.into_owned(), connection, None).await
}

async fn observe(path: &str, count: u32) -> Outcome<()> {
    let connection = bus::open(bus::system()).await?;
    let mut manager = changes(&connection, MANAGER).await?;
    let mut published = changes(&connection, path).await?;
    for number in 0..count {
        sleep(PAUSE).await;
        // What came after the first of the last time.
        while timeout(Duration::ZERO, manager.next()).await.is_ok() {}
        while timeout(Duration::ZERO, published.next()).await.is_ok() {}
        let check = (NAME, "ConnectivityCheckEnabled", Variant::from(number % 2 == 1));
        connection
            .call_method(Some(NAME), MANAGER, Some(PROPERTIES), "Set", &check)
            .await?;
        timeout(PATIENCE, manager.next()).await?;
        let signalled = Instant::now();
        timeout(PATIENCE, published.next()).await?;
        println!("{}", signalled.elapsed().as_micros());
    }
    Ok(())
}

async fn bare() -> Outcome<()> {
    let connection = bus::open(bus::system()).await?;
    let mut manager = changes(&connection, MANAGER).await?;
    while manager.next().await.is_some() {
        let all = read(&connection, MANAGER, "").await?;
        read(
            &connection,
            "/org/freedesktop/NetworkManager/DnsManager",
            ".DnsManager",
        )
        .await?;
        for (list, interface) in [
            ("ActiveConnections", ".Connection.Active"),
            ("Devices", ".Device"),
        ] {
            for path in paths(&all, list) {
                let one = read(&connection, &path, interface).await?;
                if list == "Devices" {
                    for (name, of) in [("Ip4Config", ".IP4Config"), ("Ip6Config", ".IP6Config")] {
                        if let Some(path) = path_of(&one, name).filter(|path| path != "/") {
                            read(&connection, &path, of).await?;
                        }
                    }
                }
            }
        }
        let file = Path::new("/run/fleet/bench.json");
        file::write(file, &[b'x'; 512], 0o644, Durability::Volatile)?;
        let body = (
            "org.fleetos.Bench1",
            HashMap::<&str, Variant<'_>>::new(),
            Vec::<&str>::new(),
        );
        connection
            .emit_signal(None::<&str>, BARE, PROPERTIES, "PropertiesChanged", &body)
            .await?;
    }
    Ok(())
}

type All = HashMap<String, OwnedVariant>;

async fn read(connection: &Connection, path: &str, interface: &str) -> zbus::Result<All> {
    let body = format!("{NAME}{interface}");
    let reply = connection
        .call_method(Some(NAME), path, Some(PROPERTIES), "GetAll", &body)
        .await?;
    reply.body().deserialize()
}

fn paths(all: &All, name: &str) -> Vec<String> {
    let list = all.get(name).and_then(|list| list.try_clone().ok());
    let list = list.and_then(|list| Vec::<OwnedObjectPath>::try_from(list).ok());
    list.unwrap_or_default().iter().map(ToString::to_string).collect()
}

fn path_of(all: &All, name: &str) -> Option<String> {
    let path = all.get(name)?.try_clone().ok()?;
    Some(OwnedObjectPath::try_from(path).ok()?.to_string())
}
