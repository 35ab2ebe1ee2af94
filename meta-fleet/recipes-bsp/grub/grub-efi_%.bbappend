# What grub.cfg uses beside oe-core's choice.
GRUB_BUILDIN:append:fleet = " echo probe reboot regexp sleep true"
