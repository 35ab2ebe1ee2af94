//! `org.fleetos.Helper1`: the closed list of verbs that need root.

use zbus::proxy;

/// The helper. Who may call which verb is in `docs/dbus.md`.
#[proxy(
    interface = "org.fleetos.Helper1",
    default_service = "org.fleetos.Helper1",
    default_path = "/org/fleetos/Helper1"
)]
pub trait Helper {
    /// Sets the transient host name (RFC 1123).
    fn set_hostname(&self, name: &str) -> zbus::Result<()>;

    /// Makes chrony read its source files again.
    fn reload_time_sources(&self) -> zbus::Result<()>;

    /// Makes the set of keyfiles that come from the boot partition exactly these (name, content).
    ///
    /// Returns the path of each, in order, and an empty path for one that was not changed.
    fn set_connection_profiles(&self, profiles: &[(&str, &[u8])]) -> zbus::Result<Vec<String>>;

    /// Starts or stops `fleet-development.target`.
    fn set_development_mode(&self, on: bool) -> zbus::Result<()>;

    /// Makes journald store on the data partition.
    fn flush_journal(&self) -> zbus::Result<()>;

    /// Makes journald store in RAM again.
    fn relinquish_journal(&self) -> zbus::Result<()>;
}
