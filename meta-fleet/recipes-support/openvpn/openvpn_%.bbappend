# OpenVPN tells the kernel by netlink: it may start no program (dist/…/openvpn-client@fleet.service.d), ip among them.
PACKAGECONFIG:remove:fleet = "iproute2"
