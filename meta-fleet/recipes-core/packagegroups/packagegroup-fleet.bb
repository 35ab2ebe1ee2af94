SUMMARY = "What a Fleet OS device runs"
DESCRIPTION = "The services of Fleet OS and the daemons that they configure: network, clock, VPN, remote access."
HOMEPAGE = "https://fleetos.example"
SECTION = "base"

# MACHINE_EXTRA_* are in the lists.
PACKAGE_ARCH = "${MACHINE_ARCH}"

inherit packagegroup features_check

REQUIRED_DISTRO_FEATURES = "fleet systemd usrmerge"

# All time zones, which os.timezone names, without the copies posix/ and right/ of the package tzdata.
# The kernel is in the slot that it belongs to, so that an update changes both or neither.
RDEPENDS:${PN} = "avahi-daemon \
                   ca-certificates \
                   chrony \
                   chronyc \
                   dnsmasq \
                   dosfstools \
                   e2fsprogs-resize2fs \
                   e2fsprogs-tune2fs \
                   fleet-rauc-conf \
                   fleet-services \
                   iproute2 \
                   iputils-ping \
                   kernel-image \
                   networkmanager-daemon \
                   networkmanager-nmcli \
                   nftables \
                   openssh-keygen \
                   openssh-scp \
                   openssh-sftp-server \
                   openssh-sshd \
                   openvpn \
                   procps \
                   rauc \
                   systemd-journal-remote \
                   systemd-journal-upload \
                   tzdata-africa \
                   tzdata-americas \
                   tzdata-antarctica \
                   tzdata-arctic \
                   tzdata-asia \
                   tzdata-atlantic \
                   tzdata-australia \
                   tzdata-core \
                   tzdata-europe \
                   tzdata-misc \
                   tzdata-pacific \
                   util-linux-blkid \
                   util-linux-partx \
                   util-linux-sfdisk \
                   wireguard-tools \
                   zstd"
# nooelint: oelint.vars.dependsordered
RDEPENDS:${PN} += "${@bb.utils.contains('DISTRO_FEATURES', 'wifi', 'networkmanager-wifi iw wireless-regdb-static', '', d)}"
RDEPENDS:${PN} += "${@bb.utils.contains('DISTRO_FEATURES', '3g', 'modemmanager networkmanager-ppp networkmanager-wwan ppp', '', d)}"
RDEPENDS:${PN} += "${MACHINE_EXTRA_RDEPENDS}"

# All drivers: a radio or an adapter whose module is missing is found out about in the field.
RRECOMMENDS:${PN} = "kernel-devicetree \
                     kernel-modules"
RRECOMMENDS:${PN} += "${MACHINE_EXTRA_RRECOMMENDS}"
