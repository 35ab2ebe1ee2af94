//! A mobile modem beside the cable: ModemManager, NetworkManager and pppd of the image, on a serial port over USB. The modem
//! is the testbed's; the operator behind it is a network namespace of the guest, with a pppd of its own.

#![cfg(feature = "long")]

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use testbed::{Device, Dns, Http, Link, Modem, Switch, Tier};

/// The uplink that the level is of, and the status.
const INTERFACE: &str = "jq -r '[.interface, .status] | join(\" \")' /run/fleet/connectivity.json";
const LADDER: &str = "jq -r '[.uplinks[] | [.interface, .level, .reason] | join(\" \")] | join(\"; \")' /run/fleet/connectivity.json";
/// Of the modem, whose interface is that of its call while there is one.
const MODEM: &str = "jq -r '.uplinks[] | select(.interface != \"enp0s3\") | [.interface, .level, .reason] | join(\" \")' \
                     /run/fleet/connectivity.json";
const EXPLANATION: &str =
    "jq -r '.uplinks[] | select(.interface != \"enp0s3\") | .explanation' /run/fleet/connectivity.json";
const STEPS: &str = "jq -r '[.repair.steps[] | [.step, .subject, .reason] | join(\" \")] | join(\"; \")' /run/fleet/connectivity.json";
/// Where the kernel sends what has no better route.
const WAY: &str = "ip -json route get 198.51.100.7 | jq -r '.[].dev'";
const ROUTES: &str =
    "ip -json -4 route show default | jq -r 'sort_by(.metric)[] | [.dev, .metric] | join(\" \")'";
/// How often the operator's server was asked.
const REQUESTS: &str =
    "journalctl --boot --unit=operator-server --output=cat | grep -c 'Connection from 10.64.0.2'; true";
const TALK: &str = "journalctl -b -o short-monotonic --no-pager -u operator-server -u operator-names -u fleet-watch \
    -u NetworkManager -u fleet-helper --grep 'Connection from|uplink|connectivity|reload|policy' | tail -n 80";
const BOTH: &str = "enp0s3 internet none; ppp0 internet none";
const PATIENCE: Duration = Duration::from_secs(240);
/// After it a fault is repaired.
const AFTER: Duration = Duration::from_secs(40);

/// A serial adapter is no modem to ModemManager unless udev says so.
const CONFIG: &str = r#"{"hostname": "mast", "os": {
    "udevRules": {"modem": "ACTION!=\"remove\", SUBSYSTEM==\"tty|usb\", SUBSYSTEMS==\"usb\", ATTRS{idVendor}==\"0403\", ENV{ID_MM_DEVICE_PROCESS}=\"1\"\n"},
    "network": {
        "connectivity": {"uri": "http://check.example/", "response": ""},
        "probe": {"interval": 30}, "repair": {"after": 40}}}}"#;
const PROFILE: &str =
    "[connection]\nid=mast\nuuid=0b9d1c8e-2f0a-4a53-9d7e-6d3f5b1c7a42\ntype=gsm\n\n[gsm]\napn=internet\n";

/// The other end of the call, and an internet of its own, where every address answers.
const OPERATOR: &str = r#"set -e
    ip netns add operator
    ip -n operator link set lo up
    ip -n operator route add local default dev lo table local
    ip -n operator rule add pref 5 lookup local suppress_prefixlength 0
    ip -n operator rule add pref 10 lookup main
    ip -n operator rule add pref 20 lookup local
    ip -n operator rule del pref 0
    mkdir /run/operator
    cat >/run/operator/answer <<'END'
while read -r line && [ ${#line} -gt 1 ]; do :; done
printf 'HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n'
END
    systemd-run --quiet --unit=operator-line -p Restart=always -p RestartSec=1 -p StartLimitIntervalSec=0 \
        ip netns exec operator sh -c 'exec pppd notty nodetach local noauth silent nocrtscts noipv6 10.64.0.1:10.64.0.2 \
        ms-dns 10.64.0.1 lcp-echo-interval 5 lcp-echo-failure 4 <>/dev/virtio-ports/operator >&0'
    systemd-run --quiet --unit=operator-names ip netns exec operator dnsmasq --keep-in-foreground --conf-file=/dev/null \
        --no-resolv --no-hosts --address=/#/10.64.0.1
    systemd-run --quiet --unit=operator-server ip netns exec operator systemd-socket-activate --accept --inetd --listen=80 \
        sh /run/operator/answer"#;
const SERVER: &str = "systemd-run --quiet --unit=operator-server ip netns exec operator systemd-socket-activate --accept --inetd \
    --listen=80 sh /run/operator/answer";

/// Waits for it; with what was said if it does not come.
fn soon(device: &mut Device, command: &str, wanted: &str) -> Result<()> {
    if let Err(error) = device.soon(PATIENCE, command, wanted) {
        let said = device
            .run("cat /run/fleet/connectivity.json; journalctl -b -u NetworkManager -u ModemManager -u fleet-watch -u fleet-helper -u 'operator-line' -o short-monotonic --no-pager -n 120; nmcli; mmcli -m any; ip route")?
            .text();
        let asked = device.world().log("modem")?;
        let asked: Vec<&str> = asked.lines().rev().take(30).collect();
        return Err(error).context(said).context(asked.join("\n"));
    }
    Ok(())
}

/// Takes the modem out, and puts one in that is like this.
fn another(device: &mut Device, mode: Modem) -> Result<()> {
    device.world().modem(Modem::Off)?;
    soon(device, MODEM, "")?;
    device.world().modem(mode)
}

/// With both uplinks on the internet.
fn boot() -> Result<Device> {
    let folder = std::env::temp_dir().join(format!(
        "fleet-modem-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    fs::create_dir_all(folder.join("system-connections"))?;
    fs::write(folder.join("system-connections/mast.nmconnection"), PROFILE)?;
    let device = Device::boot(Tier::Qemu)
        .with_modem()
        .boot_folder(&folder)
        .config_text(CONFIG)
        .start();
    fs::remove_dir_all(&folder)?;
    let mut device = device?;
    soon(&mut device, INTERFACE, "enp0s3 online")?;
    device.run(OPERATOR)?.succeeds()?;
    device.world().modem(Modem::On)?;
    soon(&mut device, LADDER, BOTH)?;
    Ok(device)
}

#[test]
fn the_modem_carries_what_the_cable_does_not() -> Result<()> {
    let mut device = boot()?;
    settle_metrics(&mut device)?;
    soon(&mut device, ROUTES, "enp0s3 100\nppp0 700")?;
    soon(&mut device, INTERFACE, "enp0s3 online")?;
    failover(&mut device)?;
    metered(&mut device)?;
    device.run(STEPS)?.says("")?;
    device.run("systemctl --failed --no-legend")?.says("")?;
    Ok(())
}

#[test]
fn why_a_modem_leads_nowhere() -> Result<()> {
    let mut device = boot()?;
    without_sim(&mut device)?;
    without_network(&mut device)?;
    without_pin(&mut device)?;
    device.run("systemctl --failed --no-legend")?.says("")?;
    Ok(())
}

/// NetworkManager before 1.54 keeps the penalty on the metric of an uplink whose check was answered before its activation
/// had ended (its commit ccd9431e82), until the check has another outcome.
fn settle_metrics(device: &mut Device) -> Result<()> {
    const CHECK: &str = "nmcli networking connectivity check";
    device.world().http(Http::Refuse)?;
    device.run("systemctl stop operator-server")?.succeeds()?;
    device.soon(PATIENCE, CHECK, "limited")?;
    device.world().http(Http::Ok)?;
    device.run(SERVER)?.succeeds()?;
    device.soon(PATIENCE, CHECK, "full")?;
    soon(device, LADDER, BOTH)
}

/// NetworkManager guesses that a modem's traffic is paid for: it is let alone, and the cable is not.
fn metered(device: &mut Device) -> Result<()> {
    soon(
        device,
        "sed -n 's/^interval=//p' /run/NetworkManager/conf.d/60-fleet-metered.conf",
        "3600",
    )?;
    let asked = device.world().log("http")?.lines().count();
    // What changed is looked into, at growing intervals; then it is quiet.
    let (mut before, mut tries) = (String::from("0"), 0);
    loop {
        let now = device.run(REQUESTS)?.text();
        if now == before {
            break;
        }
        tries += 1;
        if tries > 4 {
            let said = device.run(TALK)?.text();
            bail!("the modem is probed on and on: {said}");
        }
        before = now;
        std::thread::sleep(Duration::from_secs(75));
    }
    println!("{before} requests over the modem until it was quiet");
    ensure!(before != "0", "the check has come through the modem");
    ensure!(
        device.world().log("http")?.lines().count() > asked,
        "the cable is probed at its own interval"
    );
    Ok(())
}

/// Dead behind a live link, and then everything beyond the gateway: each time to the modem and back, once.
fn failover(device: &mut Device) -> Result<()> {
    device
        .run("systemd-run --quiet --unit=traffic ping -i 2 198.51.100.7")?
        .succeeds()?;
    for fault in [
        "its gateway falls silent",
        "the internet beyond its gateway is gone",
    ] {
        let is_gateway = fault.contains("silent");
        device
            .run("journalctl --sync; journalctl --cursor-file=/run/cursor -n 0")?
            .succeeds()?;
        let start = Instant::now();
        if is_gateway {
            device.world().gateway(Switch::Off)?;
        } else {
            device.world().dns(Dns::Silent)?;
            device.world().http(Http::Silent)?;
        }
        soon(device, WAY, "ppp0")?;
        println!(
            "{fault}: the modem has taken over after {:.1} s",
            start.elapsed().as_secs_f64()
        );
        soon(device, INTERFACE, "ppp0 online")?;
        // It holds.
        std::thread::sleep(Duration::from_secs(20));
        device.run(WAY)?.says("ppp0")?;

        let start = Instant::now();
        if is_gateway {
            device.world().gateway(Switch::On)?;
        } else {
            device.world().dns(Dns::Ok)?;
            device.world().http(Http::Ok)?;
        }
        soon(device, WAY, "enp0s3")?;
        println!("the cable is back after {:.1} s", start.elapsed().as_secs_f64());
        soon(device, LADDER, BOTH)?;
        std::thread::sleep(Duration::from_secs(40));
        device.run(WAY)?.says("enp0s3")?;
        let changes = device
            .run(
                "journalctl --sync; journalctl --cursor-file=/run/cursor MESSAGE_ID=c29560301a024f1e8501428f8f5f1713 -o json \
                 | jq -r '[.FLEET_INTERFACE, .FLEET_STATUS] | join(\" \")' | uniq",
            )?
            .succeeds()?
            .text();
        println!("{}", changes.replace('\n', ", "));
        // What is said again of the state before is no change.
        let way: Vec<&str> = changes
            .lines()
            .filter(|change| change.ends_with("online"))
            .skip_while(|change| *change == "enp0s3 online")
            .collect();
        ensure!(
            way == ["ppp0 online", "enp0s3 online"],
            "there and back, once: {changes}"
        );
        ensure!(!changes.contains("ppp0 offline"), "{changes}");
    }
    device.run("systemctl stop traffic")?.succeeds()?;
    Ok(())
}

/// Nothing is done about what a person has to.
fn without_sim(device: &mut Device) -> Result<()> {
    println!("without a SIM");
    another(device, Modem::NoSim)?;
    soon(device, MODEM, "ttyUSB0 none no-sim")?;
    device.run(EXPLANATION)?.says(
        "the modem ttyUSB0 has no SIM that works: check that it is inserted, and the right way round",
    )?;
    untouched(device)
}

/// With the cable pulled for so long that something would be done.
fn untouched(device: &mut Device) -> Result<()> {
    let steps = device.run(STEPS)?.text();
    device.world().link(Link::Down)?;
    soon(device, "jq -r .status /run/fleet/connectivity.json", "offline")?;
    std::thread::sleep(AFTER * 2);
    device.run(STEPS)?.says(&steps)?;
    device.world().link(Link::Up)?;
    soon(device, INTERFACE, "enp0s3 online")
}

/// A wrong PIN is not tried until the SIM is locked.
fn without_pin(device: &mut Device) -> Result<()> {
    println!("without a PIN");
    const LOCKED: &str = "the SIM of ttyUSB0 wants its PIN: set gsm.pin in its profile. If it was wrong, set the right one; three wrong ones lock the SIM";
    another(device, Modem::Pin)?;
    soon(device, MODEM, "ttyUSB0 none sim-locked")?;
    device.run(EXPLANATION)?.says(LOCKED)?;
    untouched(device)?;

    device
        .run("nmcli connection modify mast gsm.pin 0000")?
        .succeeds()?;
    another(device, Modem::Pin)?;
    soon(device, MODEM, "ttyUSB0 none sim-locked")?;
    untouched(device)?;
    device.run(EXPLANATION)?.says(LOCKED)?;
    let asked = device.world().log("modem")?;
    let wrong = asked.matches("+CPIN=\"0000\"").count();
    println!("the wrong PIN was tried {wrong} times");
    ensure!((1..3).contains(&wrong), "{asked}");

    device
        .run("nmcli connection modify mast gsm.pin 1234")?
        .succeeds()?;
    another(device, Modem::Pin)?;
    soon(device, MODEM, "ppp0 internet none")
}

/// No network, one that does not take the SIM, and one that gives no connection.
fn without_network(device: &mut Device) -> Result<()> {
    println!("without a network");
    for mode in [Modem::Denied, Modem::Searching] {
        another(device, mode)?;
        soon(device, MODEM, "ttyUSB0 none not-registered")?;
        device
            .run(EXPLANATION)?
            .says("no mobile network takes ttyUSB0: check antenna and coverage, the contract of the SIM, and whether it may roam")?;
    }
    another(device, Modem::NoCarrier)?;
    soon(device, MODEM, "ttyUSB0 none no-bearer")
}
