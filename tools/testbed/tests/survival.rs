//! What outlives a reboot and a power cut, and what does not.

use anyhow::Result;
use testbed::{Device, Tier};

#[test]
fn identity_and_configuration_outlive_a_power_cut() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).config_text("{}").start()?;
    let identity = "cat /etc/machine-id /var/lib/fleet/ssh/*.pub; \
         busctl get-property org.fleetos.Config1 /org/fleetos/Config1 org.fleetos.Config1 Uuid";
    let before = device.run(identity)?.succeeds()?.text();
    device.run("fleet config set hostname kept")?.succeeds()?;
    device
        .run("touch /run/gone /var/tmp/gone /tmp/gone /data/kept")?
        .succeeds()?;

    device.cut()?;
    device.run(identity)?.says(&before)?;
    device.run("uname -n")?.says("kept")?;
    device
        .run("ls /run/gone /var/tmp/gone /tmp/gone 2>/dev/null; ls /data/kept")?
        .says("/data/kept")?;

    // The boot partition is lost with everything on it.
    device.run("rm -rf /boot/*")?.succeeds()?;
    device.cut()?;
    device.run(identity)?.says(&before)?;
    device.run("uname -n")?.says("kept")?;
    device
        .run("fleet connectivity --json")?
        .mentions(r#""status": "online""#)?;
    Ok(())
}

#[test]
fn a_damaged_folder_of_the_state_does_not_stop_the_boot() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn)
        .config_text(r#"{"hostname": "alive"}"#)
        .start()?;
    device
        .run("rm -rf /var/lib/fleet/chrony && touch /var/lib/fleet/chrony")?
        .succeeds()?;
    device.reboot()?;
    device
        .run("systemctl --failed --plain --no-legend | cut -d' ' -f1")?
        .says("var-lib-chrony.mount")?;
    device.run("systemctl is-active emergency.target")?.fails()?;
    device
        .run("systemctl is-active ssh NetworkManager fleet-config fleet-watch")?
        .succeeds()?;
    device.run("uname -n")?.says("alive")?;
    device
        .run("fleet connectivity --json")?
        .mentions(r#""status": "online""#)?;
    Ok(())
}

#[test]
fn without_room_for_host_keys_there_is_ssh_all_the_same() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    device.run("systemctl stop ssh && mount -t tmpfs -o size=4k tmpfs /var/lib/fleet/ssh && head -c 4096 /dev/zero > /var/lib/fleet/ssh/full")?.succeeds()?;
    device
        .run("systemctl restart fleet-host-keys && systemctl start ssh && systemctl is-active ssh")?
        .says("active")?;
    device
        .run("sshd -T | grep -c 'hostkey /run/fleet/ssh/'")?
        .says("2")?;
    device
        .run("journalctl -u fleet-host-keys -o cat --no-pager | grep -c 'until the next boot'")?
        .says("1")?;
    Ok(())
}
