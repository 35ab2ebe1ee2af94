//! The journal uploaded to a real collector: systemd-journal-remote of the reference image, in the world around the
//! device.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use testbed::{Device, Reference, Tier};

const URL: &str = "http://172.31.77.1:19532";
/// A collector that was away is tried again after two seconds, then ever later.
const PATIENCE: Duration = Duration::from_secs(90);

/// The collector's folder, on this machine; removed with it.
struct Collector {
    folder: PathBuf,
    root: PathBuf,
    _reference: Reference,
}

impl Collector {
    fn new(name: &str) -> Result<Self> {
        let reference = Reference::locate()?;
        let folder = std::env::temp_dir().join(format!("fleet-collector-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self {
            folder,
            root: reference.root(),
            _reference: reference,
        })
    }

    /// A command in the image's root, with this folder as /tmp/c, in the world.
    fn inside(&self, command: &str) -> String {
        let (root, folder) = (self.root.display(), self.folder.display());
        format!(
            "exec unshare --mount --propagation private sh -c 'mount -t tmpfs none {root}/tmp && mkdir {root}/tmp/c && \
             mount --bind {folder} {root}/tmp/c && mount --bind /dev {root}/dev && exec chroot {root} {command}'"
        )
    }

    /// Starts it, and waits until it listens.
    fn start(&self, device: &Device, options: &str) -> Result<()> {
        let command = self.inside(&format!(
            "/usr/lib/systemd/systemd-journal-remote {options} --split-mode=none --output=/tmp/c/all.journal"
        ));
        let log = self.folder.join("log");
        device.world().run(&format!(
            "setsid sh -c {} </dev/null >>{} 2>&1 & echo $! > {}",
            quoted(&command),
            log.display(),
            self.folder.join("pid").display()
        ))?;
        let deadline = Instant::now() + Duration::from_secs(20);
        // 19532 is 4C4C, and 0A is LISTEN (proc_net(5)).
        while !device
            .world()
            .run("grep -c ':4C4C .* 0A ' /proc/net/tcp /proc/net/tcp6 | grep -v ':0$'")?
            .text()
            .contains(':')
        {
            if Instant::now() > deadline {
                bail!(
                    "the collector does not listen: {}",
                    std::fs::read_to_string(&log)?
                );
            }
            sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn stop(&self, device: &Device) -> Result<()> {
        let pid = self.folder.join("pid");
        device
            .world()
            .run(&format!(
                "kill $(cat {pid}); while kill -0 $(cat {pid}) 2>/dev/null; do sleep 0.1; done",
                pid = pid.display()
            ))?
            .succeeds()?;
        Ok(())
    }

    /// How often a message was collected.
    fn count(&self, device: &Device, message: &str) -> Result<usize> {
        let read = self.inside("journalctl --file /tmp/c/all.journal --output=cat --quiet");
        let text = device.world().run(&read)?.text();
        Ok(text.lines().filter(|line| *line == message).count())
    }

    /// Waits until it was collected.
    fn has(&self, device: &Device, message: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.count(device, message)? == 0 {
            ensure!(Instant::now() < deadline, "{message:?} was not collected");
            sleep(Duration::from_millis(300));
        }
        Ok(())
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// The row of a key in the report.
fn row(device: &mut Device, key: &str) -> Result<String> {
    Ok(device
        .run(&format!(
            "fleet config show --json | jq -c '.keys[] | select(.key == \"{key}\") | [.state, .detail]'"
        ))?
        .succeeds()?
        .text())
}

const KEY: &str = "os.journal.upload.url";

#[test]
fn arrives_also_after_the_collector_was_away() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    let collector = Collector::new("http")?;
    device
        .run("systemctl is-enabled systemd-journal-upload; true")?
        .says("disabled")?;
    device.run("logger logged before")?.succeeds()?;
    for bad in [
        "logs.example",
        "ftp://a",
        "http://me:word@a",
        "http://a/x?y",
        "http://a:0",
    ] {
        device
            .run(&format!("fleet config set {KEY} '{bad}'"))?
            .exits(65)?
            .complains("collector")
            .or_else(|_| {
                device
                    .run(&format!("fleet config set {KEY} '{bad}'"))?
                    .complains("address")
            })?;
    }

    // Nobody there yet: the device says so, and tries again.
    device.run(&format!("fleet config set {KEY} {URL}"))?.succeeds()?;
    let said = row(&mut device, KEY)?;
    ensure!(
        said.contains("does not take it yet")
            && said.contains("Upload to http://172.31.77.1:19532/upload failed"),
        "{said}"
    );
    device.run("fleet journal status")?.mentions("not reached")?;
    device.run("systemctl --failed --no-legend")?.says("")?;
    collector.start(&device, "--listen-http=172.31.77.1:19532")?;
    collector.has(&device, "logged before")?;
    // From the first line of this boot on.
    let first = device
        .run("journalctl --boot --output=cat --lines=all | head -1")?
        .text();
    collector.has(&device, &first)?;
    device.run("fleet config apply")?.succeeds()?;
    ensure!(
        row(&mut device, KEY)?.starts_with("[\"applied\",\"\""),
        "{}",
        row(&mut device, KEY)?
    );
    device.run("fleet journal status")?.mentions("uploaded")?;
    device.run("logger logged now")?.succeeds()?;
    collector.has(&device, "logged now")?;
    // What it does is no line of the journal that it uploads.
    device.run("sleep 5")?.succeeds()?;
    device
        .run("journalctl --unit systemd-journal-upload --since -4s --quiet | wc -l")?
        .says("0")?;

    collector.stop(&device)?;
    device.run("logger logged while it was away")?.succeeds()?;
    device.soon(
        PATIENCE,
        "systemctl show -P NRestarts systemd-journal-upload | grep -c '[2-9]'",
        "1",
    )?;
    device.run("systemctl --failed --no-legend")?.says("")?;
    collector.start(&device, "--listen-http=172.31.77.1:19532")?;
    collector.has(&device, "logged while it was away")?;
    ensure!(collector.count(&device, "logged while it was away")? == 1);
    ensure!(collector.count(&device, "logged before")? == 1);

    device.run(&format!("fleet config unset {KEY}"))?.succeeds()?;
    device
        .run("systemctl is-active systemd-journal-upload; true")?
        .says("inactive")?;
    device.run("ls /run/fleet/config/journal-upload")?.says("")?;
    device
        .run("systemctl is-active fleet-upload-cursor.timer; true")?
        .says("inactive")?;
    device.run("logger logged for nobody; sleep 3")?.succeeds()?;
    ensure!(collector.count(&device, "logged for nobody")? == 0);
    Ok(())
}

#[test]
fn goes_on_after_a_reboot_where_it_was() -> Result<()> {
    let config = format!(
        r#"{{"hostname": "uploader", "persistentLogging": true, "os": {{"journal": {{"upload": {{"url": "{URL}"}}}}}}}}"#
    );
    let mut device = Device::boot(Tier::Nspawn).config_text(config).start()?;
    let collector = Collector::new("reboot")?;
    collector.start(&device, "--listen-http=172.31.77.1:19532")?;
    device
        .run("logger logged before the reboot; logger the last one")?
        .succeeds()?;
    collector.has(&device, "the last one")?;
    device.run("sleep 1; stat -c %a:%U /run/fleet-journal-upload/state; test ! -e /var/lib/fleet/journal-upload-cursor")?.succeeds()?;
    device.reboot()?;
    device.run("logger logged after the reboot")?.succeeds()?;
    collector.has(&device, "logged after the reboot")?;
    ensure!(collector.count(&device, "logged before the reboot")? == 1);
    // systemd-journal-upload begins with the entry that it ended with.
    ensure!(collector.count(&device, "the last one")? <= 2);
    // A power cut: what was kept is older, so some comes again, and nothing is missing.
    device.run("systemctl start fleet-upload-cursor")?.succeeds()?;
    device
        .run("logger logged before the cut; journalctl --sync")?
        .succeeds()?;
    collector.has(&device, "logged before the cut")?;
    device.cut()?;
    device.run("logger logged after the cut")?.succeeds()?;
    collector.has(&device, "logged after the cut")?;
    ensure!(collector.count(&device, "logged before the reboot")? == 1);
    ensure!(collector.count(&device, "logged before the cut")? >= 1);
    device.run("systemctl --failed --no-legend")?.says("")?;
    Ok(())
}

/// A certificate authority, and of it a certificate of the collector and one of the device.
const CERTIFICATES: &str = r"
set -e
mkdir -p /data/pki && cd /data/pki
new() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout $1.key -out $1.csr -subj /CN=$1; }
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.pem -days 30 -subj /CN=ca
new collector; new device
printf 'subjectAltName=IP:172.31.77.1\n' > extensions
openssl x509 -req -in collector.csr -CA ca.pem -CAkey ca.key -days 30 -extfile extensions -out collector.pem
openssl x509 -req -in device.csr -CA ca.pem -CAkey ca.key -days 30 -out device.pem
";

#[test]
fn by_tls_with_a_certificate_of_its_own() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    let collector = Collector::new("tls")?;
    device.run(CERTIFICATES)?.succeeds()?;
    for file in ["ca.pem", "collector.pem", "collector.key"] {
        let text = device.run(&format!("cat /data/pki/{file}"))?.succeeds()?.text();
        std::fs::write(collector.folder.join(file), text + "\n")?;
    }
    collector.start(
        &device,
        "--listen-https=172.31.77.1:19532 --key=/tmp/c/collector.key --cert=/tmp/c/collector.pem",
    )?;
    let set = |key: &str, file: &str| format!("base64 -w0 /data/pki/{file} | fleet config set {key} -");
    let url = "fleet config set os.journal.upload.url https://172.31.77.1";
    // The device does not trust it yet.
    device.run(url)?.succeeds()?;
    let said = row(&mut device, KEY)?;
    ensure!(said.contains("does not take it yet"), "{said}");
    device.run(&set("balenaRootCA", "ca.pem"))?.succeeds()?;
    device
        .run(&set("os.journal.upload.certificate", "device.pem"))?
        .succeeds()?;
    let said = row(&mut device, "os.journal.upload.certificate")?;
    ensure!(said.contains("not used"), "{said}");
    device
        .run("base64 -w0 /data/pki/ca.pem | fleet config set os.journal.upload.key -")?
        .exits(65)?
        .complains("no private key")?;
    device
        .run(&set("os.journal.upload.key", "device.key"))?
        .succeeds()?;
    device.run("logger logged by tls")?.succeeds()?;
    collector.has(&device, "logged by tls")?;
    let said = row(&mut device, "os.journal.upload.key")?;
    ensure!(said.starts_with("[\"applied\",\"\""), "{said}");

    // The key: for the service alone, and told to nobody.
    device
        .run("cd /data/pki && { sed -n 2p device.key; base64 -w0 device.key; } > told && chmod 600 told device.key")?
        .succeeds()?;
    device
        .run("stat -c %a:%U /run/fleet/config/journal-upload/key")?
        .says("600:fleet-config")?;
    device
        .run("runuser -u nobody -- cat /run/credentials/systemd-journal-upload.service/key")?
        .fails()?;
    device
        .run(
            "{ fleet config show --json; fleet config get os; journalctl --output=export --all; systemctl show '*'; \
             cat /proc/[0-9]*/cmdline; } 2>/dev/null | grep -acFf /data/pki/told; true",
        )?
        .says("0")?;
    device
        .run("runuser -u nobody -- grep -rlFf /data/pki/told /run 2>/dev/null; true")?
        .says("")?;
    // An export does not tell it either, if somebody logged it.
    device
        .run("systemd-cat cat /data/pki/device.key; fleet journal export --output /data/k.journal; \
              { cat /data/k.journal; journalctl --file /data/k.journal -o export --all; } | grep -acFf /data/pki/told; true")?
        .says("0")?;

    // Debian's systemd-journal-remote asks nobody for a certificate. OpenSSL's server does, and shows who came with what.
    collector.stop(&device)?;
    device.world().run(&format!(
        "setsid sh -c {} </dev/null >{} 2>&1 & echo $! > {}",
        quoted(&collector.inside(
            // It ends with its input.
            "sh -c \"tail -f /dev/null | openssl s_server -accept 172.31.77.1:19532 -key /tmp/c/collector.key \
             -cert /tmp/c/collector.pem -CAfile /tmp/c/ca.pem -Verify 1 -verify_return_error\""
        )),
        collector.folder.join("seen").display(),
        collector.folder.join("pid").display()
    ))?;
    device
        .run("systemctl restart systemd-journal-upload; logger logged by name")?
        .succeeds()?;
    let seen = || std::fs::read_to_string(collector.folder.join("seen")).unwrap_or_default();
    let deadline = Instant::now() + PATIENCE;
    while !seen().contains("MESSAGE=logged by name") {
        ensure!(Instant::now() < deadline, "nothing came: {}", seen());
        sleep(Duration::from_millis(300));
    }
    ensure!(
        seen().contains("CN=device") || seen().contains("CN = device"),
        "{}",
        seen()
    );
    device
        .run("fleet config unset os.journal.upload.key")?
        .succeeds()?;
    let said = row(&mut device, KEY)?;
    ensure!(said.contains("does not take it yet"), "{said}");
    // A collector that takes the connection and never answers keeps nobody from stopping.
    device
        .run("base64 -w0 /data/pki/device.key | fleet config set os.journal.upload.key - && sleep 2")?
        .succeeds()?;
    device.run(&format!("fleet config unset {KEY}"))?.succeeds()?;
    device
        .run("systemctl is-active systemd-journal-upload; true")?
        .says("inactive")?;
    device.run("systemctl --failed --no-legend")?.says("")?;
    Ok(())
}
