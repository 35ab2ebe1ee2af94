//! DHCP by dnsmasq(8), with its DNS half switched off.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::guest::tail;
use crate::world::Dhcp;
use crate::world::network::{ADDRESS, FALSE_TIME, INTERFACE, POOL};

/// How long dnsmasq may take to listen.
const STARTING: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(5);

/// The DHCP server, running or not.
pub(super) struct Server {
    directory: PathBuf,
    mode: Dhcp,
    process: Option<Child>,
}

impl Server {
    /// Starts to serve.
    pub(super) fn start(directory: &Path) -> Result<Self> {
        let mut server = Self {
            directory: directory.to_owned(),
            mode: Dhcp::Off,
            process: None,
        };
        server.set(Dhcp::On)?;
        Ok(server)
    }

    pub(super) fn mode(&self) -> Dhcp {
        self.mode
    }

    pub(super) fn set(&mut self, mode: Dhcp) -> Result<()> {
        if mode == self.mode {
            return Ok(());
        }
        if let Some(mut process) = self.process.take() {
            process
                .kill()
                .and_then(|()| process.wait())
                .context("cannot end dnsmasq")?;
        }
        self.mode = mode;
        if mode != Dhcp::Off {
            self.process = Some(self.spawn()?);
        }
        Ok(())
    }

    /// Returns when the server can be asked.
    fn spawn(&self) -> Result<Child> {
        let mut dnsmasq = self
            .command()?
            .spawn()
            .context("cannot start dnsmasq (package dnsmasq-base): run `cargo xtask setup`")?;
        let deadline = Instant::now() + STARTING;
        while !is_bound(&std::fs::read_to_string("/proc/net/udp").context("cannot read /proc/net/udp")?) {
            if let Some(status) = dnsmasq.try_wait()? {
                bail!("dnsmasq failed ({status}): {}", tail(&self.log(), 3));
            }
            ensure!(
                Instant::now() < deadline,
                "dnsmasq does not listen: {}",
                tail(&self.log(), 3)
            );
            thread::sleep(TICK);
        }
        Ok(dnsmasq)
    }

    fn log(&self) -> PathBuf {
        self.directory.join("dhcp.log")
    }

    fn command(&self) -> Result<Command> {
        let log = OpenOptions::new().create(true).append(true).open(self.log())?;
        let mut command = Command::new("dnsmasq");
        command
            .args([
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--log-facility=-",
                "--user=root",
                // The default is one for the whole machine.
                "--pid-file=",
            ])
            .args(["--port=0", "--dhcp-authoritative"])
            .arg(format!("--interface={INTERFACE}"))
            // Without looking for a squatter first, which costs the guest three seconds.
            .arg("--no-ping")
            .arg(format!("--dhcp-range={},{},1h", POOL.0, POOL.1))
            .arg(match self.mode {
                // Without a value it is left out; without the option it would be dnsmasq's own address.
                Dhcp::NoGateway => "--dhcp-option=option:router".to_owned(),
                _ => format!("--dhcp-option=option:router,{ADDRESS}"),
            })
            .arg(format!("--dhcp-option=option:dns-server,{ADDRESS}"))
            .args(match self.mode {
                Dhcp::TimeServer => Some(format!("--dhcp-option=option:ntp-server,{ADDRESS}")),
                Dhcp::FalseTimeServer => Some(format!("--dhcp-option=option:ntp-server,{FALSE_TIME}")),
                _ => None,
            })
            .arg(format!(
                "--dhcp-leasefile={}",
                self.directory.join("leases").display()
            ))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        Ok(command)
    }
}

/// Whether somebody listens on the DHCP server's port; the table is that of proc_net(5).
fn is_bound(sockets: &str) -> bool {
    sockets.lines().any(|line| {
        line.split_whitespace()
            .nth(1)
            .is_some_and(|local| local.ends_with(":0043"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_seen_by_its_port() {
        let head = "   sl  local_address rem_address   st tx_queue rx_queue\n";
        assert!(is_bound(&format!(
            "{head}  67: 00000000:0043 00000000:0000 07 00000000:00000000\n"
        )));
        assert!(!is_bound(&format!(
            "{head}  53: 00000000:0035 00000000:0043 07 00000000:00000000\n"
        )));
    }
}
