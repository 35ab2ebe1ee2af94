"""Reads kas files as kas itself does, without a checkout: schema, includes and lock files.

Prints one line a problem and exits with 1 if there was one. kas_problems.py has been run before.
"""

import re
import sys
from pathlib import Path

from kas.includehandler import IncludeHandler


def read(names):
    """What kas makes of the files together, or None."""
    label = ':'.join(names)
    try:
        config, missing = IncludeHandler([str(Path(name).resolve()) for name in names]).get_config()
    except Exception as error:  # kas has no common base for them
        problems.append(f'{label}: {error}')
        return None
    problems.extend(f'{label}: includes a file of {repo}, which needs a checkout' for repo in missing)
    if 'defaults' in config:
        problems.append(f'{label}: defaults would be for the repositories of a product that includes this, too')
    locked = config.get('overrides', {}).get('repos', {})
    for repo, settings in config.get('repos', {}).items():
        if 'url' not in (settings or {}):
            continue
        commit = settings.get('commit') or locked.get(repo, {}).get('commit', '')
        if not re.fullmatch('[0-9a-f]{40}', commit):
            problems.append(f'{label}: {repo} is not pinned to a commit; run `kas lock {label}`')
    return config


for name in sys.argv[1:]:
    config = read([name])
    # An option is for use with a board.
    if config is not None and 'repos' not in config:
        read(['kas.yml', name])

for problem in problems:
    print(problem)
sys.exit(bool(problems))
