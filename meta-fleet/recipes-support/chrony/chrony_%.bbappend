# Runs as a user of its own once the clock's capability is in hand.
PACKAGECONFIG:append:fleet = " privdrop"

do_install:append:fleet() {
    # The same configuration as on the reference image: dist/usr/lib/fleet/chrony.conf.
    ln -sf ../usr/lib/fleet/chrony.conf ${D}${sysconfdir}/chrony.conf
    install -d ${D}${sysconfdir}/default
    echo 'OPTIONS="-u chronyd"' > ${D}${sysconfdir}/default/chronyd
}
