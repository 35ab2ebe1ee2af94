//! `org.fleetos.Connectivity1`: how far the device reaches.

use zbus::proxy;

/// The connectivity ladder. The closed lists are in `docs/connectivity.md`.
#[proxy(
    interface = "org.fleetos.Connectivity1",
    default_service = "org.fleetos.Connectivity1",
    default_path = "/org/fleetos/Connectivity1"
)]
pub trait Connectivity {
    /// Checks again now.
    fn recheck(&self) -> zbus::Result<()>;

    /// The highest rung that holds.
    #[zbus(property)]
    fn level(&self) -> zbus::Result<String>;

    /// Why the next rung does not hold; `none` while nothing is wrong.
    #[zbus(property)]
    fn reason(&self) -> zbus::Result<String>;

    /// `online`, `heartbeat-only`, `vpn-only` or `offline`.
    #[zbus(property)]
    fn status(&self) -> zbus::Result<String>;

    /// The same as a sentence.
    #[zbus(property)]
    fn explanation(&self) -> zbus::Result<String>;

    /// The interface that the level was measured on; empty if there is none.
    #[zbus(property)]
    fn interface(&self) -> zbus::Result<String>;

    /// When this level and reason began, in microseconds of `CLOCK_BOOTTIME`.
    #[zbus(property)]
    fn since(&self) -> zbus::Result<u64>;
}
