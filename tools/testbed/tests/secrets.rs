//! No secret of a configuration gets out: not into the journal, not into what others may read, not over the bus.

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testbed::{Device, Tier};

/// What every planted secret contains. Told apart by what follows, so that a failure names the leak.
const MARK: &str = "s3cr3t-";

/// Secret keys of balenaOS, of other software, and of ours; one where a public key belongs; one in a wrong type.
const CONFIG: &str = r#"{
  "hostname": "discreet",
  "apiKey": "s3cr3t-provisioning",
  "deviceApiKey": "s3cr3t-device",
  "deviceApiKeys": {"api.example": "s3cr3t-keys"},
  "mixpanelToken": ["s3cr3t-token"],
  "app": {"adminPassword": "s3cr3t-password", "psk": 7},
  "os": {
    "sshKeys": ["-----BEGIN OPENSSH PRIVATE KEY-----\ns3cr3t-private\n-----END OPENSSH PRIVATE KEY-----"],
    "vpn": {
      "type": "openvpn",
      "openvpn": {"config": "client\ndev tun\nremote vpn.example 1194\nauth-user-pass\n<ca>\n-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n</ca>\n<cert>\n-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n</cert>\n<key>\n-----BEGIN PRIVATE KEY-----\ns3cr3t-vpn-config\n-----END PRIVATE KEY-----\n</key>\n", "username": "u", "password": "s3cr3t-vpn-password"},
      "wireguard": {"privateKey": "s3cr3t-wireguard", "peers": [{"publicKey": "x", "presharedKey": "s3cr3t-preshared"}]}
    },
    "network": {
      "profiles": {"office": "[connection]\nid=office\ntype=wifi\n[wifi-security]\npsk=s3cr3t-profile\n"},
      "connectivity": {"uri": "http://user:s3cr3t-uri@check.example/"}
    },
    "proxy": {"http": "http://user:s3cr3t-proxy@proxy.example:8080"}
  }
}
"#;

const KEYFILE: &str = "[connection]\nid=cafe\ntype=wifi\n\n[wifi]\nssid=cafe\n\n[wifi-security]\nkey-mgmt=wpa-psk\npsk=s3cr3t-keyfile\n";

#[test]
fn nothing_tells_a_secret() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("fleet-secrets-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("system-connections"))?;
    std::fs::write(folder.join("system-connections/cafe"), KEYFILE)?;
    std::fs::write(
        folder.join("system-connections/torn"),
        format!("[wifi-security\npsk={MARK}torn"),
    )?;
    let started = Device::boot(Tier::Nspawn)
        .config_text(CONFIG)
        .boot_folder(&folder)
        .start();
    std::fs::remove_dir_all(&folder)?;
    let mut device = started?;

    // What people and programs ask, also wrongly, and all that it answers.
    let mut said = String::new();
    for command in [
        "fleet status",
        "fleet status --json",
        "fleet config show",
        "fleet config show --json",
        "fleet config get apiKey",
        "fleet config get deviceApiKeys.api.example",
        "fleet config get os.vpn",
        "fleet config get os",
        "fleet config check /boot/config.json",
        "fleet config check --json /boot/config.json",
        "fleet config history --json",
        "printf s3cr3t-new | fleet config set deviceApiKey -",
        "printf '{\"a\":\"s3cr3t-object\"}' | fleet config set hostname -",
        "printf 'http://u:s3cr3t-again@x.example/' | fleet config set os.network.connectivity.uri -",
        "printf '{\"apiKey\": \"s3cr3t-broken\",}' > /boot/config.json; sleep 2; fleet status; fleet config show; cat /boot/*.txt",
        "printf '{\"apiKey\": \"s3cr3t-twice\", \"apiKey\": \"s3cr3t-thrice\"}' > /boot/config.json; sleep 2; fleet status",
        "fleet config unset deviceApiKey; fleet config history",
        "systemctl restart fleet-config; sleep 1; systemctl status --no-pager fleet-config fleet-helper",
    ] {
        let output = device.run(command)?;
        let _ = writeln!(
            said,
            "$ {}\n{}{}",
            // The question may name it; the answer may not.
            command.replace(MARK, "(planted)-"),
            output.text(),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    for name in ["Config1", "Connectivity1", "Journal1"] {
        said += &device
            .run(&format!(
                "busctl call org.fleetos.{name} /org/fleetos/{name} org.freedesktop.DBus.Properties GetAll s org.fleetos.{name}"
            ))?
            .succeeds()?
            .text();
    }
    said += &device
        .run("busctl call org.fleetos.Config1 /org/fleetos/Config1 org.fleetos.Config1 Get s ''")?
        .succeeds()?
        .text();
    said += &device
        .run("systemctl show-environment; systemctl show '*' 2>/dev/null")?
        .text();
    none(&said).context("an answer")?;
    // The commands above are the test's own, and run in the guest without a trace; what remains is the device's.
    none(
        &device
            .run("journalctl --output=json --all --no-pager")?
            .succeeds()?
            .text(),
    )
    .context("the journal")?;

    // Files: whoever is not root or the owner reads none of them. NetworkManager's own copies are for root
    // alone, what OpenVPN reads is for fleet-config alone.
    let readable = "find /run /tmp /var/tmp -xdev -type f -size -4M \
        -not -path '/run/NetworkManager/boot-connections/*' -not -path '/run/fleet/config/vpn/*' -not -path '/run/log/*' -exec grep -l s3cr3t- {} + 2>/dev/null";
    none(&device.run(readable)?.text().replace('/', MARK)).context("files in /run")?;
    device
        .run("stat -c %a:%U /run/NetworkManager/boot-connections/*cafe*")?
        .says("600:root")?;
    device
        .run("stat -c %a:%U $(grep -l s3cr3t- /run/fleet/config/vpn/*)")?
        .says("600:fleet-config\n600:fleet-config")?;
    device
        .run("runuser -u nobody -- find /var/lib/fleet /boot /data -type f -readable 2>/dev/null | xargs -r grep -l s3cr3t- 2>/dev/null; true")?
        .says("")?;
    // Arguments and environments of all processes.
    device
        .run("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -v grep | grep -c 's3cr3t-[a-z]'; true")?
        .says("0")?;
    Ok(())
}

/// Fails with the names of the secrets in a text, and where they are.
fn none(text: &str) -> Result<()> {
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(MARK)).collect();
    ensure!(lines.is_empty(), "tells secrets:\n{}", lines.join("\n"));
    Ok(())
}

/// The test above can fail: a secret that is put where it does not belong is found.
#[test]
fn a_secret_that_is_told_is_found() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    device.run("logger s3cr3t-told; sleep 1")?.succeeds()?;
    let journal = device
        .run("journalctl --output=json --all --no-pager")?
        .succeeds()?;
    ensure!(none(&journal.text()).is_err(), "the search is blind");
    device.soon(
        Duration::from_secs(1),
        "cd /run && touch x && echo s3cr3t-file > fleet-test && grep -l s3cr3t- fleet-test",
        "fleet-test",
    )?;
    Ok(())
}
