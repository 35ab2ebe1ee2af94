//! `org.fleetos.Journal1`: the persistent-journal toggler.

use zbus::proxy;

/// Where the journal is stored.
#[proxy(
    interface = "org.fleetos.Journal1",
    default_service = "org.fleetos.Journal1",
    default_path = "/org/fleetos/Journal1"
)]
pub trait Journal {
    /// Stores on the data partition from now on, with what is still only in RAM.
    fn persist(&self) -> zbus::Result<()>;

    /// Stores in RAM from now on; what is on flash stays readable.
    fn volatile(&self) -> zbus::Result<()>;

    /// `volatile` or `persistent`: what journald does now.
    #[zbus(property(emits_changed_signal = "false"))]
    fn mode(&self) -> zbus::Result<String>;

    /// `volatile` or `persistent`: what the next boot does.
    #[zbus(property(emits_changed_signal = "false"))]
    fn configured(&self) -> zbus::Result<String>;

    /// Bytes that the journal's files take on the data partition.
    #[zbus(property(emits_changed_signal = "false"))]
    fn usage(&self) -> zbus::Result<u64>;

    /// What is wrong, as a sentence; empty if nothing is.
    #[zbus(property(emits_changed_signal = "false"))]
    fn problem(&self) -> zbus::Result<String>;
}
