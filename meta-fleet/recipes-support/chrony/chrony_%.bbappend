# Runs as a user of its own once the clock's capability is in hand.
PACKAGECONFIG:append:fleet = " privdrop"

do_install:append:fleet() {
    # The same configuration as on the reference image: dist/usr/lib/fleet/chrony.conf.
    ln -sf ../usr/lib/fleet/chrony.conf ${D}${sysconfdir}/chrony.conf
    install -d ${D}${sysconfdir}/default
    # -s: the last known time.
    echo 'OPTIONS="-u chronyd -s"' > ${D}${sysconfdir}/default/chronyd

    # Servers of leases, and a look at the servers when the network comes. Debian has the same two.
    install -d ${D}${nonarch_libdir}/NetworkManager/dispatcher.d
    for script in dhcp onoffline; do
        sed -e 's!/usr/bin/!${bindir}/!g' -e 's!${localstatedir}/run/!/run/!g' ${S}/examples/chrony.nm-dispatcher.$script \
            > ${D}${nonarch_libdir}/NetworkManager/dispatcher.d/20-chrony-$script
        chmod 0755 ${D}${nonarch_libdir}/NetworkManager/dispatcher.d/20-chrony-$script
    done

    # As reference/overlay/usr/lib/tmpfiles.d/reference-chrony.conf: the folder of the control socket is there before the
    # sandboxes that need it; and the file whose time is the last known one: at first nothing is known of the drift.
    echo "d /run/chrony 0750 chronyd chronyd -" >> ${D}${sysconfdir}/tmpfiles.d/chronyd.conf
    echo "f ${localstatedir}/lib/chrony/chrony.drift 0644 chronyd chronyd - 0 1000000" >> ${D}${sysconfdir}/tmpfiles.d/chronyd.conf
}

FILES:${PN}:append:fleet = " ${nonarch_libdir}/NetworkManager"
