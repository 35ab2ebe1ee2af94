#!/bin/sh
# Turns "Debian packages + make install + reference/overlay" into a root that boots read-only, without network:
# users, presets, mount points, and no trace of the machine that built it. Run inside the root (chroot), as root.
set -eu

# Users of packages and of dist/, then what their tmpfiles.d lines own; a read-only root cannot make them later.
systemd-sysusers
# --boot is left out on purpose: those lines belong to a running system. /run and /tmp are memory then.
systemd-tmpfiles --create --exclude-prefix=/run --exclude-prefix=/tmp --exclude-prefix=/dev \
    --exclude-prefix=/proc --exclude-prefix=/sys --exclude-prefix=/boot || [ $? -eq 65 ]

# Enabled is what a preset says, nothing else (overlay/…/00-reference.preset, dist's, 99-reference.preset).
systemctl preset-all --preset-mode=full 2>&1
# NetworkManager.service names it in Also=, so enabling the one brings the other back.
systemctl disable NetworkManager-wait-online.service 2>&1

# There is no polkitd on a device. Debian's ModemManager depends on it: nothing here starts it.
rm -f /usr/share/dbus-1/system-services/org.freedesktop.PolicyKit1.service

# Host keys belong to the device: /var/lib/fleet/ssh. Debian's would be made on a read-only /etc.
rm -f /etc/ssh/ssh_host_*
systemctl mask sshd-keygen.service systemd-firstboot.service 2>&1

# LogsDirectory= of Debian's unit, as the unit wants it: systemd cannot change a directory on a read-only root.
install -d -m 0750 -o _chrony -g _chrony /var/log/chrony

# Every mount point of dist/etc/fstab and of the design; a bind needs its target on the read-only side.
if [ -e /etc/fstab ]; then
    awk '!/^[[:space:]]*#/ && $2 ~ /^\// { print $2 }' /etc/fstab
fi | while read -r target; do
    [ -e "$target" ] || mkdir -p "$target"
done
mkdir -p /data /boot /var/lib/fleet /var/lib/NetworkManager /var/lib/systemd /var/lib/chrony /var/log/journal \
    /etc/NetworkManager/system-connections
chmod 0700 /etc/NetworkManager/system-connections

# An empty machine-id, not an absent one: fleet-preinit supplies the device's own.
rm -f /etc/machine-id /var/lib/dbus/machine-id /etc/hostname /etc/resolv.conf
: >/etc/machine-id
mkdir -p /var/lib/dbus
ln -s /etc/machine-id /var/lib/dbus/machine-id
ln -s /run/NetworkManager/resolv.conf /etc/resolv.conf
# The time zone is the device's (os.timezone).
rm -f /etc/localtime /etc/timezone
ln -s ../run/fleet/config/localtime /etc/localtime
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' >/etc/hosts

# No password for anybody.
passwd --quiet --lock root
# The day of the last change is the day of the build: left out, because 0 would mean "change it now".
sed -i 's/^root:[^:]*:/root:*:/; s/^\([^:]*:[^:]*\):[0-9]*:/\1::/' /etc/shadow

# The clock is never before the day of the image, as OpenEmbedded's package of systemd has it (systemd(1), /usr/lib/clock-epoch).
: >/usr/lib/clock-epoch

# No unit may want to update /etc or /var of a root that is never written.
touch /etc/.updated /var/.updated

# What a login prints is overlay/etc/motd only.
rm -rf /etc/update-motd.d

# Package management: a root that is never written has no use for it, and its sources name a host of the builder.
rm -rf /etc/apt /var/lib/apt /var/cache/apt

# What building left, and backups that differ from build to build.
rm -rf /run/* /tmp/* /var/tmp/* /var/cache/ldconfig/aux-cache /var/log/*.log /var/log/apt
rm -f /etc/passwd- /etc/shadow- /etc/group- /etc/gshadow- /etc/subuid- /etc/subgid- /etc/.pwd.lock \
    /var/lib/systemd/random-seed /var/lib/systemd/credential.secret
