//! The repair ladder: from a fault that holds to a step of the helper's, within a budget that outlives a reboot.
//!
//! verdict → [`course`] (pure: what is ill, for how long, what was tried) → a step → the helper → [`record`]. Which fault has
//! which steps is in [`table`]. See `docs/connectivity.md`, "Repairs".

mod course;
mod record;
mod table;

use std::path::Path;
use std::time::Duration;

use fleet_base::bus::sentence;
use fleet_base::proxy::helper::HelperProxy;
use fleet_base::{logging, paths};
use log::Level as Priority;
use zbus::Connection;

pub(crate) use self::course::Allowed;
use self::course::{Courses, Next, View};
pub(crate) use self::record::Entry;
use self::record::Record;
use crate::errand::{Errand, Reply};
use crate::ladder::{Outcome, Reason, Step};
use crate::settings::Settings;
use crate::snapshot::Snapshot;
use crate::verdict::Verdict;

/// The journal's `MESSAGE_ID` of a step, of its outcome, and of a budget that is spent. Part of the interface: never changed.
pub(crate) const MESSAGE_ID: &str = "dbf23a39d4694440885c6c59ebec2374";

/// What is published of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Repairs {
    /// `off`, `idle`, `waiting`, `acting` or `spent`.
    pub(crate) state: &'static str,
    /// What that is about; empty if nothing.
    pub(crate) subject: String,
    /// When something is done next, in microseconds of `CLOCK_BOOTTIME`; 0 for never.
    pub(crate) at: u64,
    /// The last steps, the oldest first.
    pub(crate) steps: Vec<Entry>,
}

/// Keeps it going.
pub(crate) struct Repair {
    connection: Connection,
    allowed: Allowed,
    record: Record,
    courses: Courses,
    /// What is to come.
    next: Next,
    /// What the helper was asked for.
    acting: Option<String>,
    /// There was an uplink since the service started, so that none is a fault and no way of the board.
    had_uplink: bool,
    /// Nothing of the record outlives a reboot.
    is_volatile: bool,
    settles: Option<Duration>,
    errand: Errand,
}

impl Repair {
    pub(crate) fn new(connection: Connection, settings: &Settings, now: Duration) -> Self {
        Self {
            connection,
            allowed: settings.repair,
            record: Record::read(Path::new(paths::REPAIRS), now),
            courses: Courses::default(),
            next: Next::Idle,
            acting: None,
            had_uplink: false,
            is_volatile: Path::new(paths::STATE_VOLATILE_FLAG).exists(),
            settles: None,
            errand: Errand::new(),
        }
    }

    /// The configuration was applied, and may say something else.
    pub(crate) fn set(&mut self, settings: &Settings, now: Duration) {
        self.allowed = settings.repair;
        self.courses.note_change(now);
    }

    /// Looks at how everything is, and does what is due.
    pub(crate) fn tend(&mut self, snapshot: &Snapshot, verdict: &Verdict, now: Duration) {
        self.had_uplink |= !verdict.uplinks.is_empty();
        let wireguard = Path::new(paths::RUN_VPN).join(paths::WIREGUARD_PROFILE).exists();
        let view = View::new(snapshot, verdict, self.had_uplink, wireguard, &self.record);
        let time = self.record.time(now);
        for (subject, outcome) in self
            .courses
            .follow(&view, &mut self.record, self.allowed.after, now, time)
        {
            self.tell_outcome(&subject, outcome);
        }
        self.settles = self.courses.settles(now);
        if self.acting.is_some() {
            return;
        }
        let allowed = Allowed {
            reboot: self.allowed.reboot && !self.is_volatile,
            ..self.allowed
        };
        let next = self.courses.next(&view, &self.record, allowed, now, time);
        match &next {
            Next::Take(step, subject, reason) => self.take(*step, subject, *reason, now),
            Next::Spent(_, subject) if !matches!(self.next, Next::Spent(..)) => tell(
                Priority::Warn,
                &format!(
                    "nothing more is repaired for {subject} by now: every step was tried as often as it may be"
                ),
                &[
                    ("FLEET_REPAIR_SUBJECT", subject),
                    ("FLEET_REPAIR_OUTCOME", "spent"),
                ],
            ),
            _ => {}
        }
        self.next = next;
    }

    fn take(&mut self, step: Step, subject: &str, reason: Reason, now: Duration) {
        let reason = reason.as_str();
        let time = self.record.time(now);
        let kept = self.record.begin(step, subject, reason, time);
        self.courses.note(subject, true, now);
        if let Err(error) = &kept {
            log::warn!("a reboot gives a new budget of repairs: {error}");
            if step == Step::Reboot {
                self.end(subject, Some("it would not be remembered"));
                return;
            }
        }
        let name = step.as_str();
        tell(
            Priority::Warn,
            &format!("repair: {name} for {subject}, because of {reason}"),
            &[
                ("FLEET_REPAIR_STEP", name),
                ("FLEET_REPAIR_SUBJECT", subject),
                ("FLEET_REPAIR_OUTCOME", Outcome::Begun.as_str()),
                ("FLEET_REASON", reason),
            ],
        );
        self.acting = Some(subject.to_owned());
        let (connection, subject) = (self.connection.clone(), subject.to_owned());
        let work = async move {
            let helper = HelperProxy::new(&connection);
            let done = match step {
                Step::Reboot => helper.reboot(reason).await,
                step => helper.repair(step.as_str(), &subject).await,
            };
            done.map(|()| Vec::new())
        };
        self.errand.send(now, Box::pin(work));
    }

    /// Waits for the helper's answer. Cancel-safe. Returns when it came.
    pub(crate) async fn replied(&mut self) -> Reply {
        self.errand.replied().await
    }

    /// Takes the helper's answer.
    pub(crate) fn take_reply(&mut self, reply: &Reply, now: Duration) {
        let Some(subject) = self.acting.take() else { return };
        self.courses.note(&subject, false, now);
        if let Err(error) = reply {
            self.end(&subject, Some(&sentence(error)));
        }
    }

    /// A step could not be done.
    fn end(&mut self, subject: &str, failure: Option<&str>) {
        if let (Some(entry), Some(failure)) = (self.record.open(subject), failure) {
            entry.outcome = Outcome::Failed;
            failure.clone_into(&mut entry.detail);
            self.tell_outcome(subject, Outcome::Failed);
        }
    }

    fn tell_outcome(&self, subject: &str, outcome: Outcome) {
        let Some(entry) = self.record.last(subject) else {
            return;
        };
        let (step, name) = (entry.step.as_str(), outcome.as_str());
        let (priority, what) = match outcome {
            Outcome::Repaired => (Priority::Info, "is well after"),
            Outcome::Failed => (Priority::Warn, "could not be given"),
            _ => (Priority::Warn, "is not well after"),
        };
        let mut message = format!("repair: {subject} {what} {step}");
        if !entry.detail.is_empty() {
            message += ": ";
            message += &entry.detail;
        }
        tell(
            priority,
            &message,
            &[
                ("FLEET_REPAIR_STEP", step),
                ("FLEET_REPAIR_SUBJECT", subject),
                ("FLEET_REPAIR_OUTCOME", name),
                ("FLEET_REASON", &entry.reason),
            ],
        );
    }

    /// When to [`tend`](Self::tend) it again although nothing has changed.
    pub(crate) fn due(&self) -> Option<Duration> {
        let next = match &self.next {
            _ if self.acting.is_some() => None,
            Next::At(at, _) | Next::Spent(at, _) => Some(*at),
            Next::Idle | Next::Take(..) => None,
        };
        [next, self.settles].into_iter().flatten().min()
    }

    /// Says in the explanation that nothing more is done.
    pub(crate) fn add_to(&self, verdict: &mut Verdict) {
        if matches!(self.next, Next::Spent(..)) && self.acting.is_none() {
            verdict.explanation +=
                "; what the device can repair by itself was tried, and is not tried again for now";
        }
    }

    /// What is published.
    pub(crate) fn published(&self) -> Repairs {
        let (state, subject, at) = match (&self.acting, &self.next) {
            (Some(subject), _) => ("acting", subject.as_str(), Duration::ZERO),
            _ if !self.allowed.repair => ("off", "", Duration::ZERO),
            (None, Next::At(at, subject)) => ("waiting", subject.as_str(), *at),
            (None, Next::Spent(at, subject)) => ("spent", subject.as_str(), *at),
            (None, Next::Idle | Next::Take(..)) => ("idle", "", Duration::ZERO),
        };
        Repairs {
            state,
            subject: subject.to_owned(),
            at: u64::try_from(at.as_micros()).unwrap_or(u64::MAX),
            steps: self.record.shown().to_vec(),
        }
    }
}

/// A line of the journal.
fn tell(priority: Priority, message: &str, fields: &[(&str, &str)]) {
    let mut all = vec![("MESSAGE_ID", MESSAGE_ID)];
    all.extend_from_slice(fields);
    logging::record(priority, message, &all);
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_message_id_is_documented() {
        assert!(include_str!("../../../docs/connectivity.md").contains(super::MESSAGE_ID));
    }
}
