# The device answers for its own name; it asks nobody for another's through nss.
RRECOMMENDS:avahi-daemon:remove:fleet = "avahi-libnss-mdns"
