//! The journal as one file for another machine: every entry of it, and no secret.

use std::time::Duration;

use anyhow::{Result, ensure};
use testbed::{Device, Tier};

/// A secret a key, one that was changed since, and one that is too short for anything but a word.
const CONFIG: &str = r#"{
  "hostname": "exporter",
  "apiKey": "s3cr3t-first",
  "deviceApiKey": "s3cr3t-\"quoted\" ü",
  "app": {"password": "4711", "psk": "ab"},
  "os": {"network": {"profiles": {"office": "[connection]\nid=office\ntype=wifi\n[wifi-security]\npsk=s3cr3t-profile\n"}}}
}
"#;

const KEYFILE: &str = "[connection]\nid=cafe\ntype=wifi\n\n[wifi]\nssid=cafe\n\n[wifi-security]\nkey-mgmt=wpa-psk\npsk=s3cr3t-keyfile\n";

/// What of the secrets may be in no export, in whatever form it was logged.
const FORMS: [&str; 8] = [
    "s3cr3t-first",
    "s3cr3t-second",
    r#"s3cr3t-"quoted""#,
    r#"s3cr3t-\"quoted\""#,
    "s3cr3t-%22quoted",
    "M2NyM3Qtc2Vjb25k",
    "s3cr3t-profile",
    "s3cr3t-keyfile",
];

/// Logs each of them, and says the time.
const LOG: &str = r#"
logger 'the key is s3cr3t-first'
logger -t web 'GET /?key=s3cr3t-second&x=1'
logger 'raw s3cr3t-"quoted" ü'
logger '{"deviceApiKey":"s3cr3t-\"quoted\" ü"}'
logger 'https://a/?k=s3cr3t-%22quoted%22%20%C3%BC'
logger 'Authorization: Basic dTpzM2NyM3Qtc2Vjb25k'
printf 'psk=s3cr3t-profile\npsk=s3cr3t-keyfile\n' | systemd-cat -t wpa
logger "$(printf 'binary \033 s3cr3t-second \377')"
printf 'MESSAGE=long %0800d s3cr3t-second\nOTHER_FIELD=s3cr3t-keyfile\n' 0 | logger --journald
systemd-run --quiet --wait sh -c 'echo of an argument # s3cr3t-first'
logger 'pin 4711, and no pin: 14711'
logger 'café, ab, and nothing else'
journalctl --sync
date '+%F %T.%6N'
"#;

fn device(test: &str) -> Result<Device> {
    let folder = std::env::temp_dir().join(format!("fleet-export-{test}-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("system-connections"))?;
    std::fs::write(folder.join("system-connections/cafe"), KEYFILE)?;
    let started = Device::boot(Tier::Nspawn)
        .config_text(CONFIG)
        .boot_folder(&folder)
        .start();
    std::fs::remove_dir_all(&folder)?;
    started
}

/// How often a text is in the bytes of a file, and in what journalctl makes of it.
fn found(device: &mut Device, text: &str, journal: &str) -> Result<String> {
    Ok(device
        .run(&format!(
            "{{ cat {journal}; journalctl --file {journal} --output=export --all; }} | grep -acF '{text}'; true"
        ))?
        .text())
}

#[test]
fn has_every_entry_and_no_secret() -> Result<()> {
    let mut device = device("entries")?;
    device
        .run("printf s3cr3t-second | fleet config set apiKey -")?
        .succeeds()?;
    let until = device.run(LOG)?.succeeds()?.text();
    let selection = format!("--until '{until}'");
    // The search is not blind: the device's own journal has all of it.
    for form in FORMS {
        let in_journal = format!("journalctl --output=export --all | grep -acF '{form}'");
        ensure!(device.run(&in_journal)?.text() != "0", "{form} was not logged");
    }
    let entries = device
        .run(&format!("journalctl {selection} --output=json | wc -l"))?
        .text();

    device
        .run(&format!(
            "cd /data && fleet journal export {selection} --output a.journal.zst --json"
        ))?
        .succeeds()?
        .mentions(&format!("\"entries\": {entries},"))?
        .mentions("\"path\": \"a.journal.zst\"")?
        .mentions("\"secrets_too_short\": 1")?;
    device
        .run("stat -c %a:%U /data/a.journal.zst")?
        .says("600:root")?;
    device
        .run(
            "cd /data && zstd --quiet -d a.journal.zst && journalctl --file a.journal --output=json | wc -l",
        )?
        .says(&entries)?;
    // At once as journalctl reads it, and to another machine.
    device
        .run(&format!(
            "fleet journal export {selection} --output /data/b.journal"
        ))?
        .succeeds()?
        .complains("Read it with: journalctl --file /data/b.journal")?;
    device
        .run(&format!(
            "fleet journal export {selection} --output - | zstd --quiet -d > /data/c.journal"
        ))?
        .succeeds()?;
    for journal in ["/data/a.journal", "/data/b.journal", "/data/c.journal"] {
        device
            .run(&format!("journalctl --file {journal} --output=json | wc -l"))?
            .says(&entries)?;
        for form in FORMS {
            let count = found(&mut device, form, journal)?;
            ensure!(count == "0", "{journal} tells {form}, {count} times");
        }
        let read = |pattern: &str| format!("journalctl --file {journal} --output=cat | grep -F '{pattern}'");
        device
            .run(&read("pin "))?
            .says("pin [redacted], and no pin: 14711")?;
        device.run(&read("café"))?.says("café, ab, and nothing else")?;
        device.run(&read("the key is"))?.says("the key is [redacted]")?;
        device
            .run(&read("{\"deviceApiKey"))?
            .says("{\"deviceApiKey\":\"[redacted]\"}")?;
        device
            .run(&format!(
                "journalctl --file {journal} --output=export --all | grep -acF 'OTHER_FIELD=[redacted]'"
            ))?
            .says("1")?;
    }
    // Times, boots and what journald knows of a sender are the same.
    for fields in [
        "--output-fields=_BOOT_ID,_PID,_UID,PRIORITY,SYSLOG_IDENTIFIER --output=json",
        "--output=short-iso-precise --identifier=web",
    ] {
        // The cursor is the file's own.
        let digest = |source: &str| {
            format!(
                "journalctl {source} {fields} | sed 's/\"__CURSOR[^,]*,//; s/\"__SEQNUM[^,}}]*//g; s/GET.*//' | jq -S . 2>/dev/null | sha256sum"
            )
        };
        let original = device.run(&digest(&selection))?.text();
        device.run(&digest("--file /data/a.journal"))?.says(&original)?;
    }

    device
        .run(&format!(
            "fleet journal export {selection} --no-redact --output /data/d.journal"
        ))?
        .succeeds()?
        .complains("secrets are not redacted")?;
    ensure!(found(&mut device, "s3cr3t-second", "/data/d.journal")? != "0");
    left_nothing(&mut device)
}

/// No temporary file remains.
fn left_nothing(device: &mut Device) -> Result<()> {
    device
        .run("ls -d /run/fleet/.fleet-export-* /data/.fleet-export-* 2>/dev/null; true")?
        .says("")?;
    Ok(())
}

#[test]
fn of_a_time_and_of_a_boot() -> Result<()> {
    let mut device = device("boots")?;
    device
        .run("fleet config set persistentLogging true; logger of the first boot")?
        .succeeds()?;
    let first = device.run("tr -d - < /proc/sys/kernel/random/boot_id")?.text();
    device.reboot()?;
    device.run("logger of the second boot")?.succeeds()?;
    let entries = device.run("journalctl --boot -1 --output=json | wc -l")?.text();
    device
        .run("fleet journal export --boot -1 --output /data/first.journal.zst --json")?
        .succeeds()?
        .mentions(&format!("\"entries\": {entries},"))?;
    device
        .run("cd /data; zstd --quiet -d first.journal.zst; journalctl --file first.journal --output=json | jq -r ._BOOT_ID | sort -u")?
        .says(&first)?;
    device
        .run("journalctl --file /data/first.journal --output=cat | grep -e 'of the .* boot'")?
        .says("of the first boot")?;
    device
        .run("cd /data && fleet journal export --boot -7")?
        .exits(65)?
        .complains("journalctl: ")?;

    let since = device.run("sleep 1; date '+%F %T.%6N'")?.text();
    device.run("logger since then; journalctl --sync")?.succeeds()?;
    device
        .run(&format!(
            "fleet journal export --since '{since}' --output /data/since.journal"
        ))?
        .succeeds()?;
    device
        .run("journalctl --file /data/since.journal --output=cat | grep -c 'since then'")?
        .says("1")?;
    device
        .run("journalctl --file /data/since.journal --output=cat | grep -c 'second boot'; true")?
        .says("0")?;
    Ok(())
}

#[test]
fn says_what_is_wrong() -> Result<()> {
    let mut device = device("wrong")?;
    let export = |options: &str| format!("cd /data && fleet journal export {options}");
    device
        .run(&export("--since yesteryear"))?
        .exits(65)?
        .complains("journalctl: Failed to parse timestamp: yesteryear")?;
    // Without a persistent journal there is one boot.
    device
        .run(&export("--boot -7"))?
        .exits(66)?
        .complains("no persistent journal was found")?;
    device
        .run(&export("--boot seven"))?
        .exits(65)?
        .complains("seven")?;
    device
        .run(&export("--since 2099-01-01"))?
        .exits(66)?
        .complains("no entries")?;
    device.run(&export("--output a.txt"))?.exits(2)?;
    device.run(&export("--output - --json"))?.exits(2)?;
    device.run(&export("--output /data/none/a.journal"))?.exits(73)?;
    device
        .run("cd / && fleet journal export")?
        .exits(73)?
        .complains("--output -")?;
    device
        .run("fleet journal export --output - | head -c 1 >/dev/null; true")?
        .succeeds()?;
    device
        .run("fleet journal export --output - > /dev/full")?
        .exits(73)?;
    device
        .run("cd /data && runuser -u nobody -- fleet journal export")?
        .exits(77)?;

    device.run(&export("--output a.journal"))?.succeeds()?;
    let before = device.run("sha256sum < /data/a.journal")?.text();
    device
        .run(&export("--output a.journal"))?
        .exits(73)?
        .complains("--force")?;
    device.run("sha256sum < /data/a.journal")?.says(&before)?;
    device.run(&export("--output a.journal --force"))?.succeeds()?;

    let remote = "/usr/lib/systemd/systemd-journal-remote";
    device
        .run(&format!(
            "mount --bind /dev/null {remote} && cd /data && fleet journal export"
        ))?
        .exits(69)?
        .complains("systemd-journal-remote is not installed")?;
    device.run(&format!("umount {remote}"))?.succeeds()?;

    // Interrupted, and killed: nothing has the name of the file, and the next one clears up.
    device
        .run("printf '#!/bin/sh\\nexec sleep 100\\n' > /data/slow && chmod +x /data/slow && mount --bind /data/slow /usr/bin/zstd")?
        .succeeds()?;
    for (signal, status) in [("INT", 1), ("TERM", 1), ("HUP", 1), ("KILL", 137)] {
        device
            .run(&format!(
                "cd /data; fleet journal export --output x.journal.zst & export=$!; \
                 until pgrep -f '^/bin/sh /usr/bin/zstd|^sleep 100' >/dev/null; do sleep 0.05; done; \
                 kill -{signal} $export; wait $export; status=$?; pkill -x sleep; exit $status"
            ))?
            .exits(status)?;
        device
            .run("ls /data/*.zst 2>/dev/null | grep x; true")?
            .says("")?;
        if signal != "KILL" {
            left_nothing(&mut device)?;
        }
    }
    device.run("umount /usr/bin/zstd")?.succeeds()?;
    device.run(&export("--output y.journal.zst"))?.succeeds()?;
    left_nothing(&mut device)?;

    // Nobody knows what is secret: nothing leaves.
    device
        .run("systemctl stop fleet-config; for n in 0 1; do echo damaged > /var/lib/fleet/config/generation-$n; done")?
        .succeeds()?;
    device
        .run(&export("--output z.journal.zst"))?
        .exits(65)?
        .complains("--no-redact")?;
    device.run("test -e /data/z.journal.zst")?.fails()?;
    device
        .run(&export("--output z.journal.zst --no-redact"))?
        .succeeds()?;
    device.soon(
        Duration::from_secs(1),
        "test -e /data/z.journal.zst && echo there",
        "there",
    )?;
    Ok(())
}
