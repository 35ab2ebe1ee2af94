"""Is every line of conf/distro/include/fleet-features.inc heeded? Reads each recipe that it names with our appends, which
has to be right; and once a line with the word turned round, which has to be refused with the line's reason.

To be run in a build directory. Prints one line a problem and exits with 1 if there was one.
"""

import logging
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(shutil.which('bitbake')).resolve().parents[1] / 'lib'))

import bb.data  # noqa: E402
import bb.tinfoil  # noqa: E402

problems = []
said = []


class Collect(logging.Handler):
    """What the class says."""

    def emit(self, record):
        said.append(record.getMessage())


def read(tinfoil, recipe, appended=True, change=None):
    """What the class says of a recipe, with or without our appends, and with a variable set."""
    data = bb.data.createCopy(tinfoil.config_data)
    if change:
        data.setVar(*change)
    layers = [Path(layer) for layer in data.getVar('BBLAYERS').split()]
    files = [path for layer in layers for path in layer.glob(f'recipes-*/*/{recipe}_*.bb') if '_git' not in path.name]
    appends = [path for layer in layers for path in layer.glob(f'recipes-*/*/{recipe}_%.bbappend')] if appended else []
    if len(files) != 1:
        problems.append(f'{recipe}: {len(files)} recipes of this name')
        return ''
    said.clear()
    try:
        tinfoil.parse_recipe_file(str(files[0]), appendlist=[str(path) for path in appends], config_data=data)
    except Exception as error:  # BitBake has many kinds; what it says was collected
        said.append(str(error))
        # What the server says may come later than its answer.
        end = time.monotonic() + 20
        while not any('Fleet OS' in text for text in said) and time.monotonic() < end:
            event = tinfoil.wait_event(1)
            if isinstance(event, logging.LogRecord):
                said.append(event.getMessage())
    return '\n'.join(text for text in said if 'basehash' not in text)


with bb.tinfoil.Tinfoil(setup_logging=False) as tinfoil:
    logger = logging.getLogger('BitBake')
    logger.addHandler(Collect())
    logger.propagate = False
    tinfoil.prepare(config_only=True, quiet=2)
    lines = [(variable, *flag.partition('.')[::2], tinfoil.config_data.expand(reason))
             for variable in ('FLEET_FEATURES_ON', 'FLEET_FEATURES_OFF')
             for flag, reason in tinfoil.config_data.getVarFlags(variable).items()]
    recipes = sorted({recipe for _, recipe, _, _ in lines})
    for recipe in recipes:
        text = read(tinfoil, recipe)
        if text:
            problems.append(text)
    for variable, recipe, word, reason in lines:
        if not reason:
            continue
        if variable == 'FLEET_FEATURES_ON':
            text = read(tinfoil, recipe, change=(f'PACKAGECONFIG:remove:pn-{recipe}', word))
        else:
            # An append of ours may take out again what is put in here.
            text = read(tinfoil, recipe, appended=False, change=(f'PACKAGECONFIG:append:pn-{recipe}', f' {word}'))
        if reason not in text:
            problems.append(f'{variable}[{recipe}.{word}] is not heeded: {text}')

for problem in problems:
    print(problem)
print(f'{len(lines)} words of {" ".join(recipes)}; each is heeded')
sys.exit(bool(problems))
