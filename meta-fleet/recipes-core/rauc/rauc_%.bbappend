# How RAUC reaches the boot loader's environment. Its slots are marked good by whoever has seen that the device is
# reachable, never by the mere end of a boot; and nothing is unpacked from a verity bundle.
# nooelint: oelint.vars.mispell
RAUC_BOOTLOADER_RDEPENDS:fleet = "fleet-boot"
RRECOMMENDS:${PN}:remove:fleet = "rauc-mark-good squashfs-tools"
