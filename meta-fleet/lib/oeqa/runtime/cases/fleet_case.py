# SPDX-License-Identifier: Apache-2.0
"""What the cases of Fleet OS share. They say what tools/testbed/tests says on the reference image, of an image that
BitBake has built: kas/testimage.yml has how they are run."""

import json
import time

from oeqa.runtime.case import OERuntimeTestCase


class FleetCase(OERuntimeTestCase):
    """Commands in the device, with what they are expected to say."""

    def succeeds(self, command):
        """The output of a command that has to succeed."""
        status, output = self.target.run(command)
        self.assertEqual(status, 0, f'{command}: {output}')
        return output

    def fails(self, command):
        """The output of a command that must not succeed."""
        status, output = self.target.run(command)
        self.assertNotEqual(status, 0, f'{command} succeeded: {output}')
        return output

    def json(self, command):
        """The JSON that a command prints."""
        return json.loads(self.succeeds(command))

    def soon(self, seconds, command, wanted):
        """A command that says `wanted`, at the latest after so many seconds."""
        end = time.monotonic() + seconds
        while True:
            _, output = self.target.run(command)
            if output == wanted:
                return
            if time.monotonic() > end:
                self.fail(f'{command} says {output!r} after {seconds} s, not {wanted!r}')
            time.sleep(1)
