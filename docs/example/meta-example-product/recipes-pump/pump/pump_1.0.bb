SUMMARY = "Controller of the pump"
DESCRIPTION = "Stands for a product's application: keeps a record on the data partition, and says how far the device reaches."
HOMEPAGE = "https://fleetos.example"
SECTION = "base"
LICENSE = "Apache-2.0"
# nooelint: oelint.var.licenseremotefile
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/Apache-2.0;md5=89aea4e17d99a7cacdbeed46a0096b10"

SRC_URI = "file://50-pump.toml \
           file://pump.conf \
           file://pump.service \
           file://pump.sh \
           file://pump.sysusers"
S = "${UNPACKDIR}"

inherit systemd fleet_sysusers features_check

REQUIRED_DISTRO_FEATURES = "systemd usrmerge"

FLEET_SYSUSERS = "${THISDIR}/files/pump.sysusers"
SYSTEMD_SERVICE:${PN} = "pump.service"

do_install() {
    install -D -m 0755 ${S}/pump.sh ${D}${bindir}/pump
    install -D -m 0644 ${S}/pump.service ${D}${systemd_system_unitdir}/pump.service
    install -D -m 0644 ${S}/pump.sysusers ${D}${nonarch_libdir}/sysusers.d/pump.conf
    install -D -m 0644 ${S}/pump.conf ${D}${nonarch_libdir}/tmpfiles.d/pump.conf
    install -D -m 0644 ${S}/50-pump.toml ${D}${nonarch_libdir}/fleet/fleet.toml.d/50-pump.toml
}

FILES:${PN} += "${nonarch_libdir}/fleet \
                ${nonarch_libdir}/sysusers.d \
                ${nonarch_libdir}/tmpfiles.d"

RDEPENDS:${PN} = "fleet-services"
