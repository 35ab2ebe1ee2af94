# nooelint: oelint.file.requirenotfound,oelint.var.mandatoryvar.LICENSE
require recipes-core/images/fleet-image.bb

SUMMARY:append = " with the pump's controller"
DESCRIPTION:append = " And the pump's controller."

IMAGE_INSTALL += "pump"
