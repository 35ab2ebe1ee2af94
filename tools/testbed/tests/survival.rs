//! What outlives a reboot and a power cut, and what does not.

use anyhow::Result;
use testbed::{Device, Tier};

#[test]
fn identity_and_configuration_outlive_a_power_cut() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).config_text("{}").start()?;
    let identity = "cat /etc/machine-id /var/lib/fleet/ssh/*.pub /var/lib/NetworkManager/secret_key; \
         busctl get-property org.fleetos.Config1 /org/fleetos/Config1 org.fleetos.Config1 Uuid";
    let before = device.run(identity)?.succeeds()?.text();
    device.run("fleet config set hostname kept")?.succeeds()?;
    let revision =
        "busctl get-property org.fleetos.Config1 /org/fleetos/Config1 org.fleetos.Config1 Revision";
    device.run(revision)?.says("t 2")?;
    device
        .run("touch /run/gone /var/tmp/gone /tmp/gone /data/kept")?
        .succeeds()?;

    // NetworkManager writes at every renewal of a lease: to RAM.
    device
        .run("findmnt -n -o FSTYPE /var/lib/NetworkManager")?
        .says("tmpfs")?;
    device.run("ls /var/lib/NetworkManager/*.lease")?.succeeds()?;
    device
        .run("ls /var/lib/fleet/NetworkManager")?
        .says("secret_key")?;

    device.cut()?;
    device.run(identity)?.says(&before)?;
    device.run("uname -n")?.says("kept")?;
    device.run(revision)?.says("t 2")?;
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
fn either_generation_of_the_configuration_is_enough() -> Result<()> {
    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINrEGH2ofxVbbHY9RGew4bkVvleiMbzvvc94SXKuIZlv";
    let mut device = Device::boot(Tier::Nspawn).config_text("{}").start()?;
    device
        .run(&format!("fleet config set os.sshKeys '[\"{KEY}\"]'"))?
        .succeeds()?;
    // The state after this one is equal in what matters here.
    device.run("fleet config set mine 1")?.succeeds()?;
    for generation in ["generation-0", "generation-1"] {
        let path = format!("/var/lib/fleet/config/{generation}");
        device
            .run(&format!(
                "systemctl stop fleet-config && cp -a {path} /tmp/kept && printf torn > {path}"
            ))?
            .succeeds()?;
        // ssh reads the store; no service runs.
        let keys = "runuser -u fleet-config -- /usr/libexec/fleet/fleet-authorized-keys root";
        device.run(keys)?.mentions(KEY)?;
        device
            .run(&format!("cp -a /tmp/kept {path} && systemctl start fleet-config"))?
            .succeeds()?;
    }
    Ok(())
}

#[test]
fn a_copied_card_gets_an_identity_of_its_own() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn)
        .config_text(r#"{"uuid": "0123456789abcdef0123456789abcdef", "hostname": "kept"}"#)
        .start()?;
    // A container shows no board of its own: this is what fleet-preinit would have found.
    let seen =
        |board: &str| format!("echo 'serial {board}' > /run/fleet/board && systemctl restart fleet-config");
    device.run(&seen("first"))?.succeeds()?;
    device.run("fleet status | grep Problem")?.fails()?;
    device.run(&seen("second"))?.succeeds()?;
    device
        .run("fleet status")?
        .mentions("copied from another device")?;
    device
        .run("grep -c 0123456789abcdef0123456789abcdef /boot/config.json")?
        .fails()?;
    device.run("uname -n")?.says("kept")?;
    let uuid = "cat /var/lib/fleet/config/uuid";
    let made = device.run(uuid)?.text();
    device
        .run(&format!("grep -c {made} /boot/config.json"))?
        .says("1")?;
    device.run(&seen("second"))?.succeeds()?;
    device.run(uuid)?.says(&made)?;
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
