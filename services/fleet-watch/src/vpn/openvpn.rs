//! Follows OpenVPN on its management socket.
//!
//! That there shall be a VPN is told by fleet-config's file, that OpenVPN runs by its socket, and that it has ended, however
//! it did, by the end of the connection: nothing that it said before outlives it.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fleet_base::paths::{OPENVPN_CONFIG, RUN_VPN, VPN_SOCKET_FOLDER};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::NAME;
use super::folder::Folders;
use super::management::{Line, QUESTIONS};
use super::tunnel::Tunnel;
use crate::snapshot::{Snapshot, Vpn};

/// The socket, below its folder.
const SOCKET: &str = "management";
/// OpenVPN makes the socket, and listens a moment later.
const LISTENING: Duration = Duration::from_millis(200);
/// A socket that nobody listens on may be one that OpenVPN left: the next one makes a new one, which is noticed.
const TRIES: u32 = 10;
/// When to try again what should not fail.
const AGAIN: Duration = Duration::from_secs(30);
/// It tells its byte counts every five minutes: one that said nothing for so long is stuck.
const QUIET: Duration = Duration::from_secs(330);
/// More than any line of OpenVPN's has.
const MAX_LINE: usize = 8 * 1024;

/// The VPN by OpenVPN.
#[derive(Default)]
pub(crate) struct OpenVpn {
    /// `None`: there shall be none.
    vpn: Mutex<Option<Vpn>>,
    changed: Notify,
}

impl OpenVpn {
    /// Begins to follow, in a task of its own.
    pub(crate) fn follow() -> Arc<Self> {
        let openvpn = Arc::new(Self::default());
        let own = Arc::clone(&openvpn);
        tokio::spawn(async move {
            loop {
                if let Err(error) = own.run().await {
                    log::warn!("cannot follow OpenVPN: {error}");
                }
                sleep(AGAIN).await;
            }
        });
        openvpn
    }

    /// Waits for a change since the last call. Cancel-safe.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Adds it to what NetworkManager knows.
    pub(crate) fn add_to(&self, snapshot: &mut Snapshot) {
        if let Snapshot::Read(network) = snapshot {
            let vpn = self.vpn.lock().unwrap_or_else(PoisonError::into_inner);
            network.vpns.extend(vpn.clone());
        }
    }

    fn publish(&self, tunnel: Option<&Tunnel>) {
        let next = tunnel.map(|tunnel| {
            let (state, trouble) = tunnel.state();
            Vpn {
                name: NAME.to_owned(),
                state,
                trouble,
                proven: true,
                counts: tunnel.counts(),
            }
        });
        let mut vpn = self.vpn.lock().unwrap_or_else(PoisonError::into_inner);
        if *vpn != next {
            *vpn = next;
            self.changed.notify_one();
        }
    }

    async fn run(&self) -> io::Result<()> {
        let folders = Folders::watch(&[RUN_VPN, VPN_SOCKET_FOLDER])?;
        let mut tunnel = Tunnel::default();
        let mut tries = 0;
        loop {
            if !is_wanted() {
                tunnel = Tunnel::default();
                self.publish(None);
                folders.changed().await?;
                continue;
            }
            match UnixStream::connect(Path::new(VPN_SOCKET_FOLDER).join(SOCKET)).await {
                Ok(stream) => {
                    tries = 0;
                    tunnel.arrived();
                    let ended = self.listen(&stream, &folders, &mut tunnel).await;
                    tunnel.gone();
                    log::debug!("OpenVPN's management socket is closed: {ended:?}");
                    // Looked at again first: it is taken away before OpenVPN is stopped.
                    if is_wanted() {
                        self.publish(Some(&tunnel));
                    }
                }
                Err(_) => {
                    self.publish(Some(&tunnel));
                    let changed = folders.changed();
                    let names = if tries < TRIES {
                        tries += 1;
                        timeout(LISTENING, changed)
                            .await
                            .unwrap_or_else(|_| Ok(Vec::new()))?
                    } else {
                        changed.await?
                    };
                    if !names.is_empty() {
                        tries = 0;
                    }
                    if names.iter().any(|name| name == OPENVPN_CONFIG) {
                        tunnel.renewed();
                    }
                }
            }
        }
    }

    /// Listens until OpenVPN closes the connection.
    async fn listen(&self, stream: &UnixStream, folders: &Folders, tunnel: &mut Tunnel) -> io::Result<()> {
        ask(stream).await?;
        self.publish(Some(tunnel));
        let mut pending = Vec::new();
        loop {
            tokio::select! {
                ready = stream.ready(Interest::READABLE) => { ready?; }
                () = sleep(QUIET), if tunnel.expects_word() => {
                    tunnel.is_stuck();
                    self.publish(is_wanted().then_some(&*tunnel));
                    continue;
                }
                names = folders.changed() => {
                    if names?.iter().any(|name| name == OPENVPN_CONFIG) {
                        tunnel.renewed();
                        self.publish(is_wanted().then_some(&*tunnel));
                    }
                    continue;
                }
            }
            let mut piece = [0; 2048];
            match stream.try_read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(length) => pending.extend_from_slice(&piece[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            }
            let Some(end) = pending.iter().rposition(|byte| *byte == b'\n') else {
                if pending.len() > MAX_LINE {
                    pending.clear();
                }
                continue;
            };
            let whole: Vec<u8> = pending.drain(..=end).collect();
            for line in String::from_utf8_lossy(&whole).lines() {
                if let Some(line) = Line::read(line.trim_end()) {
                    tunnel.hear(line);
                }
            }
            // What was taken away is stopped next, which is no news.
            if is_wanted() {
                self.publish(Some(tunnel));
            }
        }
    }
}

fn is_wanted() -> bool {
    Path::new(RUN_VPN).join(OPENVPN_CONFIG).exists()
}

/// Sends the questions. They fit into the socket's buffer, which is empty.
async fn ask(stream: &UnixStream) -> io::Result<()> {
    stream.ready(Interest::WRITABLE).await?;
    match stream.try_write(QUESTIONS) {
        Ok(length) if length == QUESTIONS.len() => Ok(()),
        Ok(_) => Err(io::ErrorKind::WriteZero.into()),
        Err(error) => Err(error),
    }
}
