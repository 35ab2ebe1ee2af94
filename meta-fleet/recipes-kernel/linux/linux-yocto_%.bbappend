FILESEXTRAPATHS:prepend:fleet := "${THISDIR}/linux-yocto:"

SRC_URI:append:fleet = " file://fleet.cfg"
