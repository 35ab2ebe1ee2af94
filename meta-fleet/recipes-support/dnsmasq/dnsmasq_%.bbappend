# NetworkManager hands resolvers over to its dnsmasq by D-Bus, and starts it with an option that is unknown without.
PACKAGECONFIG:append:fleet = " dbus"

# NetworkManager starts its own where a connection wants one; a global one would hold port 53.
SYSTEMD_AUTO_ENABLE:${PN}:fleet = "disable"
