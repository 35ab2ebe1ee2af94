# SPDX-License-Identifier: Apache-2.0
"""The way in. What passwords do cannot be asked here: the image of these tests takes one. See tools/testbed/tests/access.rs."""

from fleet_case import FleetCase
from oeqa.core.decorator.depends import OETestDepends


class FleetAccess(FleetCase):

    @OETestDepends(['ssh.SSHTest.test_ssh'])
    def test_ssh_listens_on_22222_only(self):
        # Local addresses of TCP sockets in the state LISTEN (proc_pid_net(5)), ports in hexadecimal.
        listening = self.succeeds("awk '$4 == \"0A\" {print $2}' /proc/net/tcp /proc/net/tcp6").split()
        ports = {int(address.rsplit(':', 1)[1], 16) for address in listening}
        self.assertIn(22222, ports)
        self.assertNotIn(22, ports)

    @OETestDepends(['ssh.SSHTest.test_ssh'])
    def test_keys_come_from_the_configuration(self):
        settings = self.succeeds('sshd -T').lower()
        self.assertIn('authorizedkeyscommand /usr/libexec/fleet/fleet-authorized-keys', settings)
        self.assertIn('authorizedkeysfile none', settings)
        self.assertIn('kbdinteractiveauthentication no', settings)

    @OETestDepends(['ssh.SSHTest.test_ssh'])
    def test_host_keys_are_on_the_state_partition(self):
        self.succeeds('test -s /var/lib/fleet/ssh/ssh_host_ed25519_key')
        self.assertEqual(self.succeeds('ls /etc/ssh | grep -c ssh_host_ || true'), '0')
