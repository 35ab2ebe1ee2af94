"""Loads the cases for testimage as testimage does: every suite of kas/testimage.yml is found and imported, and every
dependency between cases is there. With a device, runs them in it, with testimage's own runner.

Arguments: the folder that kas checked the layers out to, the layer; the device's address and the key to come in with.
"""

import logging
import re
import sys
from pathlib import Path

work, layer, *device = sys.argv[1:]
work, layer = Path(work), Path(layer)
core = work / 'openembedded-core/meta/lib'
sys.path[:0] = [str(core), str(work / 'bitbake/lib')]

from oeqa.core.target.ssh import OESSHTarget  # noqa: E402
from oeqa.core.utils.test import getSuiteCasesIDs  # noqa: E402
from oeqa.runtime.context import OERuntimeTestContext  # noqa: E402

option = (layer.parent / 'kas/testimage.yml').read_text()
suites = re.search('TEST_SUITES = "(.*)"', option).group(1).split()
folders = [layer / 'lib/oeqa/runtime/cases', core / 'oeqa/runtime/cases']

there = {path.stem for path in folders[0].glob('*.py')} - {'fleet_case'}
if there - set(suites):
    sys.exit(f'TEST_SUITES of kas/testimage.yml lacks {" ".join(sorted(there - set(suites)))}')

log = logging.getLogger('oeqa')
target = OESSHTarget(log, device[0] if device else None, None, port='22222')
target.runner = None
# What the decorators of the cases ask for: variables of the image, its packages.
context = OERuntimeTestContext({'MLPREFIX': ''}, log, target, {'openssh-sshd'}, '')
context.loadTests([str(folder) for folder in folders], modules=suites)
cases = [name for suite in context.suites for name in getSuiteCasesIDs(suite)]
print(f'{sum(name.startswith("fleet_") for name in cases)} cases of ours', end='')
if not device:
    print(' can be loaded')
    sys.exit()

target.ssh += ['-i', device[1], '-o', 'IdentitiesOnly=yes', '-o', 'BatchMode=yes']
result = context.runTests()
print(f', {result.testsRun} in all, run')
for kind in ('failures', 'errors', 'skipped'):
    for case, text in getattr(result, kind):
        print(f'{kind}: {case.id() if hasattr(case, "id") else case}: {text}')
sys.exit(not result.wasSuccessful() or bool(result.skipped))
