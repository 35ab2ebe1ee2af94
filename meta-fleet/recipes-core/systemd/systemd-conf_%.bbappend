# The one thing it does is a .network file for networkd, which is not there.
PACKAGECONFIG:remove:fleet = "dhcp-ethernet"
