# Stops where a recipe of another layer is not configured as Fleet OS relies on: conf/distro/include/fleet-features.inc
# has the list.
#
# FLEET_FEATURES_ON[recipe.word], FLEET_FEATURES_OFF[recipe.word]: why the word has to be in PACKAGECONFIG of the recipe,
# or must not be. An empty reason asks for nothing.

python () {
    pn = d.getVar('PN')
    words = (d.getVar('PACKAGECONFIG') or '').split()
    faults = []
    for variable, wanted in (('FLEET_FEATURES_ON', True), ('FLEET_FEATURES_OFF', False)):
        for flag, reason in (d.getVarFlags(variable) or {}).items():
            recipe, _, word = flag.partition('.')
            if recipe != pn or (word in words) == wanted:
                continue
            reason = d.expand(reason)
            if reason:
                faults.append("PACKAGECONFIG of %s %s '%s': %s (%s[%s] = \"\" if that is meant)" %
                              (pn, 'lacks' if wanted else 'has', word, reason, variable, flag))
    if faults:
        bb.fatal('Fleet OS does not work like this:\n  ' + '\n  '.join(faults))
}
