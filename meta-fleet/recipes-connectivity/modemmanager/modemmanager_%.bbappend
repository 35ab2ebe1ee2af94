# polkit: there is no polkitd; who may ask is decided by dist/etc/dbus-1/system.d/org.fleetos.ModemManager.conf. vala: needs
# introspection data, which the distro does without.
PACKAGECONFIG:remove:fleet = "polkit vala"
