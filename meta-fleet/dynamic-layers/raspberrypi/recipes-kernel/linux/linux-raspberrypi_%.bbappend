FILESEXTRAPATHS:prepend:fleet := "${THISDIR}/linux-raspberrypi:"

SRC_URI:append:fleet = " file://fleet.cfg"
