//! The VPN of `os.vpn.*`, which NetworkManager knows nothing of, or not enough: OpenVPN by its management
//! socket, WireGuard by its handshakes.

mod folder;
mod management;
mod openvpn;
mod tunnel;
mod wireguard;

pub(crate) use openvpn::OpenVpn;
pub(crate) use wireguard::WireGuard;

/// Its name to people, and that of NetworkManager's profile of WireGuard.
pub(crate) const NAME: &str = "fleet-vpn";
