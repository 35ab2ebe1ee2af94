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
