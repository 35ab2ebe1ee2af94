//! `org.fleetos.Config1`: the configuration manager.

use zbus::proxy;

/// One key of the report: key, state, value in force as JSON, detail.
pub type KeyRow = (String, String, String, String);

/// The configuration of the device.
#[proxy(
    interface = "org.fleetos.Config1",
    default_service = "org.fleetos.Config1",
    default_path = "/org/fleetos/Config1"
)]
pub trait Config {
    /// The value of a key (dotted path) as JSON text; the empty key is the whole document. Secrets read `"…"`.
    fn get(&self, key: &str) -> zbus::Result<String>;

    /// Sets a key to a JSON value, stores and applies.
    fn set(&self, key: &str, json: &str) -> zbus::Result<()>;

    /// Removes a key, stores and applies.
    fn unset(&self, key: &str) -> zbus::Result<()>;

    /// What the report of this document would be, without applying anything.
    fn check(&self, document: &str) -> zbus::Result<Vec<KeyRow>>;

    /// Reads the boot partition and applies again now.
    fn apply(&self) -> zbus::Result<()>;

    /// Counts accepted configurations.
    #[zbus(property)]
    fn revision(&self) -> zbus::Result<u64>;

    /// What is wrong with the document as a whole; empty if nothing is.
    #[zbus(property)]
    fn problem(&self) -> zbus::Result<String>;

    /// The state of every key.
    #[zbus(property)]
    fn keys(&self) -> zbus::Result<Vec<KeyRow>>;

    /// The host name that the configuration asks for.
    #[zbus(property)]
    fn hostname(&self) -> zbus::Result<String>;

    /// The device's identity, 32 hexadecimal digits.
    #[zbus(property)]
    fn uuid(&self) -> zbus::Result<String>;

    /// When the last apply ended, in microseconds of `CLOCK_BOOTTIME`; 0 before the first.
    #[zbus(property)]
    fn applied_at(&self) -> zbus::Result<u64>;
}
