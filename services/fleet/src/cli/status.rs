//! `fleet status`: the device at a glance, one sentence a subject.

use std::fs;
use std::path::Path;

use fleet_base::exit::Exit;
use fleet_base::paths;
use fleet_base::proxy::hostname::HostnameProxy;
use fleet_base::proxy::systemd::ManagerProxy;
use nix::sys::statvfs::{FsFlags, statvfs};
use serde_json::{Map, Value, json};

use super::config::Configuration;
use super::connection;
use super::connectivity::Connectivity;
use super::failure::Failure;
use super::journal::{Logging, Reboot};
use super::output;

/// One subject: its name for people and for scripts, and what was found.
struct Subject {
    title: &'static str,
    name: &'static str,
    found: Result<(String, Value), Failure>,
}

/// `fleet status`. A subject whose service does not answer says so, and the others are shown all the same.
pub(super) async fn show(json: bool) -> Result<Exit, Failure> {
    let connection = connection::open().await?;
    let subjects = [
        Subject {
            title: "Host name",
            name: "hostname",
            found: host_name(&connection).await,
        },
        Subject {
            title: "Configuration",
            name: "configuration",
            found: configuration(&connection).await,
        },
        Subject {
            title: "Connectivity",
            name: "connectivity",
            found: connectivity(&connection).await,
        },
        Subject {
            title: "Logging",
            name: "logging",
            found: logging(&connection).await,
        },
        Subject {
            title: "State",
            name: "state",
            found: Ok(state()),
        },
        Subject {
            title: "Last reboot",
            name: "reboot",
            found: reboot(&connection).await,
        },
        Subject {
            title: "System",
            name: "system",
            found: system(&connection).await,
        },
    ];
    let exit = subjects
        .iter()
        .find_map(|subject| subject.found.as_ref().err())
        .map_or(Exit::Done, Failure::exit);
    if json {
        let object: Map<String, Value> = subjects
            .into_iter()
            .map(|subject| {
                let value = subject
                    .found
                    .map_or_else(|failure| json!({"error": failure.to_string()}), |found| found.1);
                (subject.name.to_owned(), value)
            })
            .collect();
        output::json(&Value::Object(object))?;
    } else {
        let rows = subjects.map(|subject| {
            (
                subject.title,
                subject
                    .found
                    .map_or_else(|failure| format!("unknown: {failure}"), |found| found.0),
            )
        });
        output::rows(&rows)?;
    }
    Ok(exit)
}

type Found = Result<(String, Value), Failure>;

async fn host_name(connection: &zbus::Connection) -> Found {
    let failed = |error: zbus::Error| Failure::call("systemd-hostnamed", &error);
    let name = HostnameProxy::new(connection).hostname().await.map_err(failed)?;
    Ok((format!("{name}."), json!(name)))
}

async fn configuration(connection: &zbus::Connection) -> Found {
    let found = Configuration::read(connection)
        .await
        .map_err(|error| Failure::call("fleet-config", &error))?;
    Ok((found.sentence(), found.json()))
}

async fn connectivity(connection: &zbus::Connection) -> Found {
    let found = Connectivity::read(connection)
        .await
        .map_err(|error| Failure::call("fleet-watch", &error))?;
    Ok((found.sentence(), found.json()))
}

async fn logging(connection: &zbus::Connection) -> Found {
    let found = Logging::read(connection)
        .await
        .map_err(|error| Failure::call("fleet-journal", &error))?;
    Ok((found.sentence(), found.json()))
}

async fn reboot(connection: &zbus::Connection) -> Found {
    let found = Reboot::read(connection)
        .await
        .map_err(|error| Failure::call("fleet-journal", &error))?;
    Ok((found.sentence(), found.json()))
}

/// Whether what identifies the device survives a power cut.
fn state() -> (String, Value) {
    match fs::read_to_string(paths::STATE_VOLATILE_FLAG) {
        Ok(reason) => {
            let reason = reason.trim_end();
            (
                format!("in RAM, lost at power-off: {reason}."),
                json!({"mode": "volatile", "reason": reason}),
            )
        }
        Err(_) if is_read_only(Path::new(paths::STATE)) => (
            "on the state partition, which is read-only: no change is kept. The kernel's log says why."
                .to_owned(),
            json!({"mode": "read-only", "reason": "the state partition is mounted read-only"}),
        ),
        Err(_) => (
            "kept on the state partition.".to_owned(),
            json!({"mode": "persistent", "reason": ""}),
        ),
    }
}

/// Whether the file system there is mounted read-only; ext4 does so by itself after an error.
fn is_read_only(place: &Path) -> bool {
    statvfs(place).is_ok_and(|status| status.flags().contains(FsFlags::ST_RDONLY))
}

async fn system(connection: &zbus::Connection) -> Found {
    let failed = |error: zbus::Error| Failure::call("systemd", &error);
    let state = ManagerProxy::new(connection)
        .system_state()
        .await
        .map_err(failed)?;
    let sentence = match state.as_str() {
        "running" => "running: every unit is as it should be.".to_owned(),
        "degraded" => "degraded: a unit has failed. `systemctl --failed` lists it.".to_owned(),
        other => format!("{other}."),
    };
    Ok((sentence, json!(state)))
}
