require fleet-image.bb

SUMMARY:append = " for developers"
DESCRIPTION:append = " And tools to look around."

# What is asked on a device that misbehaves, in this order: what it does, what goes over its network, what hardware it has.
IMAGE_INSTALL += "bash \
                  curl \
                  ethtool \
                  file \
                  gdbserver \
                  htop \
                  i2c-tools \
                  iperf3 \
                  jq \
                  less \
                  lsof \
                  mmc-utils \
                  openssl-bin \
                  pciutils \
                  strace \
                  systemd-analyze \
                  tcpdump \
                  usbutils \
                  vim-tiny"

# It is no release: it may fill its slot as far as the file system has room.
FLEET_ROOT_BUDGET = "384M"

# For testimage (kas/testimage.yml): in by ssh without a password, and a root console from the start. What says so is read
# before dist/'s 50-fleet.conf, and the first word counts (sshd_config(5)).
fleet_open_to_tests() {
    printf '%s\n' 'PermitRootLogin yes' 'PermitEmptyPasswords yes' 'PasswordAuthentication yes' \
        > ${IMAGE_ROOTFS}${sysconfdir}/ssh/sshd_config.d/10-testimage.conf
    install -d ${IMAGE_ROOTFS}${systemd_system_unitdir}/multi-user.target.wants
    ln -s ../development-console.service ${IMAGE_ROOTFS}${systemd_system_unitdir}/multi-user.target.wants/
}
ROOTFS_POSTPROCESS_COMMAND += "${@bb.utils.contains('IMAGE_FEATURES', 'allow-empty-password allow-root-login empty-root-password', 'fleet_open_to_tests', '', d)}"
