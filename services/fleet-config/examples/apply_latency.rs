//! How long a new host name takes, by an edit of `config.json` and by the bare writes and calls that it costs.
//!
//! For `make bench`, inside the guest, as root: `apply_latency edit FILE COUNT` writes FILE with another host name and
//! waits for it in the kernel; `apply_latency bare FOLDER COUNT` writes a file of the store's size and makes the same
//! call. One number a line: microseconds from the closed file, or from the first write, to the name in force.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use fleet_base::bus;
use fleet_base::file::{self, Durability};
use fleet_base::proxy::helper::HelperProxy;

/// What the store writes for an ordinary document.
const STORED: usize = 4096;
/// Longer than the service waits for an editor to be quiet, so that two edits are two.
const PAUSE: Duration = Duration::from_millis(600);
const PATIENCE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [way, path, count] = arguments.as_slice() else {
        return Err("usage: apply_latency edit FILE COUNT | bare FOLDER COUNT".into());
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    for number in 0..count.parse()? {
        std::thread::sleep(PAUSE);
        let name = format!("{way}-{}-{number}", std::process::id());
        let took = match way.as_str() {
            "edit" => edit(Path::new(path), &name)?,
            "bare" => runtime.block_on(bare(Path::new(path), &name))?,
            other => return Err(format!("{other:?} is neither edit nor bare").into()),
        };
        println!("{}", took.as_micros());
    }
    Ok(())
}

/// Edits the file, and waits for the name.
fn edit(document: &Path, name: &str) -> Result<Duration, Box<dyn Error>> {
    std::fs::write(document, format!("{{\"hostname\": \"{name}\"}}\n"))?;
    let closed = Instant::now();
    while nix::unistd::gethostname()? != *name {
        if closed.elapsed() > PATIENCE {
            return Err(format!("the host name is not {name} after {PATIENCE:?}").into());
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    Ok(closed.elapsed())
}

/// What such an edit costs at least: one durable write, and one call, over a connection that is there already.
async fn bare(folder: &Path, name: &str) -> Result<Duration, Box<dyn Error>> {
    let connection = bus::open(bus::system()).await?;
    let stored = format!("{name:<STORED$}");
    let begun = Instant::now();
    file::write(
        &folder.join("generation"),
        stored.as_bytes(),
        0o600,
        Durability::Synced,
    )?;
    HelperProxy::new(&connection).set_hostname(name).await?;
    Ok(begun.elapsed())
}
