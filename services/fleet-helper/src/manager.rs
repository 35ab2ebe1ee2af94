//! What systemd itself keeps: the environment of what it starts, and the limits of the hardware watchdog.
//! org.freedesktop.systemd1(5).

use std::path::Path;

use fleet_base::bus::{self, sentence};
use fleet_base::proxy::systemd::ManagerProxy;
use zbus::Connection;

use crate::argument::{ProxyValue, WatchdogLimit};
use crate::memory::Memory;
use crate::service::failed;

/// The variables of `http`, `https` and the exceptions. Programs read one or the other spelling.
const VARIABLES: [[&str; 2]; 3] = [
    ["http_proxy", "HTTP_PROXY"],
    ["https_proxy", "HTTPS_PROXY"],
    ["no_proxy", "NO_PROXY"],
];

/// Sets the proxy for what is started from now on; an empty value removes its variables.
pub(crate) async fn set_proxy(connection: &Connection, values: &[ProxyValue; 3]) -> bus::Result<()> {
    let (mut unset, mut set) = (Vec::new(), Vec::new());
    for (names, value) in VARIABLES.iter().zip(values) {
        for name in names {
            match value.as_str() {
                "" => unset.push(*name),
                value => set.push(format!("{name}={value}")),
            }
        }
    }
    let systemd = ManagerProxy::new(connection);
    systemd
        .change_environment(unset, set)
        .await
        .map_err(|error| failed("cannot set the proxy", &sentence(&error)))?;
    log::info!("the proxy in the environment of what systemd starts is set");
    Ok(())
}

/// Its file in the helper's memory.
const THING: &str = "watchdog";

/// Sets the limits of the hardware watchdog, and what the image has where that is wanted.
pub(crate) async fn set_watchdog(
    connection: &Connection,
    memory: &Path,
    runtime: WatchdogLimit,
    reboot: WatchdogLimit,
) -> bus::Result<()> {
    let systemd = ManagerProxy::new(connection);
    let mut memory = Memory::of(memory, THING).map_err(|error| failed("cannot set the watchdog", &error))?;
    for (property, limit) in [("RuntimeWatchdogUSec", runtime), ("RebootWatchdogUSec", reboot)] {
        set_limit(&systemd, &mut memory, property, limit).await?;
    }
    Ok(())
}

async fn set_limit(
    systemd: &ManagerProxy,
    memory: &mut Memory,
    property: &str,
    limit: WatchdogLimit,
) -> bus::Result<()> {
    let asked = |error| failed("cannot set the watchdog", &sentence(&error));
    let kept = |error| failed("cannot set the watchdog", &error);
    let now = systemd.time_span(property).await.map_err(asked)?;
    let before: Option<u64> = memory.before(property).and_then(|span| span.parse().ok());
    let span = match limit {
        WatchdogLimit::Seconds(seconds) => seconds.saturating_mul(1_000_000),
        WatchdogLimit::Image => before.unwrap_or(now),
    };
    if span != now {
        if limit != WatchdogLimit::Image {
            memory.keep(property, &now.to_string()).map_err(kept)?;
        }
        systemd.set_time_span(property, span).await.map_err(asked)?;
        log::info!("{property} is {} s", span / 1_000_000);
    }
    if limit == WatchdogLimit::Image && before.is_some() {
        memory.forget(property).map_err(kept)?;
    }
    Ok(())
}
