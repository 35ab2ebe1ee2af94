//! The world's servers in one process: HTTP and DNS as threads, DHCP as a dnsmasq of ours, and the control
//! socket that changes them at run time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};

use crate::boot::Tier;
use crate::world::{Dhcp, Dns, Http, Modem, Modes, READY, Time, control, dhcp, dns, http, link, modem, time};

/// How the servers behave now, and what it takes to change that.
pub(super) struct Servers {
    directory: PathBuf,
    http: Mutex<http::Server>,
    dns: Arc<Mutex<dns::Behaviour>>,
    dhcp: Mutex<dhcp::Server>,
    time: Arc<Mutex<Time>>,
    link: link::Mirror,
    modem: modem::Server,
}

/// Serves until killed.
pub(super) fn main(tier: Tier, directory: &Path) -> Result<()> {
    let dns = Arc::new(Mutex::new(dns::Behaviour {
        at: HashMap::new(),
        elsewhere: Dns::Ok,
    }));
    dns::start(directory, Arc::clone(&dns))?;
    let time = Arc::new(Mutex::new(Time::Off));
    time::start(Arc::clone(&time))?;
    let servers = Servers {
        directory: directory.to_owned(),
        http: Mutex::new(http::Server::start(directory)?),
        dns,
        dhcp: Mutex::new(dhcp::Server::start(directory)?),
        time,
        link: link::Mirror::start(tier, directory)?,
        modem: modem::Server::start(directory)?,
    };
    let control = control::Socket::bind()?;
    print!("{READY}");
    std::io::Write::flush(&mut std::io::stdout())?;
    control.serve(&servers)
}

impl Servers {
    /// Does what a line from the control socket says; returns what to tell the caller.
    pub(super) fn obey(&self, line: &str) -> Result<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["http", mode] => locked(&self.http).set(mode.parse()?)?,
            ["dns", mode] => locked(&self.dns).elsewhere = Dns::parse(mode)?,
            ["dns", mode, address] => {
                let address = address.parse().context("not an IPv4 address")?;
                locked(&self.dns).at.insert(address, Dns::parse(mode)?);
            }
            ["dhcp", mode] => locked(&self.dhcp).set(mode.parse()?)?,
            ["time", mode] => *locked(&self.time) = Time::parse(mode)?,
            ["modem", mode] => self.modem.set(mode.parse()?)?,
            ["link", "mirror"] => self.link.mirror()?,
            ["log", what @ ("http" | "dns" | "dhcp" | "modem")] => {
                let path = self.directory.join(format!("{what}.log"));
                return std::fs::read_to_string(&path)
                    .with_context(|| format!("cannot read {}", path.display()));
            }
            ["status"] => return self.status(),
            _ => anyhow::bail!("unknown request {line:?}"),
        }
        Ok(String::new())
    }

    fn status(&self) -> Result<String> {
        let http: Http = locked(&self.http).mode();
        let dns: String = {
            let dns = locked(&self.dns);
            let at = dns
                .at
                .iter()
                .map(|(address, mode)| format!(", {mode} at {address}"));
            format!("{}{}", dns.elsewhere, at.collect::<String>())
        };
        let dhcp: Dhcp = locked(&self.dhcp).mode();
        let time: Time = *locked(&self.time);
        let modem: Modem = self.modem.mode();
        Ok(format!(
            "http {http}\ndns {dns}\ndhcp {dhcp}\ntime {time}\nmodem {modem}\nlink {}\n",
            link::state()?
        ))
    }
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
