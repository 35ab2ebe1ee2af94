//! `org.freedesktop.NetworkManager`: the five interfaces used.
//!
//! Properties are not cached: a cache subscribes to every change of every object, which wakes the service up, and
//! after a restart of NetworkManager it would be stale.

use zbus::OwnedObjectPath;
use zbus::proxy;

/// NetworkManager's well-known name.
pub const NAME: &str = "org.freedesktop.NetworkManager";

/// `NMManagerReloadFlags.CONF`: read the configuration files again.
pub const RELOAD_CONF: u32 = 0x1;

/// The daemon. NetworkManager's D-Bus API reference, `org.freedesktop.NetworkManager`.
#[proxy(
    interface = "org.freedesktop.NetworkManager",
    default_service = "org.freedesktop.NetworkManager",
    default_path = "/org/freedesktop/NetworkManager"
)]
pub trait NetworkManager {
    /// Reloads configuration; see [`RELOAD_CONF`].
    fn reload(&self, flags: u32) -> zbus::Result<()>;

    /// Checks connectivity again and returns `NMConnectivityState`.
    fn check_connectivity(&self) -> zbus::Result<u32>;

    /// `NMConnectivityState`: 0 unknown, 1 none, 2 portal, 3 limited, 4 full.
    #[zbus(property(emits_changed_signal = "false"))]
    fn connectivity(&self) -> zbus::Result<u32>;

    /// Whether the connectivity check is on.
    #[zbus(property(emits_changed_signal = "false"))]
    fn connectivity_check_enabled(&self) -> zbus::Result<bool>;

    /// Whether a check is configured (a URI is set).
    #[zbus(property(emits_changed_signal = "false"))]
    fn connectivity_check_available(&self) -> zbus::Result<bool>;

    /// The address that is asked.
    #[zbus(property(emits_changed_signal = "false"))]
    fn connectivity_check_uri(&self) -> zbus::Result<String>;

    /// Whether NetworkManager is still starting: devices are being set up for the first time.
    #[zbus(property(emits_changed_signal = "false"))]
    fn startup(&self) -> zbus::Result<bool>;

    /// `NMState`: 20 disconnected, 40 connecting, 50 local, 60 site, 70 global.
    #[zbus(property(emits_changed_signal = "false"))]
    fn state(&self) -> zbus::Result<u32>;

    /// The network devices.
    #[zbus(property(emits_changed_signal = "false"))]
    fn devices(&self) -> zbus::Result<Vec<OwnedObjectPath>>;

    /// The active connection that has the default route; `/` if none.
    #[zbus(property(emits_changed_signal = "false"))]
    fn primary_connection(&self) -> zbus::Result<OwnedObjectPath>;

    /// The active connections.
    #[zbus(property(emits_changed_signal = "false"))]
    fn active_connections(&self) -> zbus::Result<Vec<OwnedObjectPath>>;
}

/// A device. `org.freedesktop.NetworkManager.Device`.
#[proxy(
    interface = "org.freedesktop.NetworkManager.Device",
    default_service = "org.freedesktop.NetworkManager"
)]
pub trait Device {
    /// The interface's name.
    #[zbus(property(emits_changed_signal = "false"))]
    fn interface(&self) -> zbus::Result<String>;

    /// `NMDeviceType`: 1 Ethernet, 2 Wi-Fi, 8 modem, 14 generic, 16 tun, 29 WireGuard, 32 loopback, …
    #[zbus(property(emits_changed_signal = "false"))]
    fn device_type(&self) -> zbus::Result<u32>;

    /// (`NMDeviceState`, `NMDeviceStateReason`).
    #[zbus(property(emits_changed_signal = "false"))]
    fn state_reason(&self) -> zbus::Result<(u32, u32)>;

    /// `NMDeviceInterfaceFlags`: 0x1 up, 0x2 lower-up, 0x10000 carrier.
    #[zbus(property(emits_changed_signal = "false"))]
    fn interface_flags(&self) -> zbus::Result<u32>;

    /// IPv4 configuration; `/` if none.
    #[zbus(property(emits_changed_signal = "false"))]
    fn ip4_config(&self) -> zbus::Result<OwnedObjectPath>;

    /// IPv6 configuration; `/` if none.
    #[zbus(property(emits_changed_signal = "false"))]
    fn ip6_config(&self) -> zbus::Result<OwnedObjectPath>;

    /// `NMConnectivityState` over IPv4 on this device.
    #[zbus(property(emits_changed_signal = "false"))]
    fn ip4_connectivity(&self) -> zbus::Result<u32>;
}

/// IPv4 configuration. `org.freedesktop.NetworkManager.IP4Config`.
#[proxy(
    interface = "org.freedesktop.NetworkManager.IP4Config",
    default_service = "org.freedesktop.NetworkManager"
)]
pub trait Ip4Config {
    /// The gateway; empty if none.
    #[zbus(property(emits_changed_signal = "false"))]
    fn gateway(&self) -> zbus::Result<String>;
}

/// An active connection. `org.freedesktop.NetworkManager.Connection.Active`.
#[proxy(
    interface = "org.freedesktop.NetworkManager.Connection.Active",
    default_service = "org.freedesktop.NetworkManager"
)]
pub trait ActiveConnection {
    /// The type: `802-3-ethernet`, `vpn`, `wireguard`, …
    #[zbus(property(emits_changed_signal = "false"), name = "Type")]
    fn kind(&self) -> zbus::Result<String>;

    /// `NMActiveConnectionState`: 1 activating, 2 activated, 3 deactivating, 4 deactivated.
    #[zbus(property(emits_changed_signal = "false"))]
    fn state(&self) -> zbus::Result<u32>;

    /// Its devices.
    #[zbus(property(emits_changed_signal = "false"))]
    fn devices(&self) -> zbus::Result<Vec<OwnedObjectPath>>;
}

/// The profiles. `org.freedesktop.NetworkManager.Settings`.
#[proxy(
    interface = "org.freedesktop.NetworkManager.Settings",
    default_service = "org.freedesktop.NetworkManager",
    default_path = "/org/freedesktop/NetworkManager/Settings"
)]
pub trait Settings {
    /// Reads these keyfiles. Returns whether all were read, and the files that were not.
    fn load_connections(&self, files: &[&str]) -> zbus::Result<(bool, Vec<String>)>;

    /// Reads all profiles from disk again; ones whose file is gone disappear.
    fn reload_connections(&self) -> zbus::Result<bool>;
}
