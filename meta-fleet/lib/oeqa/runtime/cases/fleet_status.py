# SPDX-License-Identifier: Apache-2.0
"""What `fleet status` says. See tools/testbed/tests/boot.rs."""

from fleet_case import FleetCase
from oeqa.core.decorator.depends import OETestDepends

SUBJECTS = ('Host name', 'Configuration', 'Connectivity', 'Logging', 'State', 'Last reboot', 'System')


class FleetStatus(FleetCase):

    @OETestDepends(['fleet_boot.FleetBoot.test_nothing_failed'])
    def test_each_subject_has_a_sentence(self):
        lines = self.succeeds('fleet status').splitlines()
        for subject in SUBJECTS:
            line = next((line for line in lines if line.startswith(subject)), '')
            self.assertRegex(line.removeprefix(subject), r'^ +\S', f'{subject} in {lines}')

    @OETestDepends(['fleet_boot.FleetBoot.test_nothing_failed'])
    def test_state_is_kept_and_the_system_runs(self):
        status = self.succeeds('fleet status')
        self.assertIn('kept on the state partition', status)
        self.assertRegex(status, r'(?m)^System +running')

    @OETestDepends(['fleet_boot.FleetBoot.test_nothing_failed'])
    def test_the_same_as_json(self):
        self.assertEqual(self.json('fleet status --json')['hostname'], self.succeeds('uname -n'))
