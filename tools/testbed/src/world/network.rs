//! The world's network: one interface toward the guest, and rules by which every address is the world's own.

use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::boot::Tier;
use crate::world::Switch;

/// The world's interface toward the guest.
pub const INTERFACE: &str = "world0";
/// The world's address: the guest's gateway, DNS and DHCP server, and what every name resolves to.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 31, 77, 1);
/// The world's end of the second cable, if there is one.
pub(crate) const SECOND_INTERFACE: &str = "world1";
/// The world's address on the second cable.
pub const SECOND_ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 31, 78, 1);
/// The guest's end.
const SECOND_GUEST_INTERFACE: &str = "eth1";
/// Where a lying DNS server leads to.
pub(super) const LIE: Ipv4Addr = Ipv4Addr::new(10, 66, 66, 66);
/// Where a time server is a year ahead.
pub const FALSE_TIME: Ipv4Addr = Ipv4Addr::new(10, 66, 66, 67);
/// The prefix that is on the link.
pub(super) const PREFIX: u8 = 24;
/// The addresses that DHCP gives away.
pub(super) const POOL: (Ipv4Addr, Ipv4Addr) =
    (Ipv4Addr::new(172, 31, 77, 10), Ipv4Addr::new(172, 31, 77, 99));
/// The guest's end under systemd-nspawn, before it is moved into the guest and after the guest has gone.
pub(crate) const GUEST_INTERFACE: &str = "eth0";
/// The guest's hardware address, the same at every boot and in every tier.
pub(crate) const GUEST_MAC: &str = "52:54:00:f1:ee:70";

/// Makes the network in the calling process's namespace.
pub(super) fn make(tier: Tier) -> Result<()> {
    ip("link set lo up")?;
    match tier {
        Tier::Nspawn => {
            ip(&format!(
                "link add {INTERFACE} type veth peer name {GUEST_INTERFACE} address {GUEST_MAC}"
            ))?;
        }
        Tier::Qemu => {
            for interface in [INTERFACE, SECOND_INTERFACE] {
                ip(&format!("tuntap add dev {interface} mode tap"))?;
            }
        }
    }
    furnish(INTERFACE, ADDRESS)?;
    any_address_is_ours()
}

/// Gives an interface its address, and sets it up.
fn furnish(interface: &str, address: Ipv4Addr) -> Result<()> {
    ip(&format!("address add {address}/{PREFIX} dev {interface}"))?;
    // Asked who has an address (ARP), only answer for this interface's own: not for all that are local by the
    // routes below, or the guest finds every lease in use already.
    let path = format!("/proc/sys/net/ipv4/conf/{interface}/arp_ignore");
    std::fs::write(&path, "1").with_context(|| format!("cannot write {path}"))?;
    ip(&format!("link set {interface} up"))
}

/// Whether anything is taken that comes over the guest's first cable. A packet without a route in is dropped, and the
/// kernel answers ARP only where it would take the packet (`arp_process`).
pub(super) fn gateway(mode: Switch) -> Result<()> {
    let verb = match mode {
        Switch::Off => "add",
        Switch::On => "del",
    };
    ip(&format!("rule {verb} pref 1 iif {INTERFACE} blackhole"))
}

/// A second cable. QEMU's card has it from the start, and somebody is at its other end from now on. A container's end is
/// moved into the guest, which is found by its process 1.
pub(super) fn second_uplink() -> Result<()> {
    if ip(&format!("link show dev {SECOND_INTERFACE}")).is_ok() {
        return furnish(SECOND_INTERFACE, SECOND_ADDRESS);
    }
    ip(&format!(
        "link add {SECOND_INTERFACE} type veth peer name {SECOND_GUEST_INTERFACE}"
    ))?;
    furnish(SECOND_INTERFACE, SECOND_ADDRESS)?;
    let guest = guest().context("there is no guest under systemd-nspawn")?;
    ip(&format!("link set {SECOND_GUEST_INTERFACE} netns {guest}"))
}

/// The guest's process 1, by its number here: the only one that is number 1 in a namespace of its own.
fn guest() -> Option<u32> {
    let is_guest = |process: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        numbers.is_some_and(|numbers| {
            let numbers: Vec<&str> = numbers.split_whitespace().collect();
            numbers.len() > 1 && numbers.last() == Some(&"1")
        })
    };
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    let mut processes = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    processes.find(is_guest)
}

/// Makes every address without a better route a local one ("AnyIP"), so that a server listening on all addresses
/// is reached at any. The route has to be in the table `local`, where the kernel looks up the source address
/// of an answer. That table is asked first, and would then swallow the guest's address as well: so it is asked
/// without this route first, then `main`, then with it; see `suppress_prefixlength` in ip-rule(8).
fn any_address_is_ours() -> Result<()> {
    ip("route add local default dev lo table local")?;
    ip("rule add pref 5 lookup local suppress_prefixlength 0")?;
    ip("rule add pref 10 lookup main")?;
    ip("rule add pref 20 lookup local")?;
    ip("rule del pref 0")
}

/// Runs ip(8) with these words.
pub(super) fn ip(words: &str) -> Result<()> {
    let output = Command::new("ip")
        .args(words.split(' '))
        .output()
        .context("cannot start ip (package iproute2)")?;
    ensure!(
        output.status.success(),
        "ip {words}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
