//! The VPN of `os.vpn.*`, which NetworkManager knows nothing of, or not enough: OpenVPN by its management socket.

mod folder;
mod management;
mod openvpn;
mod tunnel;

pub(crate) use openvpn::OpenVpn;
