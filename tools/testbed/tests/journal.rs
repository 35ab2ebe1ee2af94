//! The journal, moved between RAM and flash while it is written to, for a time, and when something is in the way.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use testbed::{Device, Tier};

/// Lets a loop of bash, in whose `start` is when it began, rest until its next round is due: 1000 of them a second, and what
/// was late is caught up with.
const PACE: &str = "while ((i > (${EPOCHREALTIME/./} - start) / 1000)); do read -t 0.01 <> <(:); done";
/// What journald was told last. To look at this starts nobody, as a question on the bus does.
const TOLD: &str = "test -e /run/systemd/journal/flushed && echo flush || echo relinquish";
/// Whoever looks after the journal looks every 30 s.
const LOOKED: Duration = Duration::from_secs(75);
/// The mode, alone.
const MODE: &str = "fleet journal status --json | sed -n 's/.*\"mode\": \"\\(.*\\)\".*/\\1/p'";

/// A device whose journald drops nothing, so that what is missing was lost.
fn without_rate_limit() -> Result<Device> {
    let mut device = Device::boot(Tier::Nspawn)
        .config_text(r#"{"os": {"journal": {"rateLimit": {"interval": 0, "burst": 0}}}}"#)
        .start()?;
    // journald reads the limits when it starts.
    device.reboot()?;
    Ok(device)
}

#[test]
fn every_line_is_there_once_through_twenty_switches() -> Result<()> {
    let mut device = without_rate_limit()?;
    device
        .run("fleet journal status --json")?
        .mentions(r#""mode": "volatile""#)?;
    device
        .run("find /var/log/journal -name '*.journal' | wc -l")?
        .says("0")?;
    // Numbered. A line says where the journal was when it was written, the last one how long it took.
    device
        .run(&format!(
            "systemd-run --quiet --unit=writer --collect --expand-environment=no bash -c 'start=${{EPOCHREALTIME/./}}; for ((i = 1; ; i++)); do {PACE}; \
             [[ -e /run/systemd/journal/flushed ]] && echo \"line $i flash\" || echo \"line $i ram\"; \
             [[ -e /run/enough ]] && break; done; echo \"wrote $i in $(( (${{EPOCHREALTIME/./}} - start) / 1000 )) ms\"'"
        ))?
        .succeeds()?;
    let last = "journalctl --no-pager -q -u writer -n 1 -o cat";
    let number = |line: &str| {
        line.split(' ')
            .nth(1)
            .and_then(|number| number.parse::<usize>().ok())
    };
    let mut at = Vec::new();
    for _ in 0..12 {
        for (command, said) in [("persist", "persistent"), ("volatile", "volatile")] {
            device
                .run(&format!("fleet journal {command}"))?
                .succeeds()?
                .mentions(said)?;
            at.push(number(&device.run(last)?.text()).context("a numbered line")?);
            device.run("sleep 0.4")?;
        }
    }
    ensure!(
        at.len() > 20 && at.windows(2).all(|pair| pair[0] < pair[1]),
        "lines were written on both sides of each of at least 20 switches: {at:?}"
    );
    device
        .run("touch /run/enough; while systemctl is-active -q writer; do sleep 0.2; done")?
        .succeeds()?;
    let lines = device
        .run("journalctl --no-pager -q -u writer -o cat | grep '^line '")?
        .text();
    let numbers: Vec<usize> = lines.lines().filter_map(number).collect();
    let gaps: Vec<(usize, usize)> = numbers
        .windows(2)
        .filter(|two| two[1] != two[0] + 1)
        .map(|two| (two[0], two[1]))
        .collect();
    if numbers.first() != Some(&1) || !gaps.is_empty() {
        let said = device
            .run("journalctl -b -u systemd-journald -u fleet-journal -o short-monotonic --no-pager; ls -l /var/log/journal/* /run/log/journal/*")?
            .text();
        bail!(
            "they are there once each, and in order, but begin with {:?} and do not go on here: {gaps:?}; the switches were at \
             {at:?}\n{said}",
            numbers.first()
        );
    }
    ensure!(numbers.last() > at.last(), "{:?}", numbers.last());
    for side in ["ram", "flash"] {
        let written = lines.lines().filter(|line| line.ends_with(side)).count();
        ensure!(written > 1000, "{written} lines were written to {side}");
    }
    let paced = device
        .run("journalctl --no-pager -q -u writer -o cat | grep '^wrote '")?
        .text();
    let words: Vec<&str> = paced.split(' ').collect();
    let (written, milliseconds): (usize, usize) = (words[1].parse()?, words[3].parse()?);
    ensure!(
        written == numbers.len() && written > milliseconds * 3 / 4,
        "{paced}"
    );
    device
        .run("systemctl show -P NRestarts systemd-journald")?
        .says("0")?;
    Ok(())
}

#[test]
fn early_lines_are_kept_over_a_power_cut_and_the_key_decides() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    let boot = device.run("tr -d - < /proc/sys/kernel/random/boot_id")?.text();
    device
        .run("fleet config set persistentLogging true")?
        .succeeds()?;
    device.run("fleet journal status")?.mentions("persistent")?;
    device.run("journalctl --sync")?.succeeds()?;
    device.cut()?;
    device
        .run(&format!(
            "journalctl -b {boot} -u fleet-config -o cat --no-pager | wc -l | grep -v '^0$'"
        ))?
        .succeeds()?;
    device
        .run("journalctl -b -u systemd-journald -o cat --no-pager | grep -c 'Journal started'")?
        .succeeds()?;
    device.run(MODE)?.says("persistent")?;
    device.run("fleet config unset persistentLogging")?.succeeds()?;
    device.run(MODE)?.says("volatile")?;
    // What is on flash stays readable.
    device
        .run(&format!(
            "journalctl -b {boot} -u fleet-config -o cat --no-pager | wc -l | grep -v '^0$'"
        ))?
        .succeeds()?;
    Ok(())
}

#[test]
fn a_call_is_for_a_time_and_a_change_of_the_key_ends_it() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    let status = "fleet journal status --json";
    device
        .run("fleet journal persist --for 24h")?
        .succeeds()?
        .mentions("So for 23 h 59 min more, by a call; then volatile")?;
    device
        .run(status)?
        .mentions(r#""override": "persistent""#)?
        .mentions(r#""configured": "volatile""#)?;

    // It outlives a reboot, which costs a 24th.
    device.reboot()?;
    device.run(MODE)?.says("persistent")?;
    device
        .run("fleet journal status")?
        .mentions("So for 22 h 59 min more")?;
    device.cut()?;
    device.run(MODE)?.says("persistent")?;
    device
        .run("fleet journal status")?
        .mentions("So for 21 h 59 min more")?;

    // What the key says already does not end it; a change does.
    device
        .run("fleet config set persistentLogging false")?
        .succeeds()?;
    device.run(MODE)?.says("persistent")?;
    device
        .run("fleet config set persistentLogging true")?
        .succeeds()?;
    device
        .run(status)?
        .mentions(r#""override": null"#)?
        .mentions(r#""configured": "persistent""#)?;

    // The other way, and back.
    device
        .run("fleet journal volatile")?
        .succeeds()?
        .mentions("then persistent")?;
    device.reboot()?;
    device.run(MODE)?.says("volatile")?;
    device.run("fleet journal reset")?.succeeds()?;
    device.run(MODE)?.says("persistent")?;
    // One that says what is so anyway is none.
    device.run("fleet journal persist --for 1h")?.succeeds()?;
    device.run(status)?.mentions(r#""override": null"#)?;

    // It ends by itself.
    device.run("fleet journal volatile --for 60s")?.succeeds()?;
    device.run(MODE)?.says("volatile")?;
    device.soon(Duration::from_secs(100), MODE, "persistent")?;
    device.run("fleet config unset persistentLogging")?.succeeds()?;
    device.run(MODE)?.says("volatile")?;
    device.run("ls /var/lib/fleet/journal")?.says("")?;
    Ok(())
}

#[test]
fn absurd_times_and_limits_are_refused_with_the_rule() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    for (command, rule) in [
        ("persist --for 59s", "60 s to"),
        ("persist --for 32d", "31 days"),
        ("volatile --for 999999d", "31 days"),
        ("persist --max-use 1M", "half of os.journal.maxUse"),
        ("persist --max-use 1000G", "half of os.journal.maxUse"),
        ("persist --keep-free 1K", "os.journal.keepFree"),
        ("persist --keep-free 999G", "64G"),
    ] {
        device
            .run(&format!("fleet journal {command}"))?
            .exits(65)?
            .complains(rule)?;
    }
    device.run("fleet journal persist --for tomorrow")?.exits(2)?;
    small_data(&mut device, "200M")?;
    device
        .run("fleet journal persist --keep-free 1G")?
        .exits(1)?
        .complains("are needed")?;
    device.run(MODE)?.says("volatile")?;
    device.run("ls /var/lib/fleet/journal")?.says("")?;
    Ok(())
}

/// Puts a file system of `size` in the data partition's place, in RAM, so that it can be filled.
fn small_data(device: &mut Device, size: &str) -> Result<()> {
    device
        .run(&format!(
            "umount /var/log/journal && mount -t tmpfs -o size={size} tmpfs /data && \
             install -d -m 2755 -g systemd-journal /data/journal && mount --bind /data/journal /var/log/journal"
        ))?
        .succeeds()?;
    Ok(())
}

#[test]
fn a_full_partition_sends_it_to_ram_and_room_brings_it_back() -> Result<()> {
    let mut device = without_rate_limit()?;
    small_data(&mut device, "400M")?;
    device
        .run("fleet config set persistentLogging true")?
        .succeeds()?;
    device.run(MODE)?.says("persistent")?;
    device
        .run("systemd-run --quiet --unit=writer --collect bash -c 'for ((i = 1; ; i++)); do echo line $i; read -t 0.01 <> <(:); [[ -e /run/enough ]] && break; done'")?
        .succeeds()?;
    device.run("fallocate -l 340M /data/full")?.succeeds()?;
    device.soon(LOOKED, TOLD, "relinquish")?;
    device.run(MODE)?.says("volatile")?;
    device
        .run("fleet journal status")?
        .mentions("Problem: the journal is to be on the data partition and is in RAM")?
        .mentions("are needed")?;
    device.run("fleet status")?.mentions("are needed")?;
    let told =
        "journalctl -u fleet-journal -o cat --no-pager -q | grep -c 'the journal cannot be persistent'";
    device.soon(LOOKED, told, "1")?;
    device.run("rm /data/full")?.succeeds()?;
    device.soon(LOOKED, TOLD, "flush")?;
    device.run(MODE)?.says("persistent")?;
    device.run(told)?.says("1")?;
    device.run("fleet journal status | grep Problem")?.fails()?;
    device
        .run("touch /run/enough; while systemctl is-active -q writer; do sleep 0.2; done")?
        .succeeds()?;
    let lines = "journalctl -u writer -o cat --no-pager -q | sed -n 's/^line //p'";
    let last = device.run(&format!("{lines} | tail -n 1"))?.text();
    device.run(&format!("{lines} | sort -un | wc -l"))?.says(&last)?;
    device.run("systemctl --failed --no-legend")?.says("")?;

    // A call on a full partition is refused, and changes nothing.
    device
        .run("fleet config unset persistentLogging; fallocate -l 340M /data/full")?
        .succeeds()?;
    device
        .run("fleet journal persist")?
        .exits(1)?
        .complains("the journal stays in RAM")?;
    device.run("ls /var/lib/fleet/journal")?.says("")?;
    Ok(())
}

#[test]
fn a_partition_that_goes_away_is_left_and_found_again() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    small_data(&mut device, "400M")?;
    device
        .run("fleet config set persistentLogging true")?
        .succeeds()?;
    device.run(MODE)?.says("persistent")?;
    device
        .run("umount -l /var/log/journal && umount -l /data && umount -l /data; true")?
        .succeeds()?;
    device.soon(LOOKED, TOLD, "relinquish")?;
    device.run(MODE)?.says("volatile")?;
    device.run("fleet journal status")?.mentions("is not")?;
    device
        .run("logger -t after after-it-went && journalctl --sync && journalctl -t after -o cat --no-pager")?
        .says("after-it-went")?;
    device
        .run("mount -t tmpfs -o size=400M tmpfs /data && install -d -m 2755 -g systemd-journal /data/journal && mount --bind /data/journal /var/log/journal")?
        .succeeds()?;
    device.soon(LOOKED, TOLD, "flush")?;
    device.run(MODE)?.says("persistent")?;
    device
        .run("journalctl -t after -o cat --no-pager")?
        .says("after-it-went")?;
    device
        .run("ls /data/journal/*/system.journal | wc -l")?
        .says("1")?;
    Ok(())
}

#[test]
fn a_damaged_file_is_put_aside_and_no_line_is_lost() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    device
        .run("fleet journal persist && fleet journal volatile")?
        .succeeds()?;
    for damage in [
        "dd if=/dev/urandom of=$file bs=256 count=1 conv=notrunc status=none",
        "truncate -s 100 $file",
        ": > $file",
    ] {
        device
            .run(&format!(
                "for file in /var/log/journal/*/system.journal; do {damage}; done; logger -t probe \"$(date +%N) in ram\""
            ))?
            .succeeds()?;
        let line = device
            .run("journalctl -q -t probe -n 1 -o cat --no-pager")?
            .text();
        device
            .run("fleet journal persist")?
            .succeeds()?
            .mentions("persistent")?;
        device
            .run("journalctl -q -t probe -n 1 -o cat --no-pager 2>/dev/null")?
            .says(&line)?;
        device.run("fleet journal volatile")?.succeeds()?;
    }
    device
        .run("ls /var/log/journal/*/ | grep -c 'journal~'")?
        .succeeds()?;
    device.run("fleet journal purge")?.succeeds()?;
    device.run("find /var/log/journal -type f | wc -l")?.says("0")?;
    Ok(())
}

#[test]
fn killed_anywhere_it_ends_where_the_last_call_said() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    // A hundred calls in a row, two callers at once; fleet-journal, the helper and journald die in the middle of them.
    device
        .run(
            "bash -c 'for caller in 1 2; do (for ((i = 0; i < 50; i++)); do fleet journal persist; fleet journal volatile; \
             done) >/dev/null 2>&1 & done; \
             for victim in fleet-journal fleet-helper systemd-journald fleet-journal fleet-helper fleet-journal; do \
             sleep 0.7; systemctl kill -s KILL $victim 2>/dev/null; done; wait'",
        )?
        .succeeds()?;
    for (command, mode) in [
        ("persist", "persistent"),
        ("volatile", "volatile"),
        ("persist", "persistent"),
    ] {
        device.run(&format!("fleet journal {command}"))?.succeeds()?;
        device.run(MODE)?.says(mode)?;
        let ram = "ls /run/log/journal/*/system.journal 2>/dev/null | wc -l";
        device
            .run(ram)?
            .says(if mode == "volatile" { "1" } else { "0" })?;
        device
            .run(&format!(
                "logger -t probe {mode}; journalctl --sync && journalctl -t probe -n 1 -o cat --no-pager"
            ))?
            .says(mode)?;
    }
    device.run("fleet journal status | grep Problem")?.fails()?;
    // Killed in the middle of a switch, it is started for what is left to be done, and goes on with the call.
    device
        .run(
            "systemctl kill -s KILL fleet-journal; systemctl stop fleet-journal; journalctl --relinquish-var",
        )?
        .succeeds()?;
    device.soon(LOOKED, TOLD, "flush")?;
    device.run(MODE)?.says("persistent")?;
    device
        .run("fleet journal status --json")?
        .mentions(r#""override": "persistent""#)?;
    // journald that starts anew goes on where it was.
    device
        .run("systemctl kill -s KILL systemd-journald; sleep 1; journalctl --sync")?
        .succeeds()?;
    device.run(MODE)?.says("persistent")?;
    device.run("fleet journal reset")?.succeeds()?;
    device.run("systemctl --failed --no-legend")?.says("")?;
    Ok(())
}

#[test]
fn what_another_machine_id_left_is_shown_counted_and_purged() -> Result<()> {
    const OTHER: &str = "fedcba9876543210fedcba9876543210";
    let mut device = Device::boot(Tier::Nspawn).start()?;
    device.run("fleet journal persist && logger -t probe from-before && journalctl --sync && fleet journal volatile")?.succeeds()?;
    device
        .run(&format!(
            "mv /var/log/journal/$(cat /etc/machine-id) /var/log/journal/{OTHER}"
        ))?
        .succeeds()?;
    let probe = "journalctl -q -t probe -o cat --no-pager";
    device.run(probe)?.says("")?;
    let usage = "fleet journal status --json | sed -n 's/.*\"usage_bytes\": \\([0-9]*\\).*/\\1/p'";
    let counted: u64 = device.run(usage)?.text().parse()?;
    ensure!(counted > 100_000, "{counted} bytes of the other machine-id");
    // Taken in when something is tidied, also if nothing has to go.
    device
        .run("busctl call org.fleetos.Helper1 /org/fleetos/Helper1 org.fleetos.Helper1 TidyJournal t 1000000000")?
        .says("t 0")?;
    device.run(probe)?.says("from-before")?;
    device
        .run(&format!("test -e /var/log/journal/{OTHER}"))?
        .fails()?;
    device
        .run("fleet journal reset && fleet journal purge")?
        .succeeds()?
        .mentions("Removed")?;
    device.run(probe)?.says("")?;
    device.run(usage)?.says("0")?;
    Ok(())
}

#[test]
fn purge_keeps_what_is_written_to() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    device.run("fleet journal persist")?.succeeds()?;
    device
        .run("logger -t probe before && journalctl --sync && fleet journal purge")?
        .succeeds()?;
    device.run("journalctl -q -t probe -o cat --no-pager")?.says("")?;
    device
        .run("logger -t probe after && journalctl --sync && journalctl -q -t probe -o cat --no-pager")?
        .says("after")?;
    device.run(MODE)?.says("persistent")?;
    device.run("journalctl -q --verify")?.succeeds()?;
    device
        .run("fleet journal volatile && fleet journal purge")?
        .succeeds()?;
    device
        .run("find /var/log/journal -name '*.journal*' | wc -l")?
        .says("0")?;
    device
        .run("logger -t probe later && journalctl --sync && journalctl -q -t probe -o cat --no-pager")?
        .succeeds()?
        .mentions("later")?;
    Ok(())
}

#[test]
fn the_services_that_nobody_needs_leave() -> Result<()> {
    let mut device = Device::boot(Tier::Nspawn).start()?;
    let gone = Duration::from_secs(25);
    device.soon(gone, "systemctl show -P ActiveState fleet-journal", "inactive")?;
    device
        .run("fleet journal persist && systemctl is-active fleet-journal fleet-helper")?
        .succeeds()?;
    device.soon(gone, "systemctl show -P ActiveState fleet-helper", "inactive")?;
    // The journal is on the data partition, and who looks after it is fleet-config.
    device.soon(gone, "systemctl show -P ActiveState fleet-journal", "inactive")?;
    device
        .run("test -e /run/systemd/journal/flushed && systemctl show -P ActiveState fleet-journal")?
        .says("inactive")?;
    device.run("umount -l /var/log/journal")?.succeeds()?;
    device.soon(LOOKED, TOLD, "relinquish")?;
    device.soon(gone, "systemctl show -P ActiveState fleet-journal", "inactive")?;
    let starts = "journalctl -u fleet-journal -o cat --no-pager -q | grep -c '^Started '";
    let before = device.run(starts)?.text();
    // What it cannot help it is not started for again and again.
    device
        .run("sleep 45; test ! -e /run/systemd/journal/flushed")?
        .succeeds()?;
    let after = device.run(starts)?.text();
    if after != before {
        let said = "journalctl -b -u fleet-journal -u fleet-config -o short-monotonic --no-pager | tail -n 40; cat /proc/uptime";
        bail!(
            "it was started {before} times, then {after}: {}",
            device.run(said)?.text()
        );
    }
    device
        .run("mount --bind /data/journal /var/log/journal")?
        .succeeds()?;
    device.soon(LOOKED, TOLD, "flush")?;
    device.run("fleet journal reset")?.succeeds()?;
    device.soon(gone, "systemctl show -P ActiveState fleet-journal", "inactive")?;
    device.run("systemctl --failed --no-legend")?.says("")?;
    Ok(())
}
