//! What the kernel and the board know of the end of the last run, besides the record of ours.

use std::path::Path;
use std::time::Duration;

use fleet_base::{file, paths};
use tokio::time::{Instant, sleep};

use crate::panic_of;

/// A folder a watchdog (Documentation/ABI/testing/sysfs-class-watchdog of the kernel).
const WATCHDOGS: &str = "/sys/class/watchdog";
/// The name of what keeps the kernel's last lines, `(null)` for nothing (admin-guide/pstore of the kernel).
const PSTORE: &str = "/sys/module/pstore/parameters/backend";
/// Exists in a container (systemd's container interface): the hardware it shows is not about this run.
const CONTAINER: &str = "/run/systemd/container";
/// Exists while udev has something to do (udevadm-settle(8) waits for this): a driver may still be loading.
const UDEV_QUEUE: &str = "/run/udev/queue";
/// How long is waited for it.
const SETTLED: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(250);

/// `WDIOF_CARDRESET` of linux/watchdog.h: as a status, the watchdog reset the board; as an option, it can tell.
const CARD_RESET: u32 = 0x20;
/// Drivers that can tell without saying so among their options.
const TELLS_ALL_THE_SAME: [&str; 1] = ["i6300ESB timer"];

/// A watchdog of the board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Watchdog {
    /// What its driver calls it.
    pub(crate) name: String,
    /// Whether it would say that it had reset the board.
    pub(crate) tells: bool,
    /// Whether it says so.
    pub(crate) has_reset: bool,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// What the kernel panicked of, if it left that in pstore.
    pub(crate) panic: Option<String>,
    /// Whether a panic would have left something.
    pub(crate) panic_tells: bool,
    /// The watchdogs. In a container there is none.
    pub(crate) watchdogs: Vec<Watchdog>,
}

impl Evidence {
    /// Gathers it, when the driver of a watchdog has been loaded, or there is none to load.
    pub(crate) async fn gather() -> Self {
        let panic = panic_of(Path::new(paths::RUN_PANIC));
        if Path::new(CONTAINER).exists() {
            return Self {
                panic,
                panic_tells: true,
                watchdogs: Vec::new(),
            };
        }
        wait_for_a_watchdog(Path::new(WATCHDOGS), Path::new(UDEV_QUEUE)).await;
        Self {
            panic,
            panic_tells: has_backend(&attribute(Path::new(PSTORE)).unwrap_or_default()),
            watchdogs: watchdogs(Path::new(WATCHDOGS)),
        }
    }
}

/// Waits until there is one, or udev has nothing to do. Not for udev alone: on a slow board that is much later, and the
/// boot would wait with this.
async fn wait_for_a_watchdog(folder: &Path, queue: &Path) {
    let deadline = Instant::now() + SETTLED;
    let is_there = || file::names(folder).is_ok_and(|names| !names.is_empty());
    while queue.exists() && !is_there() {
        if Instant::now() > deadline {
            log::warn!("devices are still being set up: a watchdog may be missing in what follows");
            return;
        }
        sleep(PAUSE).await;
    }
}

fn has_backend(name: &str) -> bool {
    !["", "(null)"].contains(&name)
}

fn watchdogs(folder: &Path) -> Vec<Watchdog> {
    let names = file::names(folder).unwrap_or_default();
    let read = |name: &std::ffi::OsString| {
        let of = |attribute_name| attribute(&folder.join(name).join(attribute_name));
        let flags = |attribute_name| of(attribute_name).and_then(|text| number(&text));
        let identity = of("identity").unwrap_or_else(|| name.to_string_lossy().into_owned());
        let status = flags("bootstatus");
        let says = flags("options").unwrap_or_default() & CARD_RESET != 0;
        Watchdog {
            // Without the attributes (CONFIG_WATCHDOG_SYSFS) nothing is known of it.
            tells: status.is_some() && (says || TELLS_ALL_THE_SAME.contains(&identity.as_str())),
            has_reset: status.unwrap_or_default() & CARD_RESET != 0,
            name: identity,
        }
    };
    names.iter().map(read).collect()
}

fn attribute(path: &Path) -> Option<String> {
    let bytes = file::read(path, 4096).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// A number as sysfs has it, decimal or `0x` and hexadecimal.
fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_watchdog_tells() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path();
        assert_eq!(watchdogs(&folder.join("none")), []);
        let put = |name: &str, attributes: &[(&str, &str)]| {
            std::fs::create_dir(folder.join(name)).unwrap();
            for (attribute, text) in attributes {
                std::fs::write(folder.join(name).join(attribute), format!("{text}\n")).unwrap();
            }
        };
        put(
            "watchdog0",
            &[
                ("identity", "i6300ESB timer"),
                ("options", "0x8180"),
                ("bootstatus", "32"),
            ],
        );
        put(
            "watchdog1",
            &[
                ("identity", "Broadcom BCM2835 Watchdog timer"),
                ("options", "0x8180"),
                ("bootstatus", "0"),
            ],
        );
        put(
            "watchdog2",
            &[
                ("identity", "another"),
                ("options", "0x81a0"),
                ("bootstatus", "0"),
            ],
        );
        put("watchdog3", &[]);
        let found: Vec<_> = watchdogs(folder)
            .into_iter()
            .map(|watchdog| (watchdog.name, watchdog.tells, watchdog.has_reset))
            .collect();
        assert_eq!(
            found,
            [
                ("i6300ESB timer".to_owned(), true, true),
                ("Broadcom BCM2835 Watchdog timer".to_owned(), false, false),
                ("another".to_owned(), true, false),
                ("watchdog3".to_owned(), false, false),
            ]
        );
    }

    #[tokio::test]
    async fn waits_for_a_watchdog_or_for_udev() {
        let root = tempfile::tempdir().unwrap();
        let (folder, queue) = (root.path().join("watchdog"), root.path().join("queue"));
        wait_for_a_watchdog(&folder, &queue).await;
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(&queue, "").unwrap();
        let late = std::thread::spawn({
            let watchdog = folder.join("watchdog0");
            move || {
                std::thread::sleep(PAUSE);
                std::fs::write(watchdog, "").unwrap();
            }
        });
        let begun = Instant::now();
        wait_for_a_watchdog(&folder, &queue).await;
        assert!(begun.elapsed() >= PAUSE && queue.exists());
        late.join().unwrap();
    }

    #[test]
    fn no_backend_has_two_names() {
        for (name, has) in [
            ("", false),
            ("(null)", false),
            ("efi_pstore", true),
            ("ramoops", true),
        ] {
            assert_eq!(has_backend(name), has, "{name}");
        }
    }
}
