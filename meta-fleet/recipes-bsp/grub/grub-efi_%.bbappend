# grub.cfg asks for the PARTUUID of the slot that it has found by label.
GRUB_BUILDIN:append:fleet = " probe"
