SUMMARY = "Installs Fleet OS to a board's internal medium"
DESCRIPTION = "For an SD card or USB stick: starts the board, writes fleet-image to its eMMC, carries the configuration over, \
and switches the board off. No network, no login."
HOMEPAGE = "https://fleetos.example"
LICENSE = "MIT"

inherit core-image features_check

REQUIRED_DISTRO_FEATURES = "fleet systemd usrmerge"

IMAGE_FEATURES += "read-only-rootfs"
# Of the services only what comes before systemd runs here: fleet-preinit, which is init= on every board.
IMAGE_INSTALL = "packagegroup-core-boot \
                 dosfstools \
                 fleet-flasher \
                 fleet-services \
                 kernel-image"
# What the services use when they run.
BAD_RECOMMENDATIONS += "chrony iw networkmanager-daemon"
IMAGE_LINGUAS = ""
SYSTEMD_DEFAULT_TARGET = "fleet-flasher.target"

IMAGE_FSTYPES = "wic.bmap wic.zst"
IMAGE_FSTYPES:append:qemuall = " wic"
# nooelint: oelint.vars.specific,oelint.vars.mispell
IMAGE_TYPEDEP:wic = "ext4"
do_image_wic[depends] += "${FLEET_BOOT_DEPENDS}"
WIC_CREATE_EXTRA_ARGS = "--no-fstab-update"
# Before the board's own, which is that of fleet-image.
# nooelint: oelint.vars.specific
WKS_FILE:fleet = "fleet-flasher.wks.in"

# Never written, as a slot.
# nooelint: oelint.vars.specific
EXTRA_IMAGECMD:ext4 = "-i 4096 -b 4096 -O ^has_journal"

# What is installed, with the block map that it is verified by.
FLEET_FLASHER_IMAGE ?= "fleet-image"
do_rootfs[depends] += "${FLEET_FLASHER_IMAGE}:do_image_complete"
fleet_flasher_payload() {
    image=${DEPLOY_DIR_IMAGE}/${FLEET_FLASHER_IMAGE}${IMAGE_MACHINE_SUFFIX}${IMAGE_NAME_SUFFIX}.wic
    install -d ${IMAGE_ROOTFS}${datadir}/fleet-flasher
    install -m 0644 $image.zst ${IMAGE_ROOTFS}${datadir}/fleet-flasher/image.wic.zst
    install -m 0644 $image.bmap ${IMAGE_ROOTFS}${datadir}/fleet-flasher/image.wic.bmap
}
ROOTFS_POSTPROCESS_COMMAND += "fleet_flasher_payload"

# A bind mount needs its target on the read-only side, as in fleet-image.
fleet_mount_points() {
    awk '!/^[[:space:]]*#/ && $2 ~ /^\// { print $2 }' ${IMAGE_ROOTFS}${sysconfdir}/fstab | while read -r target; do
        install -d ${IMAGE_ROOTFS}$target
    done
    install -d ${IMAGE_ROOTFS}${localstatedir}/lib/fleet
}
ROOTFS_POSTPROCESS_COMMAND += "fleet_mount_points"
