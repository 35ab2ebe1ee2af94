#!/bin/sh
# The last step of base.tar: makes boot loader and initial RAM disk from the packages just installed, then removes
# what was needed only for that. Run inside the new root (chroot) by mmdebstrap, with reference/initrd/init in
# /tmp/init. Leaves /boot/{vmlinuz,initrd.img} and /usr/lib/fleet-reference/BOOTX64.EFI.
set -eu

release=$(basename /usr/lib/modules/*)

# GRUB with only the modules that its configuration uses (meta-fleet's, as the Yocto image has it); that is read from the
# boot partition that GRUB was started from.
mkdir -p /usr/lib/fleet-reference
grub-mkimage --format=x86_64-efi --prefix=/EFI/BOOT --output=/usr/lib/fleet-reference/BOOTX64.EFI \
    part_gpt fat ext2 normal configfile linux loadenv test true regexp probe echo sleep reboot

# The initial RAM disk: busybox, one script, and the modules that lead to a root on ext4 on the virtio disk of QEMU,
# unpacked and in the order of their dependencies, so that nothing has to be resolved at boot.
work=/tmp/initrd
mkdir -p "$work/bin" "$work/modules"
cp /bin/busybox "$work/bin/busybox"
cp /tmp/init "$work/init"
chmod 0755 "$work/init"
for name in virtio_blk ext4; do
    # Without the variants that only newer processors have: the generic one is there too.
    modprobe --set-version "$release" --show-depends "$name" | sed -n '/-intel/d; s/^insmod \([^ ]*\).*/\1/p'
done | awk '!seen[$0]++' | while read -r module; do
    name=$(basename "$module" .xz)
    case $module in
        *.xz) xz --decompress --stdout "$module" >"$work/modules/$name" ;;
        *) cp "$module" "$work/modules/$name" ;;
    esac
    echo "$name" >>"$work/modules/order"
done
find "$work" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
(cd "$work" && find . | LC_ALL=C sort | cpio --quiet --create --format=newc --owner=0:0 --reproducible) \
    >/boot/initrd.img

# The names that a slot's boot loader asks for, without the version in them.
mv "/boot/vmlinuz-$release" /boot/vmlinuz
chmod 0644 /boot/vmlinuz /boot/initrd.img
rm -f /boot/System.map-* /boot/config-* /boot/initrd.img-* /initrd.img* /vmlinuz*

# The manifest is taken before the packages of the making go.
dpkg-query --show --showformat='${Package} ${Version} ${Architecture}\n' >/usr/lib/fleet-reference/manifest
dpkg --purge --force-depends busybox-static cpio tiny-initramfs tiny-initramfs-core grub-efi-amd64-bin grub-efi-amd64-unsigned grub-common \
    xz-utils >/dev/null
rm -rf /var/cache/debconf /etc/grub.d /etc/default/grub* /usr/lib/grub \
    /usr/share/doc /usr/share/man /usr/share/locale /usr/share/info "$work" /tmp/init \
    /var/log/apt /var/log/*.log /var/lib/dpkg/*-old /var/lib/ucf
