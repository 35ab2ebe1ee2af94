# The time zone is the device's (os.timezone): fleet-config makes the link in /run.
do_install:append:fleet() {
    rm -f ${D}${sysconfdir}/timezone
    ln -sfn ../run/fleet/config/localtime ${D}${sysconfdir}/localtime
}
