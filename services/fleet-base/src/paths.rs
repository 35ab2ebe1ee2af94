//! Where things are on the device.
//!
//! One truth for the paths that more than one crate names. Functions that read or write take the path as an
//! argument, so that a test gives a temporary one; only the `main` of a service reaches for these.

/// The boot partition (FAT), which people edit on other computers.
pub const BOOT: &str = "/boot";
/// The state partition.
pub const STATE: &str = "/var/lib/fleet";
/// What `fleet-config` keeps on it: the identity and the last accepted configuration.
pub const STATE_CONFIG: &str = "/var/lib/fleet/config";
/// Exists if the journal is to be persistent from the next boot on.
pub const JOURNAL_FLAG: &str = "/var/lib/fleet/journal/persistent";
/// Holds what a call said of the journal, while that is in force.
pub const JOURNAL_CALL: &str = "/var/lib/fleet/journal/call";
/// journald made it when it left RAM (systemd-journald.service(8), "journalctl --flush").
pub const JOURNAL_FLUSHED: &str = "/run/systemd/journal/flushed";
/// Where journald stores persistently: a folder of the data partition.
pub const JOURNAL: &str = "/var/log/journal";
/// How far the journal has been uploaded.
pub const UPLOAD_CURSOR: &str = "/var/lib/fleet/journal-upload-cursor";
/// ssh host keys.
pub const SSH_HOST_KEYS: &str = "/var/lib/fleet/ssh";
/// ssh host keys for one boot, when the state partition cannot hold them.
pub const RUN_SSH_HOST_KEYS: &str = "/run/fleet/ssh";
/// The data partition.
pub const DATA: &str = "/data";
/// Everything of ours that lives for one boot.
pub const RUN: &str = "/run/fleet";
/// What tells this board from others, as `fleet-preinit` found it at this boot.
pub const RUN_BOARD: &str = "/run/fleet/board";
/// What NetworkManager keeps, for one boot: laid over `/var/lib/NetworkManager`.
pub const RUN_NETWORK_STATE: &str = "/run/NetworkManager/state";
/// What `fleet-config` renders.
pub const RUN_CONFIG: &str = "/run/fleet/config";
/// In that folder: what NetworkManager reads as its `50-fleet.conf`.
pub const RUN_NETWORK_MANAGER_CONFIG: &str = "/run/fleet/config/NetworkManager.conf";
/// What `fleet-helper` remembers, to take back what it did: a file a thing, there once that was changed.
pub const RUN_HELPER: &str = "/run/fleet/helper";
/// Exists, and holds the reason, when the state partition could not be used and state is lost at power-off.
pub const STATE_VOLATILE_FLAG: &str = "/run/fleet/state-volatile";
/// The certificates that are laid over [`CERTIFICATES`] while there are additional ones.
pub const RUN_CERTIFICATES: &str = "/run/fleet/config/ca";
/// The certificates that programs trust: a bundle, and a link for each by the hash of its subject (openssl-rehash(1)).
pub const CERTIFICATES: &str = "/etc/ssl/certs";
/// The executable that looks into certificates, the only one of ours with OpenSSL.
pub const CERTIFICATE_CHECKER: &str = "/usr/libexec/fleet/fleet-certificate";
/// What fleet-config writes of the VPN: a file a kind, there while there shall be one.
pub const RUN_VPN: &str = "/run/fleet/config/vpn";
/// In [`RUN_VPN`]: what OpenVPN reads.
pub const OPENVPN_CONFIG: &str = "openvpn.conf";
/// In [`RUN_VPN`]: WireGuard's profile.
pub const WIREGUARD_PROFILE: &str = "wireguard.nmconnection";
/// In [`RUN_VPN`]: the seconds between signs of life that WireGuard sends to each peer at least.
pub const WIREGUARD_KEEPALIVE: &str = "wireguard.keepalive";
/// When WireGuard's peers were last heard (`fleet-handshakes.service`).
pub const HANDSHAKES: &str = "/run/fleet/wireguard/handshakes";
/// The folder of OpenVPN's management socket, for OpenVPN and fleet-watch alone.
pub const VPN_SOCKET_FOLDER: &str = "/run/fleet/vpn";
/// The country that the configuration names, for `fleet-regdomain`.
pub const RUN_COUNTRY: &str = "/run/fleet/config/country";
/// What `fleet-regdomain` read back: the regulatory domain in force or `none` (no radio), and why it is not the one that
/// is wanted. Absent: nothing was set since the device started.
pub const REGULATORY_DOMAIN: &str = "/run/fleet/regdomain/status";
/// Where udev reads rules that live for one boot (udev(7)).
pub const UDEV_RULES: &str = "/run/udev/rules.d";
/// systemd-udevd's socket. It is there from early boot on; a container has none.
pub const UDEV_CONTROL: &str = "/run/udev/control";
/// The published connectivity (reached by people as `/run/fleet/connectivity.json`).
pub const CONNECTIVITY: &str = "/run/fleet/watch/connectivity.json";
/// A folder with one file, named for the published status: `fleet-connectivity@.path` looks for it.
pub const CONNECTIVITY_STATUS: &str = "/run/fleet/watch/status";
/// What the configuration says of the probes of `fleet-watch`.
pub const RUN_WATCH_SETTINGS: &str = "/run/fleet/config/watch.conf";
/// How much data probes have used on metered uplinks.
pub const PROBE_BUDGET: &str = "/var/lib/fleet/watch/budget";
/// The steps of repair that were taken.
pub const REPAIRS: &str = "/var/lib/fleet/watch/repairs";
/// How the last run ended, if it ended in order; what notes that this one runs (`fleet-reboot-reason`).
pub const LAST_RUN: &str = "/var/lib/fleet/reboot/last-run";
/// The fault of the network that `fleet-helper` restarts the system for; there only then.
pub const REBOOT_FAULT: &str = "/run/fleet/helper/reboot-fault";
/// What was noted of the run before this one.
pub const RUN_LAST_RUN: &str = "/run/fleet/reboot/last-run";
/// What the kernel panicked of at the end of the last run; absent if it did not, or left nothing.
pub const RUN_PANIC: &str = "/run/fleet/reboot/panic";
/// Why the last run ended (reached by people as `/run/fleet/reboot-reason.json`).
pub const REBOOT_REASON: &str = "/run/fleet/reboot/reason.json";
/// Product defaults; drop-ins are in the folder of the same name with `.d` appended.
pub const DEFAULTS: &str = "/usr/lib/fleet/fleet.toml";
