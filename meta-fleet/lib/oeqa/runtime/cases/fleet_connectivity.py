# SPDX-License-Identifier: Apache-2.0
"""How far the device reaches. In QEMU that is what the builder reaches. See tools/testbed/tests/connectivity.rs."""

from fleet_case import FleetCase
from oeqa.core.decorator.depends import OETestDepends

LEVELS = ('none', 'carrier', 'address', 'gateway', 'dns', 'internet', 'vpn')
STATUSES = ('online', 'heartbeat-only', 'vpn-only', 'offline')


class FleetConnectivity(FleetCase):

    @OETestDepends(['fleet_boot.FleetBoot.test_nothing_failed'])
    def test_the_device_has_an_address_and_says_why_not_more(self):
        verdict = self.json('fleet connectivity --json')
        self.assertIn(verdict['status'], STATUSES)
        # These commands came over the network.
        self.assertGreaterEqual(LEVELS.index(verdict['level']), LEVELS.index('address'))
        if verdict['level'] not in ('internet', 'vpn'):
            self.assertNotEqual(verdict['reason'], 'none')

    @OETestDepends(['fleet_boot.FleetBoot.test_nothing_failed'])
    def test_the_published_file_says_the_same(self):
        published = self.json('cat /run/fleet/connectivity.json')
        asked = self.json('fleet connectivity --json')
        for key in ('level', 'reason', 'status'):
            self.assertEqual(published[key], asked[key])
