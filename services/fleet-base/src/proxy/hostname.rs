//! `org.freedesktop.hostname1` (systemd-hostnamed).

use zbus::proxy;

/// The host name. org.freedesktop.hostname1(5).
#[proxy(
    interface = "org.freedesktop.hostname1",
    default_service = "org.freedesktop.hostname1",
    default_path = "/org/freedesktop/hostname1"
)]
pub trait Hostname {
    /// Sets the transient host name. `interactive`: whether polkit may ask somebody.
    fn set_hostname(&self, name: &str, interactive: bool) -> zbus::Result<()>;

    /// The host name in force.
    #[zbus(property(emits_changed_signal = "false"))]
    fn hostname(&self) -> zbus::Result<String>;
}
