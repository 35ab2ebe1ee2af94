# Users and groups of a read-only root have to be in /etc/passwd when the image is made. This class derives them from
# the same sysusers.d(5) file that the image installs, so that a number is written down once.
#
# FLEET_SYSUSERS: path of that file. Lines of the types g, u and m are understood, with fixed numbers.

inherit useradd

USERADD_PACKAGES = "${PN}"
GROUPADD_PARAM:${PN} = "${@fleet_sysusers_groups(d)}"
USERADD_PARAM:${PN} = "${@fleet_sysusers_users(d)}"

def fleet_sysusers_lines(d):
    import shlex
    path = d.getVar('FLEET_SYSUSERS')
    with open(path) as file:
        lines = [shlex.split(line, comments=True) for line in file]
    for line in lines:
        if line and line[0] not in ('g', 'u', 'm'):
            bb.fatal('%s: type %s is not understood, only g, u and m are' % (path, line[0]))
    return [line for line in lines if line]

def fleet_sysusers_groups(d):
    lines = fleet_sysusers_lines(d)
    own = {line[1]: line[2] for line in lines if line[0] in ('g', 'u')}
    params = ['--system --gid %s %s' % (number, name) for name, number in own.items()]
    # A group of another package: whichever of the two is installed first makes it.
    others = sorted({line[2] for line in lines if line[0] == 'm'} - own.keys())
    params += ['--system %s' % name for name in others]
    return '; '.join(params)

def fleet_sysusers_users(d):
    lines = fleet_sysusers_lines(d)
    params = []
    for _, name, number, *rest in (line for line in lines if line[0] == 'u'):
        comment, home, shell = (rest + ['-', '-', '-'])[:3]
        groups = ','.join(line[2] for line in lines if line[0] == 'm' and line[1] == name)
        params.append("--system --uid %s --gid %s --no-create-home --home-dir %s --shell %s%s%s %s" % (
            number, number,
            home if home != '-' else '/',
            shell if shell != '-' else d.getVar('base_sbindir') + '/nologin',
            " --comment '%s'" % comment if comment != '-' else '',
            ' --groups ' + groups if groups else '',
            name))
    return '; '.join(params)
