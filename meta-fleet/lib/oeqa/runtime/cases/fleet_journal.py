# SPDX-License-Identifier: Apache-2.0
"""The journal between RAM and flash. See tools/testbed/tests/journal.rs."""

from fleet_case import FleetCase
from oeqa.core.decorator.depends import OETestDepends

STORED = "find /var/log/journal -name '*.journal' | wc -l"


class FleetJournal(FleetCase):

    def mode(self):
        return self.json('fleet journal status --json')['mode']

    @OETestDepends(['fleet_boot.FleetBoot.test_nothing_failed'])
    def test_persist_and_back(self):
        self.assertEqual(self.mode(), 'volatile')
        self.succeeds('fleet journal persist')
        try:
            self.assertEqual(self.mode(), 'persistent')
            self.succeeds('logger -t oeqa kept-by-the-journal && journalctl --sync')
            self.assertNotEqual(self.succeeds(STORED), '0')
            self.assertIn('kept-by-the-journal',
                          self.succeeds('journalctl -D /var/log/journal -t oeqa -o cat --no-pager'))
        finally:
            self.succeeds('fleet journal volatile')
        self.assertEqual(self.mode(), 'volatile')
