FILESEXTRAPATHS:prepend:fleet := "${THISDIR}/systemd:"

SRC_URI:append:fleet = " file://40-fleet-layer.preset"

# repart (which needs openssl) grows the data partition; pstore keeps a kernel's last words; microhttpd
# (systemd-journal-remote, which writes what `fleet journal export` exports) and journal-upload make packages of their own.
PACKAGECONFIG:append:fleet = " journal-upload microhttpd openssl pstore repart"
# NetworkManager is the one owner of the network and of /etc/resolv.conf, chrony of the clock, and nobody logs in at a
# serial line.
PACKAGECONFIG:remove:fleet = "networkd nss-resolve resolved serial-getty-generator timesyncd"

# The recipe keeps tmp.mount only for a distro that says /tmp is volatile. On ours it is, as a mount of its own.
FILESYSTEM_PERMS_TABLES:append:fleet = " files/fs-perms-volatile-tmp.txt"

do_install:append:fleet() {
    # Makes /var/volatile, which is part of the read-only root here.
    rm ${D}${nonarch_libdir}/tmpfiles.d/00-create-volatile.conf
    install -D -m 0644 ${UNPACKDIR}/40-fleet-layer.preset ${D}${systemd_unitdir}/system-preset/40-fleet-layer.preset
}
