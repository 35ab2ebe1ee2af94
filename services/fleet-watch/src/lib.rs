//! The connectivity and VPN watcher (`org.fleetos.Connectivity1`).
//!
//! Follows NetworkManager by its signals, probes what those do not say, and tells which rung of the ladder holds and why
//! the next does not: signal → [`snapshot`] (read over D-Bus), timer → [`probe`] → [`finding`]; both → [`verdict`] (pure)
//! → D-Bus, JSON file, journal; and → [`repair`] → a step of the helper's. See `docs/connectivity.md`.

mod budget;
mod check_uri;
mod checks;
mod errand;
mod explanation;
mod fallback;
mod finding;
mod ladder;
mod lines;
mod modem_manager;
mod neighbours;
mod network_manager;
mod pace;
mod probe;
mod prober;
mod publish;
mod repair;
mod schedule;
mod service;
mod settings;
mod settle;
mod signals;
mod snapshot;
mod verdict;
mod vpn;
mod watch;

use fleet_base::exit::Exit;
use fleet_base::{bus, runtime};

/// Serves `org.fleetos.Connectivity1` until it is told to end or the bus goes away.
#[must_use]
pub fn main() -> Exit {
    runtime::run("fleet-watch", serve())
}

async fn serve() -> Exit {
    let connection = match bus::connect().await {
        Ok(connection) => connection,
        Err(error) => {
            log::error!("fleet-watch cannot reach the system bus: {error}");
            return Exit::Unavailable;
        }
    };
    match watch::watch(&connection).await {
        Ok(()) => log::error!("fleet-watch stops: the bus closed the connection"),
        Err(error) => log::error!("fleet-watch stops: {error}"),
    }
    Exit::Unavailable
}
