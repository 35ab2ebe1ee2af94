SUMMARY = "Boot loader configuration of Fleet OS"
DESCRIPTION = "Chooses a slot by what an update and the boots since then have left in the environment (docs/boot.md): \
a script for U-Boot or a configuration file for GRUB (UEFI), the environment that a new disk begins with, and how RAUC \
reaches it on the device."
HOMEPAGE = "https://fleetos.example"
SECTION = "bootloaders"
LICENSE = "Apache-2.0"
# nooelint: oelint.var.licenseremotefile
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/Apache-2.0;md5=89aea4e17d99a7cacdbeed46a0096b10"

require fleet-loader.inc

DEPENDS += "${@'u-boot-mkimage-native u-boot-mkenvimage-native' if d.getVar('FLEET_LOADER') == 'u-boot' else ''}"
# meta-raspberrypi's U-Boot depends on whoever provides boot.scr.
PROVIDES:append:rpi = " u-boot-default-script"

SRC_URI = "file://grub.cfg.in \
           file://grub.env \
           file://rauc-grub \
           file://boot.cmd.in \
           file://boot.env \
           file://fw_env.config"
S = "${UNPACKDIR}"
# Not S: what is made has names of what it is made from.
B = "${WORKDIR}/build"

inherit deploy features_check kernel-arch

REQUIRED_DISTRO_FEATURES = "fleet"

INHIBIT_DEFAULT_DEPS = "1"

# systemd would otherwise mount an EFI system partition by itself; dist/etc/fstab says what is mounted.
# A panic restarts the device after 10 s; the kernel's default is to stop there for ever.
FLEET_KERNEL_ARGS ?= "ro rootwait init=${libexecdir}/fleet/fleet-preinit systemd.gpt_auto=no panic=10"
# RAM that keeps a panicking kernel's last lines over the reset (admin-guide/ramoops of the kernel). Not where the
# firmware's own variables do: only one of the two can.
FLEET_PSTORE_ARGS ?= "reserve_mem=256K:4096:oops ramoops.mem_name=oops ramoops.record_size=0x8000"
FLEET_PSTORE_ARGS:qemux86-64 ?= ""
FLEET_CONSOLE ?= "ttyS0,115200"
FLEET_CONSOLE:qemuarm64 = "ttyAMA0,115200"
# The Pi's firmware names the console in the arguments it hands over.
FLEET_CONSOLE:rpi = ""

# Whose device tree: the slot's own, or the one that the firmware hands over: the Pi's has put it together from its
# overlays, QEMU's describes the machine that it was asked for.
FLEET_FDT = "slot"
FLEET_FDT:rpi = "firmware"
FLEET_FDT:qemuarm64 = "firmware"

FLEET_BOOTCMD = "booti"
FLEET_BOOTCMD:beaglebone-yocto = "bootz"

do_compile() {
    arguments="${FLEET_KERNEL_ARGS} ${FLEET_PSTORE_ARGS} ${@'console=%s' % d.getVar('FLEET_CONSOLE') if d.getVar('FLEET_CONSOLE') else ''}"
    for template in grub.cfg boot.cmd; do
        sed -e "s#@ARGUMENTS@#$arguments#" -e 's#@KERNEL@#${KERNEL_IMAGETYPE}#' -e 's#@INITRD@##' \
            -e 's#@FDT@#${FLEET_FDT}#' -e 's#@BOOT@#${FLEET_BOOTCMD}#' \
            ${S}/$template.in > ${B}/$template
    done
    if [ "${FLEET_LOADER}" = "u-boot" ]; then
        mkimage -A ${UBOOT_ARCH} -T script -C none -n "Fleet OS" -d ${B}/boot.cmd ${B}/boot.scr
        mkenvimage -r -s 0x1000 -o ${B}/fleet-env.img ${S}/boot.env
    else
        # GRUB wants 1024 bytes, the rest of them #. It is on the boot partition: nothing is in the gap.
        printf '%1024s' '' | tr ' ' '#' | cat ${S}/grub.env - | head -c 1024 > ${B}/grub.env
        truncate -s 4096 ${B}/fleet-env.img
    fi
}

do_compile[cleandirs] = "${B}"

do_install() {
    if [ "${FLEET_LOADER}" = "u-boot" ]; then
        install -d ${D}${sysconfdir}
        install -m 0644 ${S}/fw_env.config ${D}${sysconfdir}/fw_env.config
        # What libubootenv begins with where both copies are damaged.
        install -m 0644 ${S}/boot.env ${D}${sysconfdir}/u-boot-initial-env
    else
        install -d ${D}${libexecdir}/fleet
        install -m 0755 ${S}/rauc-grub ${D}${libexecdir}/fleet/rauc-grub
    fi
}

do_deploy() {
    install -m 0644 ${B}/fleet-env.img ${DEPLOYDIR}/fleet-env.img
    if [ "${FLEET_LOADER}" = "u-boot" ]; then
        install -m 0644 ${B}/boot.scr ${DEPLOYDIR}/boot.scr
    else
        install -m 0644 ${B}/grub.cfg ${DEPLOYDIR}/fleet-grub.cfg
        install -m 0644 ${B}/grub.env ${DEPLOYDIR}/fleet-grub.env
    fi
}

addtask deploy before do_build after do_compile

PACKAGE_ARCH = "${MACHINE_ARCH}"

RDEPENDS:${PN} = "${@'libubootenv-bin' if d.getVar('FLEET_LOADER') == 'u-boot' else ''}"

COMPATIBLE_MACHINE = "^(qemux86-64|qemuarm64|rpi|beaglebone-yocto)$"
