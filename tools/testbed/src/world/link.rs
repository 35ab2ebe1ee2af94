//! The world's end of the cable. Under systemd-nspawn it is one end of a pair: what is set down here has no
//! carrier there. A tap has no such end, so its state is mirrored into QEMU's idea of the link.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result};
use serde_json::json;

use crate::boot::Tier;
use crate::qmp::Qmp;
use crate::world::network::INTERFACE;
use crate::world::{Link, Modes};

/// QMP's name of the guest's network card, and the folder's name of the socket that the mirror may use.
pub(crate) const CARD: &str = "nic0";
pub(crate) const SOCKET: &str = "qmp-link.sock";

/// Keeps a QEMU guest's carrier like the world's interface; does nothing under systemd-nspawn.
pub(super) struct Mirror {
    socket: Option<PathBuf>,
}

impl Mirror {
    /// Starts to follow the interface.
    pub(super) fn start(tier: Tier, directory: &Path) -> Result<Self> {
        let mirror = Self {
            socket: (tier == Tier::Qemu).then(|| directory.join(SOCKET)),
        };
        let Some(socket) = mirror.socket.clone() else {
            return Ok(mirror);
        };
        let mut monitor = Command::new("ip")
            .args(["-oneline", "monitor", "link", "dev", INTERFACE])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start ip (package iproute2)")?;
        let lines = monitor.stdout.take().context("no pipe from ip")?;
        thread::spawn(move || {
            let mut last = Link::Up;
            for line in BufReader::new(lines).lines().map_while(Result::ok) {
                let Some(now) = state_in(&line) else { continue };
                // QEMU may not be there yet, or not any more; its start asks for the state itself.
                if now != last && set(&socket, now).is_err() && socket.exists() {
                    eprintln!("world: cannot tell QEMU that the link is {now}");
                }
                last = now;
            }
        });
        Ok(mirror)
    }

    /// Tells QEMU the present state.
    pub(super) fn mirror(&self) -> Result<()> {
        match &self.socket {
            Some(socket) => set(socket, state()?),
            None => Ok(()),
        }
    }
}

fn set(socket: &Path, link: Link) -> Result<()> {
    let arguments = json!({"name": CARD, "up": link == Link::Up});
    Qmp::connect(socket)?.execute("set_link", arguments).map(|_| ())
}

/// Whether the interface is set up or down.
pub(super) fn state() -> Result<Link> {
    let output = Command::new("ip")
        .args(["-oneline", "link", "show", "dev", INTERFACE])
        .output()?;
    let line = String::from_utf8_lossy(&output.stdout).into_owned();
    state_in(&line).with_context(|| format!("cannot see {INTERFACE}: {line:?}"))
}

/// The state in a line of ip(8), which has the flags in angle brackets.
fn state_in(line: &str) -> Option<Link> {
    let (_, flags) = line.split_once('<')?;
    let (flags, _) = flags.split_once('>')?;
    Some(
        if flags
            .split(',')
            .any(|flag| flag == Link::Up.word().to_uppercase())
        {
            Link::Up
        } else {
            Link::Down
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_ip_are_read() {
        let up = "3: world0: <NO-CARRIER,BROADCAST,MULTICAST,UP> mtu 1500 qdisc fq state DOWN";
        let down = "3: world0: <BROADCAST,MULTICAST,LOWER_UP> mtu 1500 qdisc fq state DOWN";
        assert_eq!(state_in(up), Some(Link::Up));
        assert_eq!(state_in(down), Some(Link::Down));
        assert_eq!(state_in(""), None);
    }
}
