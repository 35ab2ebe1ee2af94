//! Each fault made on purpose, and the rung, the reason and what is named for it. All of it is real: the kernel's
//! neighbours, NetworkManager, DNS and HTTP servers that misbehave.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use testbed::{Device, Dhcp, Dns, Http, Link, SECOND_ADDRESS, Switch, Tier};

/// The device's level, reason and status, and what was done about it: nothing, because it is upstream or has not held.
const VERDICT: &str =
    "jq -r '[.level, .reason, .status, .repair.steps[].step] | join(\" \")' /run/fleet/connectivity.json";
/// Every uplink: its name, level, reason, and what is at fault on it.
const UPLINKS: &str = "jq -r '[.uplinks[] | ([.interface, .level, .reason] + [.problems[] | .reason, .subject]) | \
                       join(\" \")] | join(\"; \")' /run/fleet/connectivity.json";
const RECHECK: &str = "timeout 30 busctl call org.fleetos.Connectivity1 /org/fleetos/Connectivity1 org.fleetos.Connectivity1 Recheck";

/// Generous: a fault of the gateway shows in 10 s, of DNS and the internet in 40 s, on a machine with nothing else to do.
const PATIENCE: Duration = Duration::from_secs(100);

fn boot() -> Result<Device> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    device.soon(PATIENCE, VERDICT, "internet none online")?;
    Ok(device)
}

/// Makes NetworkManager check and the probes begin. An error only says that the check takes its time.
fn recheck(device: &mut Device) -> Result<()> {
    device.run(&format!("{RECHECK} || true"))?.succeeds()?;
    Ok(())
}

/// Has the device ask these DNS servers instead of the lease's.
fn ask(device: &mut Device, servers: &str) -> Result<()> {
    let settings = "ipv4.ignore-auto-dns yes ipv6.method disabled";
    device
        .run(&format!(
            "nmcli device modify eth0 {settings} ipv4.dns '{servers}'"
        ))?
        .succeeds()?;
    Ok(())
}

/// Brings up another uplink, eth1, behind the first one.
fn second_uplink(device: &mut Device, metered: &str) -> Result<()> {
    device.world().second_uplink()?;
    device
        .run(&format!(
            "nmcli connection add type ethernet ifname eth1 con-name second ipv4.method manual \
             ipv4.addresses 172.31.78.2/24 ipv4.gateway {SECOND_ADDRESS} ipv4.dns {SECOND_ADDRESS} ipv4.route-metric 900 \
             ipv6.method disabled connection.metered {metered} && nmcli --wait 60 connection up second"
        ))?
        .succeeds()?;
    Ok(())
}

/// Pulls the cable and plugs it in again, and waits until NetworkManager has noticed both.
fn replug(device: &mut Device) -> Result<()> {
    device.world().link(Link::Down)?;
    device.soon(PATIENCE, VERDICT, "none no-carrier offline")?;
    device.world().link(Link::Up)
}

#[test]
fn no_lease_and_a_lease_without_gateway() -> Result<()> {
    let mut device = boot()?;
    device.world().dhcp(Dhcp::NoGateway)?;
    replug(&mut device)?;
    device.soon(PATIENCE, VERDICT, "address no-gateway offline")?;
    device.soon(PATIENCE, UPLINKS, "eth0 address no-gateway")?;

    device.world().dhcp(Dhcp::Off)?;
    replug(&mut device)?;
    device.soon(PATIENCE, VERDICT, "carrier no-lease offline")?;
    device.world().dhcp(Dhcp::On)?;
    device.soon(PATIENCE, VERDICT, "internet none online")?;
    Ok(())
}

#[test]
fn a_gateway_that_falls_silent() -> Result<()> {
    let mut device = boot()?;
    device.world().gateway(Switch::Off)?;
    recheck(&mut device)?;
    let silent = "address gateway-silent offline";
    device.soon(PATIENCE, VERDICT, silent)?;
    device.soon(
        PATIENCE,
        UPLINKS,
        "eth0 address gateway-silent gateway-silent 172.31.77.1 resolver-silent 172.31.77.1",
    )?;
    device
        .run("fleet connectivity")?
        .mentions("the gateway 172.31.77.1 does not answer on the link of eth0")?;
    device.world().gateway(Switch::On)?;
    device.soon(PATIENCE, VERDICT, "internet none online")?;
    device.soon(PATIENCE, UPLINKS, "eth0 internet none")?;
    Ok(())
}

/// Without a probe: the interval of those is longer than the patience here.
#[test]
fn a_gateway_that_falls_silent_and_answers_again_is_noticed_by_the_traffic() -> Result<()> {
    let mut device = boot()?;
    device
        .run("systemd-run --quiet --unit traffic ping -q -i 2 203.0.113.7")?
        .succeeds()?;
    for _ in 0..2 {
        // The rounds of the last change are over.
        std::thread::sleep(Duration::from_secs(15));
        device.world().gateway(Switch::Off)?;
        device.soon(PATIENCE, VERDICT, "address gateway-silent offline")?;
        // The next round is half a minute away.
        std::thread::sleep(Duration::from_secs(40));
        device.world().gateway(Switch::On)?;
        device.soon(PATIENCE, VERDICT, "internet none online")?;
    }
    Ok(())
}

#[test]
fn resolvers_that_are_silent_fail_or_lie() -> Result<()> {
    let mut device = boot()?;
    // The fallback has its own tests.
    device
        .run(r#"fleet config set dnsServers '"null"'"#)?
        .succeeds()?;
    for (mode, verdict, uplinks) in [
        (
            Dns::Silent,
            "gateway resolver-silent offline",
            "eth0 gateway resolver-silent resolver-silent 172.31.77.1",
        ),
        (
            Dns::Servfail,
            "gateway resolver-failing offline",
            "eth0 gateway resolver-failing resolver-failing 172.31.77.1",
        ),
        (Dns::Wrong, "dns name-unknown offline", "eth0 dns name-unknown"),
        (Dns::Ok, "internet none online", "eth0 internet none"),
    ] {
        device.world().dns(mode)?;
        recheck(&mut device)?;
        device.soon(PATIENCE, VERDICT, verdict)?;
        device.soon(PATIENCE, UPLINKS, uplinks)?;
    }

    // One bad server of two costs nothing, and is named.
    device.world().dns_at("10.53.0.2", Dns::Silent)?;
    ask(&mut device, "10.53.0.3 10.53.0.2")?;
    device.soon(PATIENCE, UPLINKS, "eth0 internet none resolver-silent 10.53.0.2")?;
    device.run(VERDICT)?.says("internet none online")?;
    device
        .run("journalctl -b -o cat --no-pager MESSAGE_ID=8f2a6d0c5b7e4c1d9a30f4e6b1c27d58")?
        .mentions("the DNS server 10.53.0.2 does not answer through eth0")?;

    // One that denies what the other knows, and one that leads to a portal, while the other leads to the server.
    for mode in [Dns::Wrong, Dns::Lie] {
        device.world().dns_at("10.53.0.2", mode)?;
        ask(&mut device, "10.53.0.2 10.53.0.3")?;
        recheck(&mut device)?;
        device.soon(
            PATIENCE,
            UPLINKS,
            "eth0 gateway resolver-lying resolver-lying 10.53.0.2",
        )?;
        device.run(VERDICT)?.says("gateway resolver-lying offline")?;
        ask(&mut device, "10.53.0.3")?;
        device.soon(PATIENCE, UPLINKS, "eth0 internet none")?;
    }
    Ok(())
}

#[test]
fn what_answers_the_check() -> Result<()> {
    let mut device = boot()?;
    for (mode, verdict) in [
        (Http::Redirect, "dns portal offline"),
        (Http::Wrong, "dns portal offline"),
        (Http::Fault, "dns server-fault offline"),
        (Http::Reset, "dns check-reset offline"),
        (Http::Refuse, "dns check-refused offline"),
        (Http::Silent, "dns check-timeout offline"),
        (Http::Ok, "internet none online"),
    ] {
        device.world().http(mode)?;
        recheck(&mut device)?;
        device.soon(PATIENCE, VERDICT, verdict)?;
    }

    // Nobody listens on the port of https.
    device
        .run("fleet config set os.network.connectivity.uri https://check.example/")?
        .succeeds()?;
    recheck(&mut device)?;
    device.soon(PATIENCE, VERDICT, "dns check-refused offline")?;
    Ok(())
}

/// Servers of the check over https, each with another certificate: what it is, its options, and whose it is.
const CERTIFICATES: &str = r#"set -e
    ec='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
    openssl req -x509 $ec -days 30 -subj /CN=authority -keyout ca.key -out ca.crt
    issue() {
        openssl req $ec -subj "/CN=$2" -keyout $1.key -out $1.csr
        printf 'subjectAltName=DNS:%s\n' $2 >$1.ext
        openssl x509 -req -in $1.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days $3 -extfile $1.ext -out $1.crt
    }
    issue good check.example 30
    issue other other.example 30
    issue expired check.example -1
    openssl req -x509 $ec -days 30 -subj /CN=check.example -addext subjectAltName=DNS:check.example -keyout self.key -out self.crt"#;

#[test]
fn what_is_wrong_inside_tls() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn)
        .config_text(
            r#"{"os": {"network": {"connectivity": {"uri": "https://check.example/", "response": ""}}}}"#,
        )
        .start()?;
    let folder = device.own_run().directory().display().to_string();
    let at = |command: &str| format!("cd {folder} && {command}");
    device.world().run(&at(CERTIFICATES))?.succeeds()?;
    let authority = std::fs::read(device.own_run().directory().join("ca.crt"))?;
    std::fs::write(device.own_run().directory().join("boot/ca.crt"), authority)?;
    device
        .run("fleet config set balenaRootCA \"$(base64 -w0 /boot/ca.crt)\"")?
        .succeeds()?;
    for (certificate, verdict) in [
        ("self", "dns tls-intercepted offline"),
        // It answers with a page.
        ("good", "dns portal offline"),
        ("other", "dns tls-intercepted offline"),
        ("expired", "dns server-fault offline"),
        ("good", "dns portal offline"),
    ] {
        let serve = format!(
            "kill $(cat server.pid 2>/dev/null) 2>/dev/null; \
             setsid openssl s_server -accept 443 -cert {certificate}.crt -key {certificate}.key -www </dev/null >server.log 2>&1 & \
             echo $! >{folder}/server.pid"
        );
        device.world().run(&at(&serve))?.succeeds()?;
        recheck(&mut device)?;
        device
            .soon(PATIENCE, VERDICT, verdict)
            .with_context(|| certificate.to_owned())?;
    }
    Ok(())
}

#[test]
fn an_address_that_another_machine_has() -> Result<()> {
    let mut device = boot()?;
    device
        .world()
        .run("ip address add 172.31.77.200/24 dev world0")?
        .succeeds()?;
    device
        .run(
            "nmcli device set eth0 autoconnect no && \
             nmcli connection add type ethernet ifname eth0 con-name fixed ipv4.method manual ipv6.method disabled \
             ipv4.addresses 172.31.77.200/24 ipv4.gateway 172.31.77.1 ipv4.dns 172.31.77.1 && \
             ! nmcli --wait 30 connection up fixed",
        )?
        .succeeds()?;
    device.soon(PATIENCE, VERDICT, "carrier duplicate-address offline")?;
    device
        .world()
        .run("ip address del 172.31.77.200/24 dev world0")?
        .succeeds()?;
    device.run("nmcli --wait 60 connection up fixed")?.succeeds()?;
    device.soon(PATIENCE, VERDICT, "internet none online")?;
    Ok(())
}

#[test]
fn a_broken_ipv6_beside_ipv4_costs_nothing() -> Result<()> {
    let mut device = boot()?;
    device
        .run(
            "nmcli device modify eth0 ipv6.method manual ipv6.addresses fd00:77::2/64 ipv6.gateway fd00:77::1 \
             ipv6.dns fd00:77::53",
        )?
        .succeeds()?;
    device.soon(
        PATIENCE,
        UPLINKS,
        "eth0 internet none gateway-silent fd00:77::1 resolver-silent fd00:77::53",
    )?;
    device.run(VERDICT)?.says("internet none online")?;
    Ok(())
}

#[test]
fn the_better_of_two_uplinks_dies_behind_a_live_link() -> Result<()> {
    let mut device = boot()?;
    second_uplink(&mut device, "no")?;
    device.soon(PATIENCE, UPLINKS, "eth0 internet none; eth1 internet none")?;

    device.world().gateway(Switch::Off)?;
    recheck(&mut device)?;
    device.soon(
        PATIENCE,
        &format!("{UPLINKS} | sed 's/gateway-silent gateway-silent.*;/gateway-silent;/'"),
        "eth0 address gateway-silent; eth1 internet none",
    )?;
    // NetworkManager prefers an uplink whose check is answered (route metric 20000 for the others).
    device.soon(PATIENCE, VERDICT, "internet none online")?;
    device
        .run("fleet connectivity")?
        .mentions("eth0: address, gateway-silent for")?;
    Ok(())
}

#[test]
fn a_dead_default_route_fails_over_and_comes_back_once() -> Result<()> {
    const ROUTE: &str = "ip -o route get 203.0.113.7 | grep -o 'dev eth[01]'";
    const INTERFACE: &str = "jq -r '[.interface, .status] | join(\" \")' /run/fleet/connectivity.json";
    let mut device = boot()?;
    device
        .run("fleet config set os.network.probe.interval 10")?
        .succeeds()?;
    second_uplink(&mut device, "no")?;
    device.soon(PATIENCE, UPLINKS, "eth0 internet none; eth1 internet none")?;
    device.run(ROUTE)?.says("dev eth0")?;
    let changes = "journalctl -b -u NetworkManager -o cat --no-pager | grep -c 'as default for IPv4'";
    let before: u32 = device.run(changes)?.text().parse()?;

    // Nobody tells the device.
    device.world().gateway(Switch::Off)?;
    device.soon(PATIENCE, ROUTE, "dev eth1")?;
    device.soon(PATIENCE, INTERFACE, "eth1 online")?;
    device.world().gateway(Switch::On)?;
    device.soon(PATIENCE, ROUTE, "dev eth0")?;
    device.soon(PATIENCE, INTERFACE, "eth0 online")?;
    device.soon(PATIENCE, UPLINKS, "eth0 internet none; eth1 internet none")?;
    // There, and back, and no more.
    device.run(changes)?.says(&(before + 2).to_string())?;
    Ok(())
}

#[test]
fn probes_keep_to_their_pace_and_budget() -> Result<()> {
    let mut device = boot()?;
    // Only the probes ask for this name's address from its own port each time; what counts is that they go on.
    let asked = |device: &Device| -> Result<usize> { Ok(device.world().log("dns")?.lines().count()) };
    device
        .run("fleet config set os.network.probe.interval 10 && fleet config set os.network.connectivity.interval 3600")?
        .succeeds()?;
    device.soon(
        PATIENCE,
        "cat /run/fleet/config/watch.conf | grep -c ^interval=10$",
        "1",
    )?;
    let before = asked(&device)?;
    let deadline = Instant::now() + PATIENCE;
    while asked(&device)? < before + 3 {
        assert!(Instant::now() < deadline, "no probes in {PATIENCE:?}");
        std::thread::sleep(Duration::from_secs(1));
    }

    // A metered uplink without a budget: said, and nothing is sent any more.
    device
        .run(
            "fleet config set os.network.probe.meteredInterval 10 && fleet config set os.network.probe.monthlyBudget 0 && \
             nmcli connection modify 'Wired connection 1' connection.metered yes && nmcli device reapply eth0",
        )?
        .succeeds()?;
    device.soon(PATIENCE, UPLINKS, "eth0 internet none probe-budget-spent")?;
    device.run(VERDICT)?.says("internet none online")?;
    device
        .run("fleet connectivity")?
        .mentions("the data budget of this month")?;
    device
        .run("fleet config set os.network.probe.monthlyBudget 1200000")?
        .succeeds()?;
    device.soon(PATIENCE, UPLINKS, "eth0 internet none")?;
    // What is used is kept, once a day.
    device.soon(PATIENCE, "wc -w < /var/lib/fleet/watch/budget", "2")?;
    Ok(())
}

#[test]
fn a_metered_uplink_slows_the_check_and_costs_no_sight_on_the_others() -> Result<()> {
    const INTERVAL: &str = "NetworkManager --print-config | sed -n 's/^interval=//p'";
    let mut device = boot()?;
    device
        .run("fleet config set os.network.probe.interval 10 && fleet config set os.network.connectivity.interval 600")?
        .succeeds()?;
    device.soon(PATIENCE, INTERVAL, "600")?;
    second_uplink(&mut device, "yes")?;
    device.soon(PATIENCE, INTERVAL, "3600")?;
    device.soon(PATIENCE, UPLINKS, "eth0 internet none; eth1 internet none")?;
    device
        .run("fleet config set os.network.probe.meteredInterval 1800")?
        .succeeds()?;
    device.soon(PATIENCE, INTERVAL, "1800")?;

    // On the other one we ask ourselves meanwhile.
    let asked = |device: &Device, from: &str| -> Result<usize> {
        let log = device.world().log("http")?;
        let ours = log.lines().filter(|line| line.contains("by \"fleet-watch\""));
        Ok(ours.filter(|line| line.contains(from)).count())
    };
    let deadline = Instant::now() + PATIENCE;
    while asked(&device, " 172.31.77.")? < 3 {
        assert!(Instant::now() < deadline, "no requests of ours in {PATIENCE:?}");
        std::thread::sleep(Duration::from_secs(1));
    }
    assert_eq!(asked(&device, " 172.31.78.")?, 0, "on the metered one");
    device.world().http(Http::Redirect)?;
    device.soon(PATIENCE, VERDICT, "dns portal offline")?;
    device.world().http(Http::Ok)?;
    device.soon(PATIENCE, VERDICT, "internet none online")?;

    device.run("nmcli connection delete second")?.succeeds()?;
    device.soon(PATIENCE, INTERVAL, "600")?;
    Ok(())
}

#[test]
fn a_thousand_flaps_leave_the_right_state_and_a_short_journal() -> Result<()> {
    let mut device = boot()?;
    let memory = "awk '/^Anonymous:/ {print $2}' /proc/$(systemctl show -P MainPID fleet-watch)/smaps_rollup";
    let before: u64 = device.run(memory)?.text().parse()?;
    device
        .world()
        .run(
            "for flap in $(seq 1000); do ip link set world0 down; ip link set world0 up; \
             [ $((flap % 100)) -gt 0 ] || sleep 8; done",
        )?
        .succeeds()?;
    device.soon(PATIENCE, VERDICT, "internet none online")?;
    device.soon(PATIENCE, UPLINKS, "eth0 internet none")?;
    let lines = device.run("journalctl -b -u fleet-watch -o cat --no-pager | wc -l")?;
    let lines: u64 = lines.text().parse()?;
    assert!(lines < 60, "{lines} lines in the journal");
    let after: u64 = device.run(memory)?.text().parse()?;
    println!("memory of fleet-watch's own: {before} KiB, {after} KiB after the flaps");
    assert!(after < before + 256, "memory grew from {before} to {after} KiB");
    device.run("systemctl show -P NRestarts fleet-watch")?.says("0")?;
    Ok(())
}

#[test]
fn watching_shows_each_change_as_a_line() -> Result<()> {
    let mut device = boot()?;
    device
        .run("systemd-run --quiet --unit=watching --property=StandardOutput=file:/run/watched fleet connectivity --watch --json")?
        .succeeds()?;
    device.soon(PATIENCE, "jq -r .level /run/watched", "internet")?;
    device.world().link(Link::Down)?;
    device.soon(PATIENCE, "jq -r .level /run/watched | tail -n 1", "none")?;
    device.run("systemctl kill --signal=INT watching")?.succeeds()?;
    device.soon(PATIENCE, "systemctl is-active watching || true", "inactive")?;
    Ok(())
}
