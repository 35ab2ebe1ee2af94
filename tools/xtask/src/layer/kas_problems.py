"""What kas complains of, for the scripts that ask it: each is run with this before it."""

import argparse
import logging

from kas.context import create_global_context

problems = []


class Collect(logging.Handler):
    """kas logs what it does not like, and goes on."""

    def emit(self, record):
        if record.levelno >= logging.WARNING:
            problems.append(record.getMessage().replace('\n', ' '))


logging.getLogger().addHandler(Collect())
create_global_context(argparse.Namespace(no_color=True))
