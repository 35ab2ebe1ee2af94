//! NetworkManager's connectivity check, made when what it found may be out of date.

use std::time::Duration;

use fleet_base::boot_clock;
use tokio::sync::mpsc;
use zbus::Connection;

use crate::network_manager::check_connectivity;
use crate::prober::spawn;

/// Outcomes that may wait to be taken; an older one is as good.
const OUTCOMES: usize = 2;

/// Has it made.
pub(crate) struct Checks {
    done: mpsc::Receiver<Duration>,
    tell: mpsc::Sender<Duration>,
}

impl Checks {
    pub(crate) fn new() -> Self {
        let (tell, done) = mpsc::channel(OUTCOMES);
        Self { done, tell }
    }

    /// Makes NetworkManager check. What has changed by that comes as a signal too.
    pub(crate) fn ask(&self, connection: &Connection) {
        let (connection, tell, asked) = (connection.clone(), self.tell.clone(), boot_clock::now());
        spawn(Box::pin(async move {
            match check_connectivity(&connection).await {
                // Nobody there, or enough of them: what is told is that one asked at that time is done.
                Ok(true) => drop(tell.send(asked).await),
                Ok(false) => {}
                Err(error) => log::debug!("cannot make NetworkManager check: {error}"),
            }
        }));
    }

    /// Waits until a check is done, and says when it was asked for. Cancel-safe.
    pub(crate) async fn done(&mut self) -> Duration {
        match self.done.recv().await {
            Some(asked) => asked,
            // It cannot end: we have an end of it ourselves.
            None => std::future::pending().await,
        }
    }
}
