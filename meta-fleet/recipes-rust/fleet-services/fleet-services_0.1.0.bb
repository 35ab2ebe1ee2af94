SUMMARY = "The services of Fleet OS and their command line"
DESCRIPTION = "One executable with the config.json manager, the connectivity watcher, the persistent-journal toggler, \
the privileged helper and the fleet command line, one that looks into certificates, and the files of dist/: units, \
D-Bus policies, users, defaults."
HOMEPAGE = "https://fleetos.example"
SECTION = "base"
# Ours, and of the crates that are linked into the executables; `cargo xtask layer-check` holds it against Cargo.lock.
LICENSE = "Apache-2.0 & BSD-3-Clause & ISC & MIT & Unicode-3.0 & Zlib"
# nooelint: oelint.var.licenseremotefile
LIC_FILES_CHKSUM = "file://LICENSE;md5=3b83ef96387f14655fc854ddc3c6bd57 \
                    file://${COMMON_LICENSE_DIR}/BSD-3-Clause;md5=550794465ba0ec5312d6919e203a55f9 \
                    file://${COMMON_LICENSE_DIR}/ISC;md5=f3b90e78ea0cffb20bf5cca7947a896d \
                    file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302 \
                    file://${COMMON_LICENSE_DIR}/Unicode-3.0;md5=548c7e11b6a9486e064814cf1c708e5b \
                    file://${COMMON_LICENSE_DIR}/Zlib;md5=87f239f408daca8a157858e192597633"

# For fleet-certificate, which looks into certificates and links the image's OpenSSL; no other process of ours does.
DEPENDS = "openssl"

# The repository that this layer is part of. What is listed is hashed; target/ and tools/ never are.
# nooelint: oelint.vars.fileextrapaths,oelint.vars.outofcontext
FILESEXTRAPATHS:prepend := "${FLEET_TOPDIR}:"
SRC_URI = "file://Cargo.toml;subdir=${BP} \
           file://Cargo.lock;subdir=${BP} \
           file://LICENSE;subdir=${BP} \
           file://Makefile;subdir=${BP} \
           file://services;subdir=${BP} \
           file://dist;subdir=${BP}"
require ${BPN}-crates.inc

inherit cargo cargo-update-recipe-crates pkgconfig systemd fleet_sysusers features_check

REQUIRED_DISTRO_FEATURES = "systemd usrmerge"

FLEET_SYSUSERS = "${FLEET_TOPDIR}/dist/usr/lib/sysusers.d/fleet.conf"

# Without what only a workstation does: services/fleet/Cargo.toml.
CARGO_BUILD_FLAGS += "--package fleet --package fleet-certificate --package fleet-flasher --package fleet-services --bins --no-default-features"
# OE strips, and keeps what it strips in -dbg: cargo must leave something to keep.
export CARGO_PROFILE_RELEASE_DEBUG = "line-tables-only"
export CARGO_PROFILE_RELEASE_STRIP = "none"

do_install() {
    oe_runmake -C ${S} install install-flasher DESTDIR=${D} BINDIR=${B}/target/${CARGO_TARGET_SUBDIR}
}

# The flasher is in an image of its own (fleet-image-flasher), and in no other.
PACKAGE_BEFORE_PN = "fleet-flasher"

# The units of dist/ that have an [Install] section.
SYSTEMD_SERVICE:${PN} = "fleet-config.service \
                         fleet-console-tail.service \
                         fleet-grow-data.service \
                         fleet-host-keys.service \
                         fleet-last-time.timer \
                         fleet-reboot-reason.service \
                         fleet-watch.service"

FILES:${PN} += "${datadir}/bash-completion \
                ${datadir}/dbus-1 \
                ${datadir}/fish \
                ${datadir}/zsh \
                ${nonarch_libdir}/NetworkManager \
                ${nonarch_libdir}/fleet \
                ${nonarch_libdir}/modules-load.d \
                ${nonarch_libdir}/repart.d \
                ${nonarch_libdir}/sysctl.d \
                ${nonarch_libdir}/sysusers.d \
                ${nonarch_libdir}/tmpfiles.d \
                ${nonarch_libdir}/udev \
                ${systemd_unitdir}"
# nooelint: oelint.var.filesoverride
FILES:fleet-flasher = "${libexecdir}/fleet/fleet-flasher \
                       ${sysconfdir}/systemd/system/data.mount \
                       ${sysconfdir}/systemd/system/systemd-repart.service \
                       ${sysconfdir}/systemd/system/var-log-journal.mount \
                       ${systemd_system_unitdir}/fleet-flasher.service \
                       ${systemd_system_unitdir}/fleet-flasher.service.d \
                       ${systemd_system_unitdir}/fleet-flasher.target"

# fleet-preinit finds and repairs the state and the boot partition; fleet-host-keys makes keys; the helper asks chronyd;
# fleet-regdomain runs iw; fleet-grow-data runs partx and sfdisk.
RDEPENDS:${PN} = "dosfstools \
                  e2fsprogs-e2fsck \
                  openssh-keygen \
                  systemd \
                  util-linux-blkid \
                  util-linux-partx \
                  util-linux-sfdisk"
# The sandbox of all units of ours is in the other package.
RDEPENDS:fleet-flasher = "${PN}"
RRECOMMENDS:${PN} = "chrony \
                     iw \
                     networkmanager-daemon"
# What a board's media need is not always built into its kernel.
RRECOMMENDS:fleet-flasher = "kernel-devicetree \
                             kernel-modules"
