//! Something that the helper is asked to do, and asked again a minute later if it could not.

use std::time::Duration;

use fleet_base::pending::Pending;
use tokio::sync::mpsc;

use crate::prober::spawn;

/// When the helper is asked again who could not do it.
const AGAIN: Duration = Duration::from_secs(60);

/// What the helper says: what is in use then, where that is a question.
pub(crate) type Reply = zbus::Result<Vec<String>>;

/// One at a time.
pub(crate) struct Errand {
    /// The helper was asked, and has not answered.
    asked: bool,
    /// When to ask it again, if what it shall do is not done.
    again: Option<Duration>,
    replies: mpsc::Receiver<Reply>,
    reply: mpsc::Sender<Reply>,
}

impl Errand {
    pub(crate) fn new() -> Self {
        let (reply, replies) = mpsc::channel(1);
        Self {
            asked: false,
            again: None,
            replies,
            reply,
        }
    }

    /// The helper was asked, and has not answered.
    pub(crate) const fn is_asked(&self) -> bool {
        self.asked
    }

    /// There is nothing to ask for, or something else.
    pub(crate) const fn forget(&mut self) {
        self.again = None;
    }

    /// Whether it is time to ask.
    pub(crate) fn is_due(&self, now: Duration) -> bool {
        !self.asked && self.again.is_none_or(|again| again <= now)
    }

    /// Asks, in a task of its own.
    pub(crate) fn send(&mut self, now: Duration, work: Pending<'static, Reply>) {
        self.asked = true;
        // In case that it comes to something else.
        self.again = Some(now + AGAIN);
        let reply = self.reply.clone();
        spawn(Box::pin(async move {
            // Nobody there: the service ends.
            let _ = reply.send(work.await).await;
        }));
    }

    /// Waits for the helper's answer. Cancel-safe.
    pub(crate) async fn replied(&mut self) -> Reply {
        match self.replies.recv().await {
            Some(reply) => {
                self.asked = false;
                reply
            }
            // It cannot end: we have an end of it ourselves.
            None => std::future::pending().await,
        }
    }

    /// When to look at it again although nothing has changed.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.again.filter(|_| !self.asked)
    }
}
