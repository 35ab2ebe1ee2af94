"""Reads Kconfig as `kas menu` does, without its screen: every board, alone and with every option, gives a configuration
that kas accepts, and everything in kas/ can be chosen.

Prints one line a problem and exits with 1 if there was one. kas_problems.py has been run before.
Arguments: the repository, a folder to write in.
"""

import sys
from pathlib import Path

from kas.includehandler import IncludeHandler
from kas.plugins.menu import Menu
from kconfiglib import Kconfig

top, work = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()

menu = Menu()
menu.kconf = Kconfig(str(top / 'Kconfig'), warn_to_stderr=False)
boards = menu.kconf.choices[0].syms
options = [symbol for symbol in menu.kconf.unique_defined_syms
           if symbol.choice is None and any(node.prompt for node in symbol.nodes)]
chosen = set()

for board in boards:
    for option in [None, *options]:
        board.set_value('y')
        for symbol in options:
            symbol.set_value('y' if symbol is option else 'n')
        name = board.name + (f' with {option.name}' if option else '')
        path = work / 'menu.config.yaml'
        path.unlink(missing_ok=True)
        try:
            menu.orig_config = {}
            menu.save_config(str(path), str(top))
            config, missing = IncludeHandler([str(path)]).get_config()
        except Exception as error:  # kas has no common base for them
            problems.append(f'{name}: {error}')
            continue
        menu.dump_kconf_warnings()
        problems += [f'{name}: includes a file of {repo}, which needs a checkout' for repo in missing]
        for key in ('machine', 'distro', 'target', 'repos'):
            if key not in config:
                problems.append(f'{name}: the configuration has no {key}')
        for symbol in menu.kconf.unique_defined_syms:
            if symbol.name.startswith('KAS_INCLUDE_') and symbol.str_value:
                chosen.add(symbol.str_value)

there = {f'kas/{path.name}' for path in (top / 'kas').glob('*.yml')
         if not path.name.endswith('.lock.yml') and path.name != 'base.yml'}
problems += [f'{name} cannot be chosen in Kconfig' for name in sorted(there - chosen)]

for problem in problems:
    print(problem)
print(f'{len(boards)} boards, {len(options)} options')
sys.exit(bool(problems))
