FILESEXTRAPATHS:prepend:fleet := "${THISDIR}/linux-yocto:"

SRC_URI:append:fleet = " file://fleet.cfg"

# What nft loads rules into: NetworkManager's of a shared connection, and a product's.
KERNEL_FEATURES:append:fleet = " features/nf_tables/nf_tables.scc"
# The board's LEDs, and what they can show by themselves (docs/flasher.md).
KERNEL_FEATURES:append:fleet:beaglebone-yocto = " features/leds/leds.scc"
