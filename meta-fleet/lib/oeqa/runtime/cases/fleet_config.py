# SPDX-License-Identifier: Apache-2.0
"""A change of the configuration, from the file and by the command line. See tools/testbed/tests/config.rs."""

from fleet_case import FleetCase
from oeqa.core.decorator.depends import OETestDepends


class FleetConfig(FleetCase):

    def setUp(self):
        super().setUp()
        self.before = self.succeeds('cat /boot/config.json')
        self.name = self.succeeds('uname -n')

    def tearDown(self):
        self.target.run(f"cat > /boot/config.json <<'END'\n{self.before}\nEND\n")
        self.soon(30, 'uname -n', self.name)
        super().tearDown()

    @OETestDepends(['fleet_boot.FleetBoot.test_nothing_failed'])
    def test_an_edit_of_the_file_takes_effect(self):
        self.succeeds("""echo '{"hostname": "edited"}' > /boot/config.json""")
        self.soon(30, 'uname -n', 'edited')
        self.assertEqual(self.succeeds('systemctl show -P NRestarts fleet-config'), '0')

    @OETestDepends(['fleet_boot.FleetBoot.test_nothing_failed'])
    def test_a_key_by_the_command_line(self):
        self.succeeds('fleet config set hostname commanded')
        self.soon(30, 'uname -n', 'commanded')
        self.soon(30, 'grep -c commanded /boot/config.json', '1')

    @OETestDepends(['fleet_boot.FleetBoot.test_nothing_failed'])
    def test_what_is_invalid_costs_one_key(self):
        self.succeeds("""echo '{"hostname": "refusing", "ntpServers": 7}' > /boot/config.json""")
        self.soon(30, 'uname -n', 'refusing')
        self.assertIn('refused', self.succeeds('fleet config show'))

    @OETestDepends(['fleet_boot.FleetBoot.test_nothing_failed'])
    def test_a_torn_file_changes_nothing(self):
        self.succeeds("""printf '{"hostname": "to' > /boot/config.json; sleep 3""")
        self.assertEqual(self.succeeds('uname -n'), self.name)
        self.assertEqual(self.succeeds('systemctl --failed --no-legend'), '')
