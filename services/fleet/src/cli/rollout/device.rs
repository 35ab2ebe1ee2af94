//! The conversation with one device.
//!
//! How it is; the patch; time to settle; how it is then. Each is a connection of its own: that the device can still be
//! reached is what is asked last, and a patch may cut the connection that brought it.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::answer::{Applied, Health, Status};
use super::hosts::Host;
use super::outcome::{Change, Failed, Fault, Outcome, Step};
use super::ssh::{NotReached, Reply, Ssh};
use super::{Progress, Teller};
use crate::cli::config::patch::Patch;

/// What is done on a device. Constant: nothing of a list or a patch is in a command.
const STATUS: &str = "fleet status --json";
const APPLY: &str = "fleet config apply - --json";

/// Between two questions to a device that is not well yet.
const PAUSE: Duration = Duration::from_secs(3);

/// What a shell exits with when there is no such command.
const NO_COMMAND: i32 = 127;

/// What is to be done on every device.
pub(super) struct Job {
    pub(super) ssh: Ssh,
    pub(super) patch: Patch,
    /// From the device's answer to the question whether it is still well.
    pub(super) settle: Duration,
    /// How long it may take from then on to become well.
    pub(super) patience: Duration,
}

impl Job {
    /// Changes a device.
    pub(super) async fn change(&self, host: &Host, teller: &Teller) -> Outcome {
        teller.tell(Progress::Step(Step::Asking)).await;
        let before = match self.ssh.run(host, STATUS, None).await {
            Ok(reply) => match status(&reply) {
                Ok(status) => status,
                Err(reason) => return failed(Fault::Refused, reason, None),
            },
            Err(NotReached(reason)) => return Outcome::Unreachable(reason),
        };
        teller.tell(Progress::Step(Step::Sending)).await;
        let set = match self.send(host, &before).await {
            Ok(revision) if revision == before.revision => return Outcome::Unchanged(revision),
            Ok(revision) => revision,
            Err(failed) => return Outcome::Failed(failed),
        };
        let change = Change {
            before: before.revision,
            after: Some(set),
        };
        teller.tell(Progress::Step(Step::Settling(change))).await;
        sleep(self.settle).await;
        match self.recovered(host, &before, set).await {
            Ok(()) => Outcome::Done(change),
            Err((fault, reason)) => failed(fault, reason, Some(change)),
        }
    }

    /// Sends the patch; returns the revision that it made.
    ///
    /// A connection that breaks meanwhile leaves open whether the patch arrived. It is sent again then: the second time
    /// changes nothing.
    async fn send(&self, host: &Host, before: &Status) -> Result<u64, Failed> {
        let deadline = Instant::now() + self.settle + self.patience;
        loop {
            match self.ssh.run(host, APPLY, Some(self.patch.text())).await {
                Ok(reply) => return self.sent(&reply, before),
                Err(NotReached(_)) if Instant::now() < deadline => sleep(PAUSE).await,
                Err(NotReached(reason)) => {
                    return Err(Failed {
                        fault: Fault::Lost,
                        reason: format!(
                            "the connection broke while the patch was sent, and none could be made since: {reason}"
                        ),
                        change: Some(Change {
                            before: before.revision,
                            after: None,
                        }),
                    });
                }
            }
        }
    }

    /// Judges the answer to the patch.
    fn sent(&self, reply: &Reply, before: &Status) -> Result<u64, Failed> {
        if let Some(applied) = Applied::parse(&reply.stdout) {
            let change = (applied.revision != before.revision).then_some(Change {
                before: before.revision,
                after: Some(applied.revision),
            });
            return match applied.not_in_force(&self.patch) {
                None if reply.code == 0 => Ok(applied.revision),
                reason => Err(Failed {
                    fault: Fault::NotApplied,
                    reason: reason.unwrap_or_else(|| complaint(reply)),
                    change,
                }),
            };
        }
        // These are said before anything is changed; after any other it is not known.
        let nothing_changed = [2, 65, 75, 77, 126, NO_COMMAND].contains(&reply.code);
        Err(Failed {
            fault: Fault::Refused,
            reason: complaint(reply),
            change: (!nothing_changed).then_some(Change {
                before: before.revision,
                after: None,
            }),
        })
    }

    /// Asks the device how it is until it is well; fails when it cannot become so, or has had its time.
    async fn recovered(&self, host: &Host, before: &Status, set: u64) -> Result<(), (Fault, String)> {
        let deadline = Instant::now() + self.patience;
        loop {
            let health = match self.ssh.run(host, STATUS, None).await {
                Ok(reply) => match status(&reply) {
                    Ok(status) => status.health(before, set, &self.patch),
                    Err(reason) => Health::NotYet(Fault::Degraded, reason),
                },
                Err(NotReached(reason)) => Health::NotYet(Fault::Lost, reason),
            };
            match health {
                Health::Well => return Ok(()),
                Health::NotYet(..) if Instant::now() < deadline => sleep(PAUSE).await,
                Health::NotYet(fault, reason) | Health::Bad(fault, reason) => return Err((fault, reason)),
            }
        }
    }
}

const fn failed(fault: Fault, reason: String, change: Option<Change>) -> Outcome {
    Outcome::Failed(Failed {
        fault,
        reason,
        change,
    })
}

/// The status in a reply. Its exit code says nothing here: a service that matters less may be down.
fn status(reply: &Reply) -> Result<Status, String> {
    if reply.stdout.is_empty() {
        return Err(complaint(reply));
    }
    Status::parse(&reply.stdout).map_err(|error| format!("`fleet status --json` there: {error}"))
}

/// Why a command on the device failed.
fn complaint(reply: &Reply) -> String {
    match reply.code {
        NO_COMMAND => "there is no `fleet` command on it; is it a Fleet OS device?".to_owned(),
        code if reply.complaint.is_empty() => format!("`fleet` there failed with exit code {code}"),
        2 => format!("its `fleet` is older and does not know this: {}", reply.complaint),
        _ => reply
            .complaint
            .strip_prefix("fleet: ")
            .unwrap_or(&reply.complaint)
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), r#"{"hostname": "a"}"#).unwrap();
        Job {
            ssh: Ssh::new(None, &[]),
            patch: Patch::read(file.path().as_os_str()).ok().unwrap(),
            settle: Duration::ZERO,
            patience: Duration::ZERO,
        }
    }

    fn reply(code: i32, stdout: &str, complaint: &str) -> Reply {
        Reply {
            code,
            stdout: stdout.into(),
            complaint: complaint.into(),
        }
    }

    #[test]
    fn an_answer_says_what_was_changed() {
        let before = Status::parse(br#"{"configuration": {"revision": 4}}"#).unwrap();
        let changed = |after| Some(Change { before: 4, after });
        assert_eq!(
            job().sent(&reply(0, r#"{"revision": 5, "keys": []}"#, ""), &before),
            Ok(5)
        );
        assert_eq!(
            job().sent(&reply(0, r#"{"revision": 4, "keys": []}"#, ""), &before),
            Ok(4)
        );
        let refused = r#"{"revision": 5, "keys": [{"key": "hostname", "state": "refused", "detail": "hostnamed does not answer"}]}"#;
        let cases = [
            (
                reply(1, refused, ""),
                Fault::NotApplied,
                "hostname: hostnamed does not answer",
                changed(Some(5)),
            ),
            (
                reply(65, "", "fleet: hostname: no"),
                Fault::Refused,
                "hostname: no",
                None,
            ),
            (
                reply(2, "", "fleet: unexpected"),
                Fault::Refused,
                "its `fleet` is older",
                None,
            ),
            (
                reply(127, "", "sh: fleet: not found"),
                Fault::Refused,
                "there is no `fleet` command",
                None,
            ),
            (
                reply(69, "", "fleet: fleet-config does not answer"),
                Fault::Refused,
                "fleet-config does not answer",
                changed(None),
            ),
            (reply(1, "", ""), Fault::Refused, "exit code 1", changed(None)),
        ];
        for (reply, fault, hint, change) in cases {
            let failed = job().sent(&reply, &before).unwrap_err();
            assert_eq!((failed.fault, failed.change), (fault, change), "{reply:?}");
            assert!(failed.reason.contains(hint), "{reply:?}: {}", failed.reason);
        }
    }

    #[test]
    fn a_status_counts_whatever_its_exit_code() {
        assert!(status(&reply(69, r#"{"configuration": {"revision": 1}}"#, "")).is_ok());
        assert_eq!(
            status(&reply(69, "", "fleet: dbus does not answer")),
            Err("dbus does not answer".to_owned())
        );
    }
}
