SUMMARY = "RAUC's configuration of Fleet OS"
DESCRIPTION = "Which slots there are, how the boot loader is told, and whose bundles are accepted."
HOMEPAGE = "https://fleetos.example"
SECTION = "base"
LICENSE = "Apache-2.0"
# nooelint: oelint.var.licenseremotefile
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/Apache-2.0;md5=89aea4e17d99a7cacdbeed46a0096b10"

require recipes-bsp/fleet-boot/fleet-loader.inc

SRC_URI = "file://system.conf.in"
S = "${UNPACKDIR}"

inherit features_check fleet_update_keys

REQUIRED_DISTRO_FEATURES = "fleet"

INHIBIT_DEFAULT_DEPS = "1"

# What a bundle has to be made for.
FLEET_COMPATIBLE ?= "fleet-${MACHINE}"

do_install() {
    install -d ${D}${nonarch_libdir}/rauc
    sed -e 's#@COMPATIBLE@#${FLEET_COMPATIBLE}#' -e 's#^@${FLEET_LOADER}@##' -e '/^@/d' \
        ${S}/system.conf.in > ${D}${nonarch_libdir}/rauc/system.conf
    chmod 0644 ${D}${nonarch_libdir}/rauc/system.conf
    install -m 0644 ${B}/keyring.pem ${D}${nonarch_libdir}/rauc/keyring.pem
}

PACKAGE_ARCH = "${MACHINE_ARCH}"

FILES:${PN} += "${nonarch_libdir}/rauc"
RPROVIDES:${PN} = "virtual-rauc-conf"
