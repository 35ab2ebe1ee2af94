# concheck: the connectivity check that fleet-watch follows. man-resolv-conf: /etc/resolv.conf is a link into /run from
# the build on, because the root is read-only. gnutls instead of nss: 802.1X certificates at a tenth of the size.
PACKAGECONFIG:append:fleet = " concheck gnutls man-resolv-conf"
# Mobile modems, and the line of those that have a serial port and no network interface.
PACKAGECONFIG:append:fleet = "${@bb.utils.contains('DISTRO_FEATURES', '3g', ' modemmanager ppp', '', d)}"
# ifupdown brings bash and reads a file that is not there. dnsmasq stays: dns=dnsmasq and shared connections need it.
PACKAGECONFIG:remove:fleet = "ifupdown nss polkit"
