//! Certificates, udev rules and the country: from the key to what other programs see, and back.

use std::time::Duration;

use anyhow::Result;
use testbed::{Device, Tier};

const SECOND: Duration = Duration::from_secs(1);
/// State, key, value and detail of each key, a blank between them.
const SHOW: &str = "fleet config show | tr -s ' '";

/// A private authority and another, and a server's certificate of the first, below /tmp/pki.
const PKI: &str = "mkdir /tmp/pki && cd /tmp/pki && exec 2>log; \
     new='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'; \
     for name in ca other; do \
         openssl req -x509 $new -keyout $name.key -out $name.pem -days 30 -subj /O=Example/CN=$name || exit; \
     done; \
     openssl req $new -keyout server.key -out server.csr -subj /CN=localhost && \
     openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out server.pem";
/// Serves with it, from where it is.
const SERVER: &str =
    "{ openssl s_server -accept 127.0.0.1:4433 -cert server.pem -key server.key -quiet >server.log 2>&1 & }";

/// What trusts a server: a real handshake, and the two forms that programs read, each by itself.
const TRUSTS: [&str; 3] = [
    "openssl s_client -connect 127.0.0.1:4433 -verify_return_error -brief </dev/null",
    "openssl verify -no-CAfile -no-CAstore -CApath /etc/ssl/certs /tmp/pki/server.pem",
    "openssl verify -no-CApath -no-CAstore -CAfile /etc/ssl/certs/ca-certificates.crt /tmp/pki/server.pem",
];

fn set_ca(name: &str) -> String {
    format!("fleet config set balenaRootCA \"$(base64 -w0 /tmp/pki/{name})\"")
}

fn trusted(device: &mut Device, trusted: bool) -> Result<()> {
    for command in TRUSTS {
        let output = device.run(command)?;
        if trusted {
            output.succeeds()?;
        } else {
            output.fails()?;
        }
    }
    Ok(())
}

#[test]
fn an_authority_is_trusted_while_its_key_is_there() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).config_text("{}").start()?;
    device.run(&format!("{PKI} && {SERVER}"))?.succeeds()?;
    let image = "ls /etc/ssl/certs | sha256sum; sha256sum </etc/ssl/certs/ca-certificates.crt; findmnt /etc/ssl/certs; true";
    let before = device.run(image)?.text();
    trusted(&mut device, false)?;

    device.run(&set_ca("ca.pem"))?.succeeds()?;
    trusted(&mut device, true)?;
    device
        .run(SHOW)?
        .mentions("applied balenaRootCA")?
        .mentions("CN=ca, O=Example")?;
    // Those of the image stay, and units with a mount namespace of their own see the new one.
    device
        .run("grep -c BEGIN /etc/ssl/certs/ca-certificates.crt | awk '$1 > 100' | wc -l")?
        .says("1")?;
    device
        .run("ls /proc/$(systemctl show -P MainPID fleet-watch)/root/etc/ssl/certs/fleet-ca-0.pem")?
        .succeeds()?;
    device
        .run("touch /etc/ssl/certs/x")?
        .fails()?
        .complains("Read-only")?;

    // It survives a restart of the service and of the device, and nothing is mounted twice.
    device.run("systemctl restart fleet-config")?.succeeds()?;
    trusted(&mut device, true)?;
    device
        .run("findmnt --noheadings /etc/ssl/certs | wc -l")?
        .says("1")?;
    device.run("cp -r /tmp/pki /data/pki")?.succeeds()?;
    device.reboot()?;
    device
        .run("cp -r /data/pki /tmp/pki; openssl verify /tmp/pki/server.pem")?
        .succeeds()?;

    // Another in its place, in place.
    device.run(&set_ca("other.pem"))?.succeeds()?;
    device.run("openssl verify /tmp/pki/server.pem")?.fails()?;
    device.run("openssl verify /tmp/pki/other.pem")?.succeeds()?;
    device
        .run("cat /tmp/pki/ca.pem /tmp/pki/other.pem > /tmp/pki/both.pem")?
        .succeeds()?;
    device.run(&set_ca("both.pem"))?.succeeds()?;
    device
        .run("openssl verify /tmp/pki/server.pem /tmp/pki/other.pem")?
        .succeeds()?;

    device.run("fleet config unset balenaRootCA")?.succeeds()?;
    device.run("openssl verify /tmp/pki/server.pem")?.fails()?;
    device.run(image)?.says(&before)?;
    device.run("ls /run/fleet/config/ca")?.fails()?;
    device.run("systemctl --failed --no-legend")?.says("")?;
    Ok(())
}

#[test]
fn what_is_no_authority_is_refused_and_the_one_before_stays() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).config_text("{}").start()?;
    device.run(&format!("{PKI} && {SERVER}"))?.succeeds()?;
    device.run(&set_ca("ca.pem"))?.succeeds()?;

    // By a call it is not made.
    device
        .run(&set_ca("server.pem"))?
        .exits(65)?
        .complains("CN=localhost")?;
    device.run(SHOW)?.mentions("applied balenaRootCA")?;
    trusted(&mut device, true)?;

    // By an edit the rest is taken, and the one before is there over a reboot, too.
    device
        .run(
            "cp -r /tmp/pki /data/pki; printf '{\"hostname\": \"edited\", \"balenaRootCA\": \"%s\"}' \
             $(base64 -w0 /tmp/pki/server.pem) > /boot/config.json",
        )?
        .succeeds()?;
    device.soon(SECOND * 3, "uname -n", "edited")?;
    device
        .run(SHOW)?
        .mentions("refused balenaRootCA")?
        .mentions("CN=localhost")?;
    device.reboot()?;
    device
        .run(&format!("cp -r /data/pki /tmp/pki; cd /tmp/pki; {SERVER}"))?
        .succeeds()?;
    device
        .run(SHOW)?
        .mentions("refused balenaRootCA")?
        .mentions("CN=localhost")?;
    device.soon(
        SECOND * 5,
        "openssl s_client -connect 127.0.0.1:4433 </dev/null >/dev/null 2>&1; echo $?",
        "0",
    )?;
    trusted(&mut device, true)?;

    // A private key is refused before anything is done, and shown nowhere.
    let key = device.run("sed -n 2p /tmp/pki/ca.key")?.text();
    let refused = device
        .run(&set_ca("ca.key"))?
        .exits(65)?
        .complains("private key")?;
    assert!(!String::from_utf8_lossy(&refused.stderr).contains(&key));
    device
        .run(&format!("journalctl --no-pager | grep -cF '{key}'; true"))?
        .says("0")?;
    trusted(&mut device, true)?;

    // A file with a bad one costs that key only.
    device
        .run(r#"echo '{"hostname": "still", "balenaRootCA": "bm90IFBFTQ=="}' > /boot/config.json"#)?
        .succeeds()?;
    device.soon(SECOND * 2, "uname -n", "still")?;
    device.run(SHOW)?.mentions("refused balenaRootCA")?;
    trusted(&mut device, true)?;
    Ok(())
}

#[test]
fn a_container_says_what_it_has_not() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn)
        .config_text(
            r#"{"country": "de", "os": {"udevRules": {"56": "SUBSYSTEM==\"tty\", SYMLINK+=\"gps\"", "57": "RUN+=\"id\"",
               "../58": ""}}}"#,
        )
        .start()?;
    device
        .run(SHOW)?
        .mentions("unsupported os.udevRules")?
        .mentions("systemd-udevd")?
        .mentions(r#"refused os.udevRules["57"]"#)?
        .mentions(r#"refused os.udevRules["../58"]"#)?
        .mentions("applied country")?
        .mentions("no Wi-Fi device here")?;
    device.run("cat /run/fleet/config/country")?.says("DE")?;
    device
        .run("fleet config set country uk")?
        .exits(65)?
        .complains("ISO 3166-1")?;
    device.run("cat /run/fleet/config/country")?.says("DE")?;
    device.run("fleet config unset country")?.succeeds()?;
    device.run("cat /run/fleet/config/country")?.says("00")?;
    device.run("systemctl --failed --no-legend")?.says("")?;
    Ok(())
}
