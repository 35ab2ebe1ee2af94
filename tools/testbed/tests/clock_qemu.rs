//! A machine whose clock is wrong: without a battery, or years ahead. Nothing waits for the time, the reason is told, and the
//! clock is stepped by what there is.

#![cfg(feature = "long")]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testbed::{ADDRESS, Device, Link, Tier, Time};

/// Level, reason and status, and what was repaired for it, which is nothing: no step sets a clock.
const VERDICT: &str =
    "jq -r '[.level, .reason, .status, .repair.steps[].step] | join(\" \")' /run/fleet/connectivity.json";
/// An emulated machine on a busy host, and chronyd, which asks a server that was silent again after a minute or two.
const PATIENCE: Duration = Duration::from_secs(400);
/// chronyd notices a clock that somebody else has set after some answers, and those are a minute or more apart.
const LONG_PATIENCE: Duration = Duration::from_secs(1200);
const DAY: u64 = 86_400;
const RECHECK: &str =
    "busctl call org.fleetos.Connectivity1 /org/fleetos/Connectivity1 org.fleetos.Connectivity1 Recheck";

fn boot(clock: &str) -> Result<Device> {
    let mut device = Device::boot(Tier::Qemu)
        .clock(clock)
        .config_text(format!(r#"{{"ntpServers": "{ADDRESS}"}}"#))
        .start()?;
    nothing_has_waited(&mut device)?;
    Ok(device)
}

fn nothing_has_waited(device: &mut Device) -> Result<()> {
    device.run("systemctl is-active chrony")?.says("active")?;
    device.run("systemctl --failed --no-legend")?.says("")?;
    // In microseconds: chronyd itself does not take its time either.
    let took = "echo $(( $(systemctl show -P ActiveEnterTimestampMonotonic chrony) \
                - $(systemctl show -P InactiveExitTimestampMonotonic chrony) ))";
    let took = number(device, took)?;
    ensure!(took < 30_000_000, "chronyd took {took} us to start");
    Ok(())
}

fn number(device: &mut Device, command: &str) -> Result<u64> {
    let text = device.run(command)?.succeeds()?.text();
    text.trim().parse().with_context(|| text.clone())
}

fn now(device: &mut Device) -> Result<u64> {
    number(device, "date +%s")
}

fn world_now(device: &Device) -> Result<u64> {
    let text = device.world().run("date +%s")?.succeeds()?.text();
    text.trim().parse().with_context(|| text.clone())
}

/// Says how far the device is; with what was said on the way if it is not.
fn soon(device: &mut Device, verdict: &str) -> Result<()> {
    if let Err(error) = device.soon(PATIENCE, VERDICT, verdict) {
        let said = device
            .run("date; chronyc -n sources; journalctl -b -u NetworkManager -u fleet-watch -u fleet-config -u chrony --no-pager -n 60; fleet config show")?
            .text();
        return Err(error).context(said);
    }
    Ok(())
}

/// The check over https, with a certificate that is valid today. An authority that was and will be for long.
fn check_over_tls(device: &mut Device) -> Result<()> {
    let span = device
        .world()
        .run("echo -not_before $(date -u -d yesterday +%Y%m%d%H%M%SZ) -not_after $(date -u -d 'next month' +%Y%m%d%H%M%SZ)")?
        .text();
    let made = device
        .run(&format!(
            "set -e; mkdir /run/ca; cd /run/ca
             ec='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'
             openssl req -x509 $ec -not_before 20100101000000Z -not_after 20600101000000Z -subj /CN=ca -keyout ca.key -out ca.crt
             openssl req $ec -subj /CN=check.example -keyout tls.key -out tls.csr
             printf 'subjectAltName=DNS:check.example\n' >ext
             openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial {span} -extfile ext -out tls.crt
             cat tls.key tls.crt"
        ))?
        .succeeds()?
        .text();
    let folder = device.own_run().directory().display().to_string();
    device
        .world()
        .run(&format!(
            "cd {folder} && cat >tls.pem <<END\n{made}\nEND\nprintf fleet >check
             (setsid openssl s_server -accept 443 -cert tls.pem -WWW </dev/null >s_server.log 2>&1 & echo $! >s_server.pid)"
        ))?
        .succeeds()?;
    device
        .run(
            r#"jq -n --arg ca "$(base64 -w0 /run/ca/ca.crt)" '{balenaRootCA: $ca,
               os: {network: {connectivity: {uri: "https://check.example/check", response: "fleet"}}}}' | fleet config apply -"#,
        )?
        .succeeds()?;
    Ok(())
}

/// Whether the time is that of the image, or of its systemd, which may be younger where the image's is a fixed one.
fn is_of_the_image(device: &mut Device) -> Result<()> {
    let image = number(device, "stat -c %Y /usr/lib/clock-epoch")?;
    let (now, right) = (now(device)?, world_now(device)?);
    ensure!((image..right - 30 * DAY).contains(&now), "{now}, image {image}");
    Ok(())
}

/// What the firmware and the kernel make of a clock in 1970 is 2070: too late to be true.
#[test]
fn a_clock_that_says_nonsense() -> Result<()> {
    let mut device = boot("1970-01-01T00:00:10")?;
    device.run("cat /sys/class/rtc/rtc0/date")?.says("2070-01-01")?;
    is_of_the_image(&mut device)
}

#[test]
fn a_clock_without_a_battery() -> Result<()> {
    let mut device = boot("2016-01-01T00:00:00")?;
    // There was no time before.
    is_of_the_image(&mut device)?;
    check_over_tls(&mut device)?;
    soon(&mut device, "dns clock-wrong offline")?;

    device.world().time(Time::On)?;
    soon(&mut device, "internet none online")?;
    let (stepped, right) = (now(&mut device)?, world_now(&device)?);
    ensure!(stepped.abs_diff(right) < 120, "{stepped}, right is {right}");
    device
        .run("journalctl -b -u fleet-watch -o cat --no-pager | grep -c 'the clock was set'")?
        .succeeds()?;
    // As the timer does once a day.
    device
        .run("systemctl start fleet-last-time && sync")?
        .succeeds()?;

    // Cut off from everything, and the power too.
    device.world().time(Time::Off)?;
    device.world().link(Link::Down)?;
    device.cut()?;
    nothing_has_waited(&mut device)?;
    let restored = now(&mut device)?;
    ensure!(restored >= stepped, "{restored}, known was {stepped}");
    device.run(VERDICT)?.says("none no-carrier offline")?;
    // Its network comes back; its time servers do not.
    device.world().link(Link::Up)?;
    soon(&mut device, "internet none online")?;
    Ok(())
}

#[test]
fn a_clock_that_is_ten_years_ahead() -> Result<()> {
    let mut device = boot("2036-06-01T12:00:00")?;
    device.run("date -u +%Y-%m")?.says("2036-06")?;
    check_over_tls(&mut device)?;
    soon(&mut device, "dns clock-wrong offline")?;
    device.world().time(Time::On)?;
    soon(&mut device, "internet none online")?;
    let (stepped, right) = (now(&mut device)?, world_now(&device)?);
    ensure!(stepped.abs_diff(right) < 120, "{stepped}, right is {right}");

    // Somebody sets it wrong, long after the first updates, while a check is under way.
    let server = device.own_run().directory().join("s_server.pid");
    let signal = |device: &Device, name: &str| {
        device
            .world()
            .run(&format!("kill -{name} $(cat {})", server.display()))?
            .succeeds()
            .map(drop)
    };
    signal(&device, "STOP")?;
    device
        .run(&format!(
            "systemd-run --quiet {RECHECK} && sleep 2 && date -u -s 2031-01-01"
        ))?
        .succeeds()?;
    signal(&device, "CONT")?;
    soon(&mut device, "dns clock-wrong offline")?;
    // What chronyd does by itself in some minutes.
    device.run("chronyc burst 4/8")?.succeeds()?;
    let year = device.world().run("date -u +%Y")?.text();
    device.soon(LONG_PATIENCE, "date -u +%Y", year.trim())?;
    soon(&mut device, "internet none online")?;
    // The time that nobody should believe any more is not the last known one.
    device.run("systemctl stop chrony")?.succeeds()?;
    let noted = number(&mut device, "stat -c %Y /var/lib/chrony/chrony.drift")?;
    ensure!(noted.abs_diff(world_now(&device)?) < 120, "noted was {noted}");
    Ok(())
}
