FILESEXTRAPATHS:prepend:fleet := "${THISDIR}/openssh:"

SRC_URI:append:fleet = " file://50-fleet.conf"

# A daemon as in the reference image, not a socket: the port is sshd_config's alone (dist/etc/ssh/sshd_config.d), and
# a flood of connections cannot trip the socket's trigger limit and close the only way in.
# Host keys, too, are named there and nowhere else.
PACKAGECONFIG:remove:fleet = "hostkey-ecdsa systemd-sshd-socket-mode"
PACKAGECONFIG:append:fleet = " systemd-sshd-service-mode"

do_install:append:fleet() {
    # Keys are made by fleet-host-keys.service, so that a power cut cannot tear them.
    rm ${D}${systemd_system_unitdir}/sshdgenkeys.service
    install -D -m 0644 ${UNPACKDIR}/50-fleet.conf ${D}${systemd_system_unitdir}/sshd.service.d/50-fleet.conf
}
