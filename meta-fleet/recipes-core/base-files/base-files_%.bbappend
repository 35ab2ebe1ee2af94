FILESEXTRAPATHS:prepend:fleet := "${THISDIR}/base-files:"

SRC_URI:append:fleet:beaglebone-yocto = " file://60-fleet-emmc.conf"

# The host name comes from config.json; a static one would win over it (hostnamed(8)).
hostname:fleet = ""

do_install:append:fleet() {
    # The package fleet-services brings the only fstab: dist/etc/fstab.
    rm ${D}${sysconfdir}/fstab
    # For boards that need it.
    if [ -e ${UNPACKDIR}/60-fleet-emmc.conf ]; then
        install -D -m 0644 ${UNPACKDIR}/60-fleet-emmc.conf ${D}${nonarch_libdir}/sysctl.d/60-fleet-emmc.conf
    fi
}
