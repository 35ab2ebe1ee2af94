# SPDX-License-Identifier: Apache-2.0
"""A change of the configuration, from the file and by the command line. See tools/testbed/tests/config.rs."""

import json

from fleet_case import FleetCase
from oeqa.core.decorator.depends import OETestDepends


class FleetConfig(FleetCase):

    def setUp(self):
        super().setUp()
        self.before = self.succeeds('cat /boot/config.json')
        self.name = self.succeeds('uname -n')

    def tearDown(self):
        self.write(self.before)
        self.soon(30, 'uname -n', self.name)
        super().tearDown()

    def write(self, text):
        """Writes the file, as a person would."""
        self.succeeds(f"cat > /boot/config.json <<'END'\n{text}\nEND\n")

    def edit(self, **keys):
        """Changes keys in the file. What else is in it stays: it may be what lets these commands in."""
        self.write(json.dumps({**json.loads(self.before), **keys}))

    @OETestDepends(['fleet_boot.FleetBoot.test_nothing_failed'])
    def test_an_edit_of_the_file_takes_effect(self):
        self.edit(hostname='edited')
        self.soon(30, 'uname -n', 'edited')
        self.assertEqual(self.succeeds('systemctl show -P NRestarts fleet-config'), '0')

    @OETestDepends(['fleet_boot.FleetBoot.test_nothing_failed'])
    def test_a_key_by_the_command_line(self):
        self.succeeds('fleet config set hostname commanded')
        self.soon(30, 'uname -n', 'commanded')
        self.soon(30, 'grep -c commanded /boot/config.json', '1')

    @OETestDepends(['fleet_boot.FleetBoot.test_nothing_failed'])
    def test_what_is_invalid_costs_one_key(self):
        self.edit(hostname='refusing', ntpServers=7)
        self.soon(30, 'uname -n', 'refusing')
        self.assertIn('refused', self.succeeds('fleet config show'))

    @OETestDepends(['fleet_boot.FleetBoot.test_nothing_failed'])
    def test_a_torn_file_changes_nothing(self):
        self.write(self.before[:len(self.before) // 2])
        self.succeeds('sleep 3')
        self.assertEqual(self.succeeds('uname -n'), self.name)
        self.assertEqual(self.succeeds('systemctl --failed --no-legend'), '')
