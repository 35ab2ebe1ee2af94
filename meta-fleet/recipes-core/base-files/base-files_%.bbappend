# The host name comes from config.json; a static one would win over it (hostnamed(8)).
hostname:fleet = ""

# The package fleet-services brings the only fstab: dist/etc/fstab.
do_install:append:fleet() {
    rm ${D}${sysconfdir}/fstab
}
