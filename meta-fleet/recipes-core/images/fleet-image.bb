SUMMARY = "Fleet OS"
DESCRIPTION = "The system of a device: read-only root file system in two slots, no password, no getty, ssh by key."
HOMEPAGE = "https://fleetos.example"
LICENSE = "MIT"

inherit core-image features_check

REQUIRED_DISTRO_FEATURES = "fleet systemd usrmerge"

IMAGE_FEATURES += "read-only-rootfs"
IMAGE_INSTALL = "packagegroup-core-boot packagegroup-fleet ${CORE_IMAGE_EXTRA_INSTALL}"
IMAGE_LINGUAS = ""

# wic: the disk to flash. ext4: one slot, which the disk image holds twice and an update will bring.
IMAGE_FSTYPES = "ext4 wic.bmap wic.zst"
IMAGE_FSTYPES:append:qemuall = " wic"
# nooelint: oelint.vars.specific,oelint.vars.mispell
IMAGE_TYPEDEP:wic = "ext4"
do_image_wic[depends] += "${FLEET_BOOT_DEPENDS}"
# fstab is dist/etc/fstab as it is.
WIC_CREATE_EXTRA_ARGS = "--no-fstab-update"

# 4 KiB blocks (RAUC's block deltas) and no journal (it is never written). The feature read-only makes even a plain
# mount come up ro, so that a slot keeps the hash it was shipped with; mke2fs does not take it.
# nooelint: oelint.vars.specific
EXTRA_IMAGECMD:ext4 = "-i 4096 -b 4096 -O ^has_journal"
# nooelint: oelint.vars.mispell,oelint.vars.overrideappend,oelint.vars.specific
IMAGE_CMD:ext4:append = " && tune2fs -O read-only ${IMGDEPLOYDIR}/${IMAGE_NAME}.ext4"

# A bind mount needs its target on the read-only side. The list is the installed fstab, plus what fleet-preinit mounts.
fleet_mount_points() {
    awk '!/^[[:space:]]*#/ && $2 ~ /^\// { print $2 }' ${IMAGE_ROOTFS}${sysconfdir}/fstab | while read -r target; do
        install -d ${IMAGE_ROOTFS}$target
    done
    install -d ${IMAGE_ROOTFS}${localstatedir}/lib/fleet
    chmod 0700 ${IMAGE_ROOTFS}${sysconfdir}/NetworkManager/system-connections
}
ROOTFS_POSTPROCESS_COMMAND += "fleet_mount_points"

# A password, or none where one is asked for, is a way in that config.json does not know of.
fleet_check_passwords() {
    for name in $(awk -F: '$2 !~ /^[*!]/ { print $1 }' ${IMAGE_ROOTFS}${sysconfdir}/shadow); do
        bbfatal "${PN}: the account $name can be entered with a password or without any; remove it or use another image"
    done
}
ROOTFS_POSTUNINSTALL_COMMAND += "${@bb.utils.contains_any('IMAGE_FEATURES', 'empty-root-password allow-empty-password', '', 'fleet_check_passwords', d)}"

# The file system has to fit into the slot, which cannot grow in the field.
# nooelint: oelint.vars.specific
IMAGE_ROOTFS_MAXSIZE = "${@fleet_kib(d, 'FLEET_ROOT_SIZE') or ''}"

def fleet_kib(d, name):
    size = d.getVar(name)
    # Another distro has no slots.
    if not size:
        return 0
    factor = {'K': 1, 'M': 1024, 'G': 1024 * 1024}.get(size[-1:])
    if factor is None or not size[:-1].isdigit():
        bb.fatal('%s is "%s": a number with K, M or G is wanted' % (name, size))
    return int(size[:-1]) * factor

# What the files take, against what this release may take of its slot: said in every build, so that growth is seen
# when it happens.
python fleet_check_size() {
    used = oe.utils.directory_size(d.getVar('IMAGE_ROOTFS')) // 1024
    budget = fleet_kib(d, 'FLEET_ROOT_BUDGET')
    said = '%s: %d MiB of a budget of %d MiB, in slots of %s' % (
        d.getVar('PN'), used // 1024, budget // 1024, d.getVar('FLEET_ROOT_SIZE'))
    if used > budget:
        bb.fatal('%s. Every later release has to fit into the slots that devices have: leave something out, or give '
                 'both FLEET_ROOT_SIZE and FLEET_ROOT_BUDGET more before the first device is out' % said)
    bb.plain(said)
}
IMAGE_PREPROCESS_COMMAND += "fleet_check_size"
