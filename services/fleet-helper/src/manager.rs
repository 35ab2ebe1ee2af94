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
/// What the kernel calls the watchdog that systemd feeds (Documentation/ABI/testing/sysfs-class-watchdog).
const IDENTITY: &str = "/sys/class/watchdog/watchdog0/identity";

/// Whether a board's watchdog resets it though it is fed, so that a configuration with this limit would keep the device
/// from ever coming up.
///
/// The Raspberry Pi's driver (`bcm2835_wdt`) gives the hardware the seconds modulo 16, until its fix of June 2026
/// (raspberrypi/linux #7432), and the kernel feeds it every 8 s.
fn would_reset(identity: &str, seconds: u64) -> bool {
    identity == "Broadcom BCM2835 Watchdog timer" && seconds > 15 && seconds % 16 <= 8
}

/// Sets the limits of the hardware watchdog, and what the image has where that is wanted.
pub(crate) async fn set_watchdog(
    connection: &Connection,
    memory: &Path,
    runtime: WatchdogLimit,
    reboot: WatchdogLimit,
) -> bus::Result<()> {
    let identity = std::fs::read_to_string(IDENTITY).unwrap_or_default();
    for limit in [runtime, reboot] {
        if let WatchdogLimit::Seconds(seconds) = limit
            && would_reset(identity.trim(), seconds)
        {
            return Err(failed(
                "cannot set the watchdog",
                &format!(
                    "{seconds} s could reset a Raspberry Pi at once: up to 15 are possible, or a number with a remainder \
                     of 9 to 15 when it is divided by 16, such as 60 or 300"
                ),
            ));
        }
    }
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
    let before: Option<u64> = memory.before(property).and_then(|span| span.parse().ok());
    let span = match (limit, before) {
        (WatchdogLimit::Seconds(seconds), _) => seconds.saturating_mul(1_000_000),
        (WatchdogLimit::Image, Some(before)) => before,
        // It was never changed.
        (WatchdogLimit::Image, None) => return Ok(()),
    };
    if before.is_none() {
        let now = systemd.time_span(property).await.map_err(asked)?;
        if span == now {
            return Ok(());
        }
        memory.keep(property, &now.to_string()).map_err(kept)?;
    }
    systemd.set_time_span(property, span).await.map_err(asked)?;
    log::info!("{property} is {} s", span / 1_000_000);
    if limit == WatchdogLimit::Image {
        memory.forget(property).map_err(kept)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raspberry_pi_is_not_reset_by_its_limits() {
        let pi = "Broadcom BCM2835 Watchdog timer";
        for (seconds, resets) in [
            (0, false),
            (10, false),
            (15, false),
            (16, true),
            (24, true),
            (25, false),
            (60, false),
            (64, true),
            (100, true),
            (300, false),
            (600, true),
        ] {
            assert_eq!(would_reset(pi, seconds), resets, "{seconds}");
            assert!(!would_reset("i6300ESB timer", seconds));
        }
    }
}
