//! Who may do what: ssh, the bus, the sandboxes, the secrets.

use std::process::Command;

use anyhow::{Result, ensure};
use testbed::{Device, Tier};

#[test]
fn ssh_takes_the_keys_of_config_json_and_nothing_else() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("fleet-ssh-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    for name in ["known", "stranger"] {
        let status = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(folder.join(name))
            .status()?;
        ensure!(status.success());
    }
    let key = std::fs::read_to_string(folder.join("known.pub"))?;
    let config = format!(
        r#"{{"os": {{"sshKeys": ["{}", "ssh-rsa not-a-key"]}}}}"#,
        key.trim()
    );
    let mut device = Device::boot(Tier::Nspawn).config_text(config).start()?;

    let address = device
        .run("nmcli -g IP4.ADDRESS device show | grep -v ^127 | head -1 | cut -d/ -f1")?
        .text();
    let ssh = |key: &str, command: &str| {
        format!(
            "ssh -p 22222 -i {} -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=no \
             -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR root@{address} '{command}'",
            folder.join(key).display()
        )
    };
    device.world().run(&ssh("known", "id -un"))?.says("root")?;
    device.world().run(&ssh("stranger", "id -un"))?.exits(255)?;
    // The keys need no service of ours.
    device.run("systemctl stop fleet-config")?.succeeds()?;
    device.world().run(&ssh("known", "id -un"))?.says("root")?;
    // Taken out of the file, a key is taken back.
    device
        .run("systemctl start fleet-config && fleet config unset os.sshKeys")?
        .succeeds()?;
    device.world().run(&ssh("known", "id -un"))?.exits(255)?;
    // No passwords are offered, and nothing listens on 22.
    device
        .run("sshd -T 2>/dev/null | grep -E '^(passwordauthentication|kbdinteractiveauthentication|port) '")?
        .mentions("passwordauthentication no")?
        .mentions("kbdinteractiveauthentication no")?;
    device.run("ss -tln | grep -E ':22 '")?.fails()?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

#[test]
fn the_bus_lets_everybody_read_and_few_call() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    let nobody = "setpriv --reuid=nobody --regid=nogroup --clear-groups";
    device.run(&format!("{nobody} fleet status"))?.succeeds()?;
    device
        .run(&format!("{nobody} fleet config set hostname mine"))?
        .exits(77)?;
    device
        .run(&format!("{nobody} fleet journal persist"))?
        .exits(77)?;
    let denied = [
        "org.fleetos.Config1 /org/fleetos/Config1 org.fleetos.Config1 Apply",
        "org.fleetos.Connectivity1 /org/fleetos/Connectivity1 org.fleetos.Connectivity1 Recheck",
        "org.fleetos.Helper1 /org/fleetos/Helper1 org.fleetos.Helper1 FlushJournal",
        "org.freedesktop.NetworkManager /org/freedesktop/NetworkManager org.freedesktop.NetworkManager Reload u 0",
        "org.freedesktop.NetworkManager /org/freedesktop/NetworkManager/Settings org.freedesktop.NetworkManager.Settings ListConnections",
    ];
    for call in denied {
        device
            .run(&format!("{nobody} busctl call {call}"))?
            .fails()?
            .complains("ccess denied")?;
    }
    device.run(&format!("{nobody} busctl get-property org.freedesktop.NetworkManager /org/freedesktop/NetworkManager org.freedesktop.NetworkManager State"))?.succeeds()?;

    // A service may use its own verbs of the helper and no others; the group fleet may call, but not the helper.
    let as_user = |user: &str| format!("setpriv --reuid={user} --regid={user} --init-groups");
    let helper = "busctl call org.fleetos.Helper1 /org/fleetos/Helper1 org.fleetos.Helper1";
    device
        .run(&format!(
            "{} {helper} SetHostname s mine",
            as_user("fleet-journal")
        ))?
        .fails()?
        .complains("only root and the service")?;
    device
        .run(&format!("{} {helper} FlushJournal", as_user("fleet-config")))?
        .fails()?
        .complains("only root and the service")?;
    device
        .run(&format!(
            "{} {helper} SetDnsFallback b true",
            as_user("fleet-config")
        ))?
        .fails()?
        .complains("only root and the service")?;
    for call in ["Repair ss reactivate eth0", "Reboot s no-device"] {
        device
            .run(&format!("{} {helper} {call}", as_user("fleet-config")))?
            .fails()?
            .complains("only root and the service")?;
    }
    // Its own verbs, within their rules.
    for (call, rule) in [
        ("Repair ss reactivate ../eth0", "not the name of an interface"),
        ("Repair ss restart ssh", "there is no step"),
        ("Reboot s no-device", "os.network.repair.reboot does not allow it"),
    ] {
        device
            .run(&format!("{} {helper} {call}", as_user("fleet-watch")))?
            .fails()?
            .complains(rule)?;
    }
    device
        .run(&format!(
            "{} {helper} SetMeteredPace b true",
            as_user("fleet-config")
        ))?
        .fails()?
        .complains("only root and the service")?;
    device
        .run(&format!(
            "{} {helper} SetOpenVpn bb true true",
            as_user("fleet-watch")
        ))?
        .fails()?
        .complains("only root and the service")?;
    device
        .run(&format!(
            "{} {helper} SetHostname s mine",
            as_user("fleet-regdomain")
        ))?
        .fails()?
        .complains("ccess denied")?;
    let member = "setpriv --reuid=nobody --regid=nogroup --groups=fleet";
    device
        .run(&format!("{member} fleet config set hostname ours && uname -n"))?
        .mentions("ours")?;
    device
        .run(&format!("{member} {helper} SetHostname s mine"))?
        .fails()?;
    Ok(())
}

#[test]
fn every_unit_of_ours_is_sandboxed() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    for unit in [
        "fleet-config",
        "fleet-watch",
        "fleet-journal",
        "fleet-journal-sync",
        "fleet-helper",
        "fleet-host-keys",
        "fleet-regdomain",
        "fleet-console-tail",
        "fleet-reboot-reason",
        "fleet-upload-cursor",
        "fleet-handshakes",
        "systemd-journal-upload",
    ] {
        device
            .run(&format!(
                "systemd-analyze security --no-pager --threshold=15 {unit}"
            ))?
            .succeeds()?;
    }
    // It talks to the internet, has a device, and changes addresses and routes.
    device
        .run("systemd-analyze security --no-pager --threshold=25 openvpn-client@fleet")?
        .succeeds()?;
    for unit in ["fleet-config", "fleet-watch"] {
        device
            .run(&format!(
                "ls /proc/$(systemctl show -P MainPID {unit})/task | wc -l"
            ))?
            .says("1")?;
        device
            .run(&format!("ps -o user= -p $(systemctl show -P MainPID {unit})"))?
            .mentions("fleet-")?;
    }
    Ok(())
}

#[test]
fn secrets_are_nowhere_to_be_read() -> Result<()> {
    let secrets = [
        "s3cret-device-key",
        "s3cret-api-key",
        "s3cret-mixpanel",
        "s3cret-psk",
    ];
    let config = r#"{"deviceApiKey": "s3cret-device-key", "apiKey": "s3cret-api-key", "mixpanelToken": "s3cret-mixpanel",
                     "hostname": "not_valid", "deviceApiKeys": {"api.example": "s3cret-api-key"}}"#;
    let folder = std::env::temp_dir().join(format!("fleet-secrets-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("system-connections"))?;
    let keyfile = "[connection]\nid=air\ntype=wifi\n[wifi]\nssid=air\n[wifi-security]\nkey-mgmt=wpa-psk\npsk=s3cret-psk\n";
    std::fs::write(folder.join("system-connections/air.nmconnection"), keyfile)?;
    let started = Device::boot(Tier::Nspawn)
        .boot_folder(&folder)
        .config_text(config)
        .start();
    std::fs::remove_dir_all(&folder)?;
    let mut device = started?;

    device
        .run("fleet config set deviceApiKey s3cret-device-key")?
        .succeeds()?;
    device
        .run("printf '{\"deviceApiKey\": \"s3cret-device-key\",}' > /boot/config.json; sleep 1")?
        .succeeds()?;
    let shown = [
        "fleet config show; fleet config show --json; fleet config get deviceApiKey; fleet config get ''; fleet status",
        "journalctl -b --no-pager -o json",
        "for name in Config1 Connectivity1 Journal1; do busctl introspect --full org.fleetos.$name /org/fleetos/$name; done",
        // What others than root and the owner can read.
        "setpriv --reuid=nobody --regid=nogroup --clear-groups sh -c 'cat /run/fleet/*/* /run/fleet/*/*/* /var/lib/fleet/*/* 2>/dev/null'",
        "cat /proc/[0-9]*/cmdline",
    ];
    for command in shown {
        let output = device.run(command)?;
        for secret in secrets {
            ensure!(
                !String::from_utf8_lossy(&output.stdout).contains(secret),
                "{secret} is shown\n{output}"
            );
            ensure!(
                !String::from_utf8_lossy(&output.stderr).contains(secret),
                "{secret} is shown\n{output}"
            );
        }
    }
    Ok(())
}
