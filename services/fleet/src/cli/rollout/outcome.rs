//! Where a device is, and what became of it.

use serde_json::{Value, json};

use super::course::Ending;

/// Where the conversation with a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is asked how it is.
    Asking,
    /// The patch is sent.
    Sending,
    /// The patch is in force; the device has time until it is asked again.
    Settling(Change),
}

/// What was changed on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// The revision from before.
    pub(super) before: u64,
    /// The revision that was made; `None`: whether one was made is not known.
    pub(super) after: Option<u64>,
}

/// How a device ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Changed, and well.
    Done(Change),
    /// It had the values already, at this revision.
    Unchanged(u64),
    /// ssh did not reach it, and nothing was sent. What ssh said.
    Unreachable(String),
    /// Something is wrong.
    Failed(Failed),
}

/// What is wrong with a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) fault: Fault,
    /// A sentence, as the device said it where it did.
    pub(super) reason: String,
    /// What was changed; `None`: nothing.
    pub(super) change: Option<Change>,
}

/// The kinds of wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It did not take the patch.
    Refused,
    /// It took the patch, and a key of it is not in force.
    NotApplied,
    /// It is not at the revision that was set any more.
    Reverted,
    /// It is reachable, and reaches less far than before.
    Degraded,
    /// It cannot be reached any more.
    Lost,
}

impl Fault {
    const fn word(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::NotApplied => "not-applied",
            Self::Reverted => "reverted",
            Self::Degraded => "degraded",
            Self::Lost => "lost",
        }
    }
}

impl Step {
    /// For people and scripts.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Asking => "asking",
            Self::Sending => "sending",
            Self::Settling(_) => "settling",
        }
    }

    /// What is known by now.
    pub(super) const fn change(&self) -> Option<Change> {
        match self {
            Self::Settling(change) => Some(*change),
            Self::Asking | Self::Sending => None,
        }
    }
}

impl Change {
    /// For people.
    pub(super) fn sentence(self) -> String {
        match self.after {
            Some(after) => format!("revision {} → {after}", self.before),
            None => format!("revision {} → not known", self.before),
        }
    }
}

impl Outcome {
    /// For the course.
    pub(super) const fn ending(&self) -> Ending {
        match self {
            Self::Done(_) | Self::Unchanged(_) => Ending::Well,
            Self::Unreachable(_) => Ending::Skipped,
            Self::Failed(_) => Ending::Bad,
        }
    }

    /// For people and scripts.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Unchanged(_) => "unchanged",
            Self::Unreachable(_) => "unreachable",
            Self::Failed(failed) => failed.fault.word(),
        }
    }

    /// What was changed on the device.
    pub(super) const fn change(&self) -> Option<Change> {
        match self {
            Self::Done(change) => Some(*change),
            Self::Failed(failed) => failed.change,
            Self::Unchanged(_) | Self::Unreachable(_) => None,
        }
    }

    /// Why, where something is wrong.
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::Done(_) | Self::Unchanged(_) => "",
            Self::Unreachable(reason) => reason,
            Self::Failed(failed) => &failed.reason,
        }
    }

    /// For people.
    pub(super) fn sentence(&self) -> String {
        match self {
            Self::Done(change) => change.sentence(),
            Self::Unchanged(revision) => format!("revision {revision}"),
            Self::Unreachable(reason) => reason.clone(),
            Self::Failed(failed) => match failed.change {
                Some(change) => format!("{}; {}", change.sentence(), failed.reason),
                None => format!("nothing was changed; {}", failed.reason),
            },
        }
    }
}

/// The members of a device's event that say what is known of it.
pub(super) fn json(host: &str, state: &str, change: Option<Change>, reason: &str) -> Value {
    json!({
        "event": "device",
        "host": host,
        "state": state,
        "revision_before": change.map(|change| change.before),
        "revision": change.and_then(|change| change.after),
        "detail": reason,
    })
}
