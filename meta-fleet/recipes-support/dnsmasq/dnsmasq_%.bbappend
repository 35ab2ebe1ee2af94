# NetworkManager starts its own where a connection wants one; a global one would hold port 53.
SYSTEMD_AUTO_ENABLE:${PN}:fleet = "disable"
