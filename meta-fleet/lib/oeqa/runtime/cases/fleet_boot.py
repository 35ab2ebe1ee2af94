# SPDX-License-Identifier: Apache-2.0
"""What every boot must show. See tools/testbed/tests/boot.rs."""

from fleet_case import FleetCase
from oeqa.core.decorator.depends import OETestDepends

# dist/etc/fstab, and what fleet-preinit mounts.
WRITABLE = (
    '/boot',
    '/data',
    '/var/lib/fleet',
    '/var/lib/NetworkManager',
    '/etc/NetworkManager/system-connections',
    '/var/lib/systemd',
    '/var/lib/chrony',
    '/var/log/journal',
    '/var/tmp',
    '/tmp',
    '/run',
)


class FleetBoot(FleetCase):

    @OETestDepends(['ssh.SSHTest.test_ssh'])
    def test_nothing_failed(self):
        self.soon(300, 'systemctl is-system-running', 'running')
        self.assertEqual(self.succeeds('systemctl --failed --no-legend'), '')
        self.succeeds('systemctl is-active fleet-config fleet-watch NetworkManager sshd chronyd')
        # systemd resolves an ordering cycle by leaving a unit out; it says so and goes on.
        self.fails("journalctl -b --no-pager | grep -i 'ordering cycle'")

    @OETestDepends(['ssh.SSHTest.test_ssh'])
    def test_root_is_read_only(self):
        options = self.succeeds("awk '$2 == \"/\" {print $4}' /proc/mounts")
        self.assertIn('ro', options.split(','))
        for path in ('/usr/x', '/etc/x', '/x', '/root/x', '/var/x', '/var/lib/x', '/var/log/x', '/etc/machine-id'):
            self.fails(f'(echo x > {path}) 2>&1')

    @OETestDepends(['ssh.SSHTest.test_ssh'])
    def test_the_listed_paths_can_be_written(self):
        for path in WRITABLE:
            self.succeeds(f'echo x > {path}/x && rm {path}/x')

    @OETestDepends(['ssh.SSHTest.test_ssh'])
    def test_no_getty_and_no_polkit(self):
        self.assertEqual(self.succeeds("systemctl list-units --type=service --no-legend '*getty*'"), '')
        self.fails('command -v polkitd || command -v pkexec')

    @OETestDepends(['ssh.SSHTest.test_ssh'])
    def test_the_machine_id_is_that_of_the_state_partition(self):
        self.assertRegex(self.succeeds('cat /etc/machine-id'), '^[0-9a-f]{32}$')
        self.assertIn('/var/lib/fleet ', self.succeeds('cat /proc/mounts'))
