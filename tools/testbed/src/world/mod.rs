//! The world around a guest: a network namespace in which every address and every name leads to us, with DHCP,
//! DNS and an HTTP server for the connectivity check that misbehave when told to.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::str::FromStr;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail, ensure};

use crate::guest::{Streams, captured, wait};
use crate::output::Output;
use crate::run::{Run, SpawnApart};

pub mod command;
mod control;
mod dhcp;
mod dns;
mod http;
mod init;
mod link;
mod log;
mod mdns;
mod modem;
mod network;
mod relay;
mod serve;
mod time;

pub(crate) use link::{CARD, SOCKET};
pub(crate) use modem::SOCKETS as MODEM_SOCKETS;
pub use network::{ADDRESS, FALSE_TIME, INTERFACE, SECOND_ADDRESS};
pub(crate) use network::{GUEST_INTERFACE, GUEST_MAC, SECOND_INTERFACE};

/// What process 1 of a run says once the world is there.
pub(crate) const READY: &str = "ready\n";

/// The running executable, if it answers to the name `world`.
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// How a closed list of modes is written on the command line: each with its word and what it does.
pub(crate) trait Modes: Copy + PartialEq + 'static {
    /// What is set.
    const WHAT: &'static str;
    /// All of them, the usual one first.
    const ALL: &'static [(Self, &'static str, &'static str)];

    /// The mode's word.
    fn word(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(mode, ..)| *mode == self)
            .map_or("", |(_, word, _)| word)
    }

    /// The mode of a word.
    fn parse(word: &str) -> Result<Self> {
        match Self::ALL.iter().find(|(_, known, _)| *known == word) {
            Some((mode, ..)) => Ok(*mode),
            None => bail!(
                "{} cannot be {word:?}: it is one of {}",
                Self::WHAT,
                Self::ALL
                    .iter()
                    .map(|(_, word, _)| *word)
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        }
    }
}

macro_rules! modes {
    ($(#[$doc:meta])* $name:ident, $what:literal: $($mode:ident = $word:literal, $means:literal;)*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $(#[doc = $means] $mode,)*
        }

        impl Modes for $name {
            const WHAT: &'static str = $what;
            const ALL: &'static [(Self, &'static str, &'static str)] = &[$(($name::$mode, $word, $means),)*];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }

        impl FromStr for $name {
            type Err = anyhow::Error;
            fn from_str(word: &str) -> Result<Self> {
                Self::parse(word)
            }
        }
    };
}

modes! {
    /// How the HTTP server behaves, at every address on port 80.
    Http, "http":
    Ok = "ok", "answers every request with 204 and no body";
    Redirect = "redirect", "answers 302 to a login page, as a captive portal does";
    Wrong = "wrong", "answers 200 with a page that nobody asked for";
    Past = "past", "answers every request with 204, and that it is a year ago";
    Fault = "fault", "answers 503, as a server with a fault of its own does";
    Silent = "silent", "accepts connections and never answers";
    Reset = "reset", "accepts connections and resets them at the request";
    Refuse = "refuse", "refuses connections";
}

modes! {
    /// How the DNS server behaves, at every address on port 53, or at one of them.
    Dns, "dns":
    Ok = "ok", "answers every name with the world's own address";
    Silent = "silent", "never answers";
    Refuse = "refuse", "answers REFUSED";
    Servfail = "servfail", "answers SERVFAIL";
    Wrong = "wrong", "answers that no name exists (NXDOMAIN)";
    Lie = "lie", "answers every name with an address at which a portal answers";
}

modes! {
    /// Whether there is a DHCP server, and what it gives.
    Dhcp, "dhcp":
    On = "on", "there is one";
    NoGateway = "no-gateway", "there is one, and its leases have no gateway";
    TimeServer = "time-server", "there is one, and its leases name the world as the time server";
    FalseTimeServer = "false-time-server", "there is one, and its leases name a time server that is a year ahead";
    Off = "off", "there is none; a lease that was given stays valid";
}

modes! {
    /// How the time server behaves, at the world's own address.
    Time, "time":
    Off = "off", "never answers";
    On = "on", "tells the host's time";
    Ahead = "ahead", "tells a time that is an hour ahead";
}

modes! {
    /// A thing that is there or not.
    Switch, "the switch":
    On = "on", "there";
    Off = "off", "not there";
}

modes! {
    /// The modem on a serial port of a guest in QEMU, its SIM, and its network.
    Modem, "modem":
    Off = "off", "not plugged in";
    On = "on", "registered, and a call is answered";
    Silent = "silent", "registered, and nothing comes through in a call";
    NoCarrier = "no-carrier", "registered, and no call is answered";
    Searching = "searching", "finds no network";
    Denied = "denied", "no network takes the SIM";
    NoSim = "no-sim", "has no SIM, where it was plugged in like this";
    Pin = "pin", "has a SIM that wants its PIN, 1234, where it was plugged in like this";
}

modes! {
    /// The world's end of the cable.
    Link, "link":
    Up = "up", "the guest has a carrier";
    Down = "down", "the guest has none";
}

/// Lets the running executable play the `world` command when it is called by that name. To be called first in
/// `main`; returns `None` in every other case.
pub fn applet() -> Option<std::process::ExitCode> {
    let called = std::env::args_os().next().unwrap_or_default();
    if Path::new(&called).file_name().is_some_and(|name| name == "world") {
        return Some(command::main());
    }
    if let Ok(program) = std::env::current_exe() {
        let _ = PROGRAM.set(program);
    }
    None
}

/// The executable of the `world` command: this one, or the one that cargo built beside a system test.
pub(crate) fn program() -> Result<PathBuf> {
    if let Some(program) = PROGRAM.get() {
        return Ok(program.clone());
    }
    let own = std::env::current_exe().context("cannot find the running executable")?;
    let found = own
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("world"))
        .find(|path| path.is_file());
    found.with_context(|| {
        format!(
            "there is no `world` command beside {}: build the testbed crate",
            own.display()
        )
    })
}

/// The world of one device.
#[derive(Debug, Clone, Copy)]
pub struct World<'run> {
    run: &'run Run,
}

impl<'run> World<'run> {
    pub(crate) fn of(run: &'run Run) -> Self {
        Self { run }
    }

    /// Runs a command in the world with `sh -c`, its output going to `streams` as it comes; returns its exit
    /// code. The host's own tools and the [`command`] `world` are on its PATH.
    pub fn stream(&self, command: &str, streams: Streams) -> Result<i32> {
        let here = std::env::current_dir().context("cannot find the working directory")?;
        let mut child = self
            .run
            .enter(&here, "sh")
            .args(["-c", command])
            .stdout(Stdio::from(streams.stdout))
            .stderr(Stdio::from(streams.stderr))
            .spawn_apart()
            .context("cannot start nsenter (util-linux)")?;
        wait(&mut child)
    }

    /// Runs a command in the world and keeps its output.
    pub fn run(&self, command: &str) -> Result<Output> {
        captured(&self.run.directory().join("out"), command, |streams| {
            self.stream(command, streams)
        })
    }

    /// A command line for ssh's `ProxyCommand` (ssh_config(5)): by it a program outside reaches the device, although
    /// its world is a network of its own.
    pub fn proxy_command(&self) -> String {
        format!(
            "{} {} connect %h %p",
            self.run.enter_network(),
            self.run.directory().join("bin/world").display()
        )
    }

    /// Tells the HTTP server how to behave.
    pub fn http(&self, mode: Http) -> Result<()> {
        self.tell(&format!("http {mode}"))
    }

    /// Tells the DNS server how to behave.
    pub fn dns(&self, mode: Dns) -> Result<()> {
        self.tell(&format!("dns {mode}"))
    }

    /// Tells the DNS server how to behave at one address, whatever it does at the others.
    pub fn dns_at(&self, address: &str, mode: Dns) -> Result<()> {
        self.tell(&format!("dns {mode} {address}"))
    }

    /// Starts or stops the DHCP server.
    pub fn dhcp(&self, mode: Dhcp) -> Result<()> {
        self.tell(&format!("dhcp {mode}"))
    }

    /// Lets the gateway fall silent behind a link that stays up, or speak again.
    pub fn gateway(&self, mode: Switch) -> Result<()> {
        self.tell(&format!("gateway {mode}"))
    }

    /// Gives the guest a second cable, whose other end has the address [`SECOND_ADDRESS`]; there is no DHCP on it. Under
    /// systemd-nspawn it is `eth1`, in QEMU the one of [`Boot::with_second_card`](crate::Boot::with_second_card).
    pub fn second_uplink(&self) -> Result<()> {
        self.tell("second-uplink")
    }

    /// Tells the time server how to behave.
    pub fn time(&self, mode: Time) -> Result<()> {
        self.tell(&format!("time {mode}"))
    }

    /// Plugs the modem of a guest in QEMU in or out, or has it and its network behave like this. What is wrong with a SIM
    /// is found out about by a modem that is plugged in anew.
    pub fn modem(&self, mode: Modem) -> Result<()> {
        self.tell(&format!("modem {mode}"))
    }

    /// Plugs the guest's cable in or out.
    pub fn link(&self, mode: Link) -> Result<()> {
        self.tell(&format!("link {mode}"))
    }

    /// What the world was asked so far; `what` is `http`, `dns`, `dhcp`, or `modem` for its commands.
    pub fn log(&self, what: &str) -> Result<String> {
        Ok(self.run(&format!("world log {what}"))?.succeeds()?.text())
    }

    fn tell(&self, words: &str) -> Result<()> {
        let output = self.run(&format!("world {words}"))?;
        ensure!(output.code == 0, "the world did not obey\n{output}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_is_its_own_word() {
        for (mode, word, _) in Http::ALL {
            assert_eq!(word.parse::<Http>().unwrap(), *mode);
            assert_eq!(mode.to_string(), *word);
        }
        let error = "slow".parse::<Dns>().unwrap_err().to_string();
        assert_eq!(
            error,
            "dns cannot be \"slow\": it is one of ok, silent, refuse, servfail, wrong, lie"
        );
    }
}
