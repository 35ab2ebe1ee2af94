//! The VPN of `os.vpn.*` by OpenVPN: a real server in the world around the device, and what becomes of the level when it
//! misbehaves.

use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use testbed::{Device, Reference, Tier};

/// The published file, as one line: level, reason, status, and what was repaired for it: nothing where OpenVPN tries again by
/// itself.
const VERDICT: &str =
    "jq -r '[.level, .reason, .status, .repair.steps[].step] | join(\" \")' /run/fleet/connectivity.json";
const EXPLANATION: &str = "jq -r .explanation /run/fleet/connectivity.json";
/// Every VPN: its name, state, reason, explanation.
const VPNS: &str = "jq -r '[.vpns[] | [.name, .state, .reason, .explanation] | join(\" \")] | join(\"; \")' \
                    /run/fleet/connectivity.json";
/// OpenVPN notices a silent server after a minute, and tries again after a pause.
const PATIENCE: Duration = Duration::from_secs(150);
const UP: &str = "vpn none online";
const PASSWORD: &str = "s3cr3t-password";

/// An authority, what it issued, and a server; everything is on this machine, and removed with it.
struct Server {
    folder: PathBuf,
    root: PathBuf,
    _reference: Reference,
}

impl Server {
    fn new(name: &str) -> Result<Self> {
        let reference = Reference::locate()?;
        let folder = std::env::temp_dir().join(format!("fleet-vpn-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let server = Self {
            folder,
            root: reference.root(),
            _reference: reference,
        };
        server.authority("ca")?;
        server.issue("ca", "server", "serverAuth", "-days 30")?;
        server.issue("ca", "device", "clientAuth", "-days 30")?;
        // Who comes with another name or password is refused.
        let check = format!("#!/bin/sh\n[ \"$(cat \"$1\")\" = \"me\n{PASSWORD}\" ]\n");
        std::fs::write(server.folder.join("check"), check)?;
        server.shell("chmod 755 check")?;
        Ok(server)
    }

    fn shell(&self, command: &str) -> Result<()> {
        let output = Command::new("sh")
            .args(["-ec", command])
            .current_dir(&self.folder)
            .output()?;
        ensure!(
            output.status.success(),
            "{command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    fn authority(&self, name: &str) -> Result<()> {
        self.shell(&format!(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN={name} \
             -keyout {name}.key -out {name}.crt"
        ))
    }

    /// A certificate `name.crt` of this authority, with the key `name.key`.
    fn issue(&self, authority: &str, name: &str, usage: &str, valid: &str) -> Result<()> {
        self.shell(&format!(
            "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr
             printf 'keyUsage=digitalSignature\\nextendedKeyUsage={usage}\\n' > {name}.ext
             openssl x509 -req -in {name}.csr -CA {authority}.crt -CAkey {authority}.key -CAcreateserial {valid} -extfile {name}.ext \
               -out {name}.crt"
        ))
    }

    fn read(&self, name: &str) -> Result<String> {
        std::fs::read_to_string(self.folder.join(name)).with_context(|| name.to_owned())
    }

    /// What a device is told of this server.
    fn client(&self, authority: &str, device: &str, more: &str) -> Result<String> {
        Ok(format!(
            "client\ndev tun\nproto udp\nremote 172.31.77.1 1194\n{more}<ca>\n{}</ca>\n<cert>\n{}</cert>\n<key>\n{}</key>\n",
            self.read(&format!("{authority}.crt"))?,
            self.read(&format!("{device}.crt"))?,
            self.read(&format!("{device}.key"))?,
        ))
    }

    /// Starts it with the certificate `name`, in the world; the image's OpenVPN.
    fn start(&self, device: &Device, name: &str, more: &str) -> Result<()> {
        let (root, folder) = (self.root.display(), self.folder.display());
        let options = format!(
            "--mode server --tls-server --dev tun --dev-type tun --topology subnet --proto udp --port 1194 --local 172.31.77.1 \
             --ifconfig 10.77.0.1 255.255.255.0 --ifconfig-pool 10.77.0.10 10.77.0.20 --push 'topology subnet' \
             --push 'route-gateway 10.77.0.1' --keepalive 5 20 --duplicate-cn --dh none --ca /tmp/c/ca.crt --cert /tmp/c/{name}.crt \
             --key /tmp/c/{name}.key --disable-dco --verb 3 --script-security 2 {more}"
        );
        let inside = format!(
            "exec unshare --mount --propagation private sh -c \"mount -t tmpfs none {root}/tmp && mkdir {root}/tmp/c && \
             mount --bind {folder} {root}/tmp/c && mount --bind /dev {root}/dev && mount --bind /proc {root}/proc && \
             exec chroot {root} /usr/sbin/openvpn {options}\""
        );
        let script = self.folder.join("start");
        std::fs::write(&script, inside)?;
        let log = self.folder.join("log");
        std::fs::write(&log, "")?;
        device
            .world()
            .run(&format!(
                "setsid sh {} </dev/null >>{} 2>&1 & echo $! > {}",
                script.display(),
                log.display(),
                self.folder.join("pid").display()
            ))?
            .succeeds()?;
        let deadline = Instant::now() + Duration::from_secs(20);
        while !std::fs::read_to_string(&log)?.contains("Initialization Sequence Completed") {
            if Instant::now() > deadline {
                bail!("the server does not listen: {}", std::fs::read_to_string(&log)?);
            }
            sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Ends it at once, without a word to its clients.
    fn kill(&self, device: &Device) -> Result<()> {
        self.signal(device, "KILL")?;
        let pid = self.folder.join("pid");
        let gone = format!(
            "while kill -0 $(cat {}) 2>/dev/null; do sleep 0.1; done",
            pid.display()
        );
        device.world().run(&gone)?.succeeds()?;
        Ok(())
    }

    fn signal(&self, device: &Device, signal: &str) -> Result<()> {
        let pid = self.folder.join("pid");
        device
            .world()
            .run(&format!("kill -{signal} $(cat {})", pid.display()))?
            .succeeds()?;
        Ok(())
    }

    /// The seconds between refused logins.
    fn pauses(&self) -> Vec<u32> {
        // 2026-11-26 09:05:26 172.31.77.23:42037 TLS Auth Error: …
        let second = |line: &str| {
            let mut parts = line.split(' ').nth(1)?.split(':').map(str::parse::<u32>);
            let mut next = || parts.next()?.ok();
            Some(next()? * 3600 + next()? * 60 + next()?)
        };
        let log = self.log();
        let refused: Vec<u32> = log
            .lines()
            .filter(|line| line.contains("TLS Auth Error"))
            .filter_map(second)
            .collect();
        refused
            .windows(2)
            .map(|two| two[1].saturating_sub(two[0]))
            .collect()
    }

    fn log(&self) -> String {
        self.read("log").unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A config.json with this VPN.
fn config(openvpn: &str, more: &str) -> String {
    let openvpn = openvpn.replace('\n', "\\n");
    format!(
        r#"{{"hostname": "tunnelled", "os": {{"network": {{"connectivity": {{"uri": "http://check.example/", "response": ""}}}},
        "vpn": {{"type": "openvpn", "openvpn": {{"config": "{openvpn}"{more}}}}}}}}}"#
    )
}

/// Gives the device another configuration.
fn give(device: &mut Device, text: &str) -> Result<()> {
    let path = device.own_run().directory().join("boot/config.new");
    std::fs::write(&path, text)?;
    device
        .run("chown 560:560 /boot/config.new && mv /boot/config.new /boot/config.json")?
        .succeeds()?;
    Ok(())
}

/// Waits for a verdict; what OpenVPN and the server said goes with a failure.
fn soon(device: &mut Device, server: &Server, verdict: &str) -> Result<()> {
    if let Err(error) = device.soon(PATIENCE, VERDICT, verdict) {
        let said = device
            .run("journalctl -u openvpn-client@fleet -u fleet-watch -u fleet-config --no-pager -n 60; fleet config show")?
            .text();
        return Err(error).context(format!("{said}\nthe server:\n{}", server.log()));
    }
    Ok(())
}

/// Waits until the tunnel is called silent, which it is until OpenVPN begins anew, for the `time`th time.
fn is_silent(device: &mut Device, time: u32) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = String::new();
    while !seen.contains("vpn-silent") {
        ensure!(Instant::now() < deadline, "never silent: {seen}");
        seen.push_str(&device.run(VERDICT)?.text());
        sleep(Duration::from_millis(200));
    }
    device
        .run("journalctl MESSAGE_ID=c29560301a024f1e8501428f8f5f1713 -o cat | grep -c 'vpn-silent'")?
        .says(&time.to_string())?;
    Ok(())
}

#[test]
fn a_tunnel_is_honestly_reported() -> Result<()> {
    let server = Server::new("honest")?;
    let mut device = Device::boot(Tier::Nspawn)
        .config_text(config(&server.client("ca", "device", "")?, ""))
        .start()?;
    // Nobody there.
    soon(&mut device, &server, "internet vpn-unreachable heartbeat-only")?;
    device.run(EXPLANATION)?.mentions("does not answer")?;
    device
        .run(VPNS)?
        .mentions("fleet-vpn down vpn-unreachable the VPN fleet-vpn is down: its server does not answer")?;
    device.run("systemctl is-system-running")?.says("running")?;

    server.start(&device, "server", "")?;
    soon(&mut device, &server, UP)?;
    device.run("ping -c 1 -W 5 10.77.0.1")?.succeeds()?;
    device
        .run(VPNS)?
        .says("fleet-vpn up none the VPN fleet-vpn is up")?;
    device
        .run("fleet connectivity")?
        .mentions("  fleet-vpn: up for ")?;
    least_privilege(&mut device)?;

    // Killed: never a stale up, and it comes back by itself.
    let killed = device
        .run(&format!(
            "kill -9 $(systemctl show -P MainPID openvpn-client@fleet); for n in 1 2 3 4 5 6 7 8 9 10; do {VERDICT}; sleep 0.1; done"
        ))?
        .text();
    ensure!(
        killed
            .lines()
            .last()
            .is_some_and(|last| last.starts_with("internet vpn-")),
        "{killed}"
    );
    soon(&mut device, &server, UP)?;
    // The same for a watcher that begins when the tunnel is up already.
    device.run("systemctl restart fleet-watch")?.succeeds()?;
    soon(&mut device, &server, UP)?;

    // The server is stuck, and nothing comes in any more.
    server.signal(&device, "STOP")?;
    is_silent(&mut device, 1)?;
    server.signal(&device, "CONT")?;
    soon(&mut device, &server, UP)?;

    // It is well, and what is between drops everything.
    let drop = "-p udp -m multiport --ports 1194 -j DROP";
    device
        .world()
        .run(&format!("iptables -I INPUT {drop} && iptables -I OUTPUT {drop}"))?
        .succeeds()?;
    is_silent(&mut device, 2)?;
    device
        .world()
        .run(&format!("iptables -D INPUT {drop} && iptables -D OUTPUT {drop}"))?
        .succeeds()?;
    soon(&mut device, &server, UP)?;

    // The server is gone.
    server.kill(&device)?;
    soon(&mut device, &server, "internet vpn-unreachable heartbeat-only")?;
    server.start(&device, "server", "")?;
    soon(&mut device, &server, UP)?;

    // No VPN any more: nothing of it is left.
    device.run("fleet config unset os.vpn.type")?.succeeds()?;
    soon(&mut device, &server, "internet none online")?;
    device
        .run("systemctl is-active openvpn-client@fleet; ls /run/fleet/config/vpn /run/credentials/openvpn-client@fleet.service 2>/dev/null; ip link show fleet-vpn 2>/dev/null; true")?
        .says("inactive\n/run/fleet/config/vpn:")?;
    server.kill(&device)
}

/// A name with two addresses, of which the IPv6 one leads nowhere: the image has IPv4 tried first, and where a product has
/// it the other way, OpenVPN is made to go on to the next.
#[test]
fn a_broken_ipv6_on_the_way_to_the_server_costs_no_minutes() -> Result<()> {
    const TRIED: &str =
        "journalctl -b -u openvpn-client@fleet -o cat --no-pager | grep -c 'UDPv6 link remote: .*fd00:99::1'";
    let server = Server::new("broken6")?;
    let client = server.client("ca", "device", "")?;
    let by_name = client.replace("remote 172.31.77.1", "remote server.example");
    let mut device = Device::boot(Tier::Nspawn)
        .config_text(config(&client, "").replace("\"type\": \"openvpn\", ", ""))
        .start()?;
    soon(&mut device, &server, "internet none online")?;
    device
        .run(
            "nmcli device modify eth0 ipv6.method manual ipv6.addresses fd00:77::2/64 ipv6.gateway fd00:77::1
             { cat /etc/hosts; echo fd00:99::1 server.example; echo 172.31.77.1 server.example; } >/run/hosts
             mount --bind /run/hosts /etc/hosts",
        )?
        .succeeds()?;
    const FIRST: &str = "getent ahosts server.example | head -n 1 | cut -d' ' -f1";
    device.run("mount --bind /dev/null /etc/gai.conf")?.succeeds()?;
    // Once the address is no longer tentative.
    device.soon(PATIENCE, FIRST, "fd00:99::1")?;
    device
        .run(&format!("umount /etc/gai.conf; {FIRST}"))?
        .says("172.31.77.1")?;
    device.run("mount --bind /dev/null /etc/gai.conf")?.succeeds()?;
    server.start(&device, "server", "")?;
    give(&mut device, &config(&by_name, ""))?;
    // OpenVPN by itself gives each address two minutes.
    device.soon(Duration::from_secs(60), VERDICT, UP)?;
    let tried: u32 = device.run(TRIED)?.text().parse()?;
    ensure!(tried > 0, "IPv6 was not tried: nothing is shown");
    server.kill(&device)
}

/// Who OpenVPN is, and what it can.
fn least_privilege(device: &mut Device) -> Result<()> {
    let pid = "$(systemctl show -P MainPID openvpn-client@fleet)";
    device
        .run(&format!("stat -c %U /proc/{pid}"))?
        .says("fleet-vpn")?;
    // CAP_NET_ADMIN is bit 12.
    device
        .run(&format!(
            "sed -n 's/^Cap\\(Eff\\|Bnd\\):\\t//p' /proc/{pid}/status"
        ))?
        .says("0000000000001000\n0000000000001000")?;
    device
        .run("stat -c '%a %U %G' /run/fleet/config/vpn/openvpn.conf /run/fleet/config/vpn/login /run/fleet/vpn")?
        .says("600 fleet-config fleet-config\n600 fleet-config fleet-config\n750 fleet-vpn fleet-watch")?;
    // The management socket is fleet-watch's.
    device
        .run("setpriv --reuid=fleet-config --regid=fleet-config --clear-groups ls /run/fleet/vpn")?
        .fails()?;
    Ok(())
}

#[test]
fn credentials_are_judged_by_who_refuses_them_and_shown_to_nobody() -> Result<()> {
    let server = Server::new("login")?;
    server.authority("stranger")?;
    server.issue("stranger", "impostor", "serverAuth", "-days 30")?;
    server.issue("ca", "expired", "serverAuth", "-days -1")?;
    server.issue("ca", "device-expired", "clientAuth", "-days -1")?;
    server.issue("stranger", "device-stranger", "clientAuth", "-days 30")?;
    let login = |password: &str| format!(r#", "username": "me", "password": "{password}""#);
    let check = "--auth-user-pass-verify /tmp/c/check via-file";
    let asking = server.client("ca", "device", "auth-user-pass\n")?;
    let patient = server.client("ca", "device", "auth-user-pass\nconnect-retry 1\n")?;

    // Without name and password it is not begun.
    let mut device = Device::boot(Tier::Nspawn)
        .config_text(config(&asking, ""))
        .start()?;
    server.start(&device, "server", check)?;
    let row = "fleet config show --json | jq -r '.keys[] | select(.key == \"os.vpn.openvpn.config\") | .state + \" \" + .detail'";
    device
        .run(row)?
        .mentions("refused the configuration says auth-user-pass")?;

    give(&mut device, &config(&asking, &login("s3cr3t-wrong")))?;
    soon(&mut device, &server, "internet vpn-auth-failed heartbeat-only")?;
    // It is tried again, and ever less often.
    give(&mut device, &config(&patient, &login("s3cr3t-wrong")))?;
    let deadline = Instant::now() + PATIENCE;
    while server.pauses().last().is_none_or(|last| *last < 8) {
        ensure!(
            Instant::now() < deadline,
            "tried again after {:?} s",
            server.pauses()
        );
        sleep(Duration::from_secs(1));
    }
    give(&mut device, &config(&asking, &login(PASSWORD)))?;
    soon(&mut device, &server, UP)?;
    not_shown(&mut device, &server)?;
    server.kill(&device)?;

    for (name, authority, own, side) in [
        ("impostor", "ca", "device", "the server's certificate"),
        ("expired", "ca", "device", "the server's certificate"),
        ("server", "ca", "device-expired", "the device's certificate"),
        (
            "server",
            "ca",
            "device-stranger",
            "check the certificates and the keys of both sides",
        ),
    ] {
        server.start(&device, name, "")?;
        give(&mut device, &config(&server.client(authority, own, "")?, ""))?;
        // Between the two is nothing, because the reason would be the same.
        let said = format!("{EXPLANATION} | grep -c \"{side}\"");
        if let Err(error) = device.soon(PATIENCE, &said, "1") {
            let log = device
                .run("journalctl -u openvpn-client@fleet --no-pager -n 60")?
                .text();
            return Err(error).context(format!("{name} {own}: {log}\n{}", server.log()));
        }
        device
            .run(VERDICT)?
            .says("internet vpn-certificate heartbeat-only")?;
        server.kill(&device)?;
    }
    Ok(())
}

/// Neither password nor key is anywhere but in the files of their owners.
fn not_shown(device: &mut Device, server: &Server) -> Result<()> {
    let key: String = server
        .read("device.key")?
        .lines()
        .nth(1)
        .context("no key")?
        .to_owned();
    for secret in [PASSWORD, "s3cr3t-wrong", key.as_str()] {
        // In a file, so that the search itself shows it to nobody.
        device
            .run(&format!("printf '%s\\n' '{secret}' >/tmp/secret"))?
            .succeeds()?;
        if secret != "s3cr3t-wrong" {
            // A search that finds nothing anywhere would prove nothing.
            device
                .run(
                    "grep -Fqs -f /tmp/secret /run/fleet/config/vpn/openvpn.conf /run/fleet/config/vpn/login",
                )?
                .succeeds()?;
        }
        for search in [
            "journalctl --no-pager -o export | grep -F -c -f /tmp/secret",
            "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -F -c -f /tmp/secret",
            "for name in Config1 Connectivity1; do busctl call org.fleetos.$name /org/fleetos/$name \
             org.freedesktop.DBus.Properties GetAll s org.fleetos.$name; done | grep -F -c -f /tmp/secret",
            "systemctl show openvpn-client@fleet fleet-watch fleet-config | grep -F -c -f /tmp/secret",
            "grep -rFl -f /tmp/secret /run --exclude-dir=credentials 2>/dev/null | grep -v -c '^/run/fleet/config/vpn/'",
        ] {
            device
                .run(&format!("{search}; true"))?
                .says("0")
                .with_context(|| search.to_owned())?;
        }
    }
    let modes = "find /run/credentials/openvpn-client@fleet.service -type f -exec stat -c %a {} +";
    device
        .run(modes)?
        .says("440\n440")
        .or_else(|_| device.run(modes)?.says("400\n400"))?;
    Ok(())
}

/// What the report says of a key: state and detail.
fn row(key: &str) -> String {
    format!(
        "fleet config show --json | jq -r '.keys[] | select(.key == \"{key}\") | .state + \" \" + .detail'"
    )
}

const CONFIG: &str = "os.vpn.openvpn.config";

#[test]
fn a_vpn_that_does_not_come_up_is_taken_back() -> Result<()> {
    let server = Server::new("trial")?;
    let good = config(&server.client("ca", "device", "")?, "");
    let bad = |port: u16| good.replace("remote 172.31.77.1 1194", &format!("remote 172.31.77.1 {port}"));
    let ports = "grep -o '^remote .*' /run/fleet/config/vpn/openvpn.conf";
    let mut device = Device::boot(Tier::Nspawn).config_text(good.clone()).start()?;
    server.start(&device, "server", "")?;
    soon(&mut device, &server, UP)?;

    give(&mut device, &bad(4444))?;
    soon(&mut device, &server, "internet vpn-unreachable heartbeat-only")?;
    device.run(ports)?.says("remote 172.31.77.1 4444")?;
    device.run(&row(CONFIG))?.mentions("applied on trial")?;
    device
        .run("stat -c '%a %U' /var/lib/fleet/config/vpn-trial")?
        .says("600 fleet-config")?;
    // The power goes away in the middle of it.
    device.cut()?;
    device.run(ports)?.says("remote 172.31.77.1 4444")?;
    let trial = Duration::from_secs(150) + PATIENCE;
    device.soon(trial, ports, "remote 172.31.77.1 1194")?;
    soon(&mut device, &server, UP)?;
    device
        .run(&row(CONFIG))?
        .mentions("refused tried, and taken back")?;
    device.run(&row(CONFIG))?.mentions("its server does not answer")?;
    // It stays so over a reboot.
    device.reboot()?;
    soon(&mut device, &server, UP)?;
    device
        .run(&row(CONFIG))?
        .mentions("refused tried, and taken back")?;

    // What worked, asked for again, is nothing to try.
    give(&mut device, &good)?;
    device.soon(PATIENCE, &row(CONFIG), "applied")?;
    device.run("ls /var/lib/fleet/config/vpn-trial")?.fails()?;
    // Nothing of a key is anywhere that others read.
    device
        .run("fleet config show | grep -c PRIVATE; true")?
        .says("0")?;
    server.kill(&device)
}

/// It takes five and a half minutes until silence is no pause any more.
#[cfg(feature = "long")]
#[test]
fn an_openvpn_that_hangs_is_restarted_and_one_that_was_stopped_is_not() -> Result<()> {
    let server = Server::new("hang")?;
    let text = config(&server.client("ca", "device", "")?, "");
    let text = text.replacen(r#""network": {"#, r#""network": {"repair": {"after": 10}, "#, 1);
    let mut device = Device::boot(Tier::Nspawn).config_text(text).start()?;
    server.start(&device, "server", "")?;
    soon(&mut device, &server, UP)?;
    let steps = "jq -r '[.repair.steps[] | [.step, .subject, .reason, .outcome] | join(\" \")] | join(\"; \")' \
                 /run/fleet/connectivity.json";
    let pid = device
        .run("systemctl show -P MainPID openvpn-client@fleet")?
        .text();
    device
        .run("systemctl kill --signal=STOP openvpn-client@fleet")?
        .succeeds()?;
    // It tells its bytes every five minutes.
    let restarted = "restart-vpn fleet-vpn vpn-silent repaired";
    device.soon(Duration::from_secs(360) + PATIENCE, steps, restarted)?;
    soon(&mut device, &server, &format!("{UP} restart-vpn"))?;
    let other = device
        .run("systemctl show -P MainPID openvpn-client@fleet")?
        .text();
    ensure!(pid != other, "it is the same as before: {pid}");

    // Somebody stops it: that is said, and not undone.
    device.run("systemctl stop openvpn-client@fleet")?.succeeds()?;
    device.soon(
        PATIENCE,
        steps,
        &format!("{restarted}; restart-vpn fleet-vpn vpn-down failed"),
    )?;
    device
        .run("fleet connectivity")?
        .mentions("somebody has stopped OpenVPN")?;
    device
        .run("systemctl is-active openvpn-client@fleet || true")?
        .says("inactive")?;
    server.kill(&device)
}
