//! The closed list of verbs that need root (`org.fleetos.Helper1`).
//!
//! Nothing else of ours runs as root and parses input. A caller is told by its Unix user, a verb by the table in
//! [`verb`], every argument is checked again here, and the process leaves when nobody calls.

mod argument;
mod dns_fallback;
mod hostname;
mod journal;
mod journal_files;
mod kernel_parameters;
mod keyfiles;
mod manager;
mod memory;
mod metered_pace;
mod repair;
mod service;
mod udev;
mod upload;
mod verb;
mod vpn;

use std::sync::Arc;
use std::time::Duration;

use fleet_base::exit::Exit;
use fleet_base::{bus, idle, runtime};

use crate::service::Helper;
use crate::verb::Users;

/// How long it stays after the last call.
const QUIET: Duration = Duration::from_secs(5);

/// Serves `org.fleetos.Helper1` until nobody called for five seconds.
#[must_use]
pub fn main() -> Exit {
    runtime::run("fleet-helper", serve())
}

async fn serve() -> Exit {
    let users = match Users::resolve() {
        Ok(users) => users,
        Err(error) => {
            log::error!("fleet-helper cannot start: {error}");
            return Exit::OwnConfiguration;
        }
    };
    idle::serve(Arc::new(Helper::new(users)), bus::system(), QUIET).await
}
