//! A VPN that takes the place of a working one is on trial: the device may be reachable by nothing else.
//!
//! What worked is kept on the state partition, before anything is changed, until the new one has been seen to work. One
//! that has not when its time is over is taken back. The file says so over a reboot, too, and over a power cut in between.

use std::path::PathBuf;
use std::time::Duration;

use fleet_base::file::{self, Durability};
use fleet_base::proxy::connectivity::Connectivity;
use fleet_base::secret::Secret;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use crate::store::Hash;
use crate::wanted::Vpn;

/// How long a VPN has to come up: two attempts of OpenVPN at a server that breaks off.
const LENGTH: Duration = Duration::from_secs(150);
/// Two configurations of 256 KiB, escaped.
const MAX_BYTES: u64 = 1024 * 1024;

pub(crate) const ON_TRIAL: &str =
    "on trial: if the device is not online by it in two and a half minutes, the VPN from before comes back";

/// The trial, and what was found in it.
pub(crate) struct Trial {
    path: PathBuf,
    /// What was brought up last.
    in_force: Option<Vpn>,
    case: Option<Case>,
}

struct Case {
    /// What worked.
    before: Vpn,
    /// What is tried in its place.
    tried: Hash,
    stage: Stage,
}

enum Stage {
    Running(Instant),
    /// It failed, why.
    Rejected(String),
}

/// What is found when a trial's time is over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    Proved,
    Rejected,
    /// Nothing can be said about a VPN where there is no network below it.
    Later,
}

impl Trial {
    /// Goes on with what the file says. Must be called inside a tokio runtime.
    pub(crate) fn open(path: PathBuf) -> Self {
        let case = file::read(&path, MAX_BYTES).ok().and_then(|bytes| read(&bytes));
        Self {
            path,
            in_force: None,
            case,
        }
    }

    /// What is to be in force while this is asked for, and why it is not that.
    pub(crate) fn judged(&self, wanted: Vpn) -> (Vpn, Option<String>) {
        match &self.case {
            Some(Case {
                before,
                tried,
                stage: Stage::Rejected(reason),
            }) if *tried == sum(&wanted) => (before.clone(), Some(reason.clone())),
            _ => (wanted, None),
        }
    }

    /// Whether something is on trial.
    pub(crate) const fn is_running(&self) -> bool {
        matches!(
            &self.case,
            Some(Case {
                stage: Stage::Running(_),
                ..
            })
        )
    }

    /// Whether something did not pass.
    pub(crate) const fn has_found(&self) -> bool {
        matches!(
            &self.case,
            Some(Case {
                stage: Stage::Rejected(_),
                ..
            })
        )
    }

    /// Whether this would end what is in force.
    pub(crate) fn is_change(&self, wanted: &Vpn) -> bool {
        !matches!(wanted, Vpn::Incomplete(_))
            && self
                .in_force
                .as_ref()
                .is_some_and(|before| before != wanted && *before != Vpn::None)
    }

    /// Begins a trial: `next` takes the place of what is in force. `was_online` says whether that worked; while another
    /// trial is running, what that one began with stays what worked.
    ///
    /// # Errors
    /// What worked cannot be kept.
    pub(crate) fn begin(&mut self, next: &Vpn, was_online: bool) -> Result<(), file::Error> {
        // The same again, because something else failed with it: its time goes on.
        if self.is_running() && self.case.as_ref().is_some_and(|case| case.tried == sum(next)) {
            return Ok(());
        }
        let before = match self.case.take() {
            Some(Case {
                before,
                stage: Stage::Running(_),
                ..
            }) => Some(before),
            _ => self.in_force.clone().filter(|_| was_online),
        };
        match before.filter(|before| before != next) {
            Some(before) => {
                self.case = Some(Case {
                    before,
                    tried: sum(next),
                    stage: Stage::Running(Instant::now() + LENGTH),
                });
                self.keep()
            }
            None => self.end(),
        }
    }

    /// This was brought up.
    pub(crate) fn set_in_force(&mut self, vpn: Vpn) {
        self.in_force = Some(vpn);
    }

    /// Forgets a trial and what it found.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub(crate) fn end(&mut self) -> Result<(), file::Error> {
        self.case = None;
        file::remove(&self.path, Durability::Synced).map(drop)
    }

    /// Waits until the time of a trial is over. Cancel-safe.
    pub(crate) async fn due(&self) {
        match &self.case {
            Some(Case {
                stage: Stage::Running(until),
                ..
            }) => sleep_until(*until).await,
            _ => std::future::pending().await,
        }
    }

    /// Judges a trial by how far the device reaches.
    ///
    /// # Errors
    /// The finding cannot be kept; it holds until the next start all the same.
    pub(crate) fn judge(&mut self, reach: Option<&Connectivity>) -> Result<Finding, file::Error> {
        let finding = find(reach);
        let Some(case) = &mut self.case else {
            return Ok(Finding::Proved);
        };
        match &finding {
            Finding::Proved => self.end()?,
            Finding::Later => case.stage = Stage::Running(Instant::now() + LENGTH),
            Finding::Rejected => {
                let why = reach.map_or("nobody says how far the device reaches", |reach| {
                    &reach.explanation
                });
                case.stage = Stage::Rejected(format!(
                    "tried, and taken back: the VPN from before is in force again, because with this one {why}; \
                     `fleet config apply` tries it once more"
                ));
                self.keep()?;
            }
        }
        Ok(finding)
    }

    fn keep(&self) -> Result<(), file::Error> {
        let Some(Case { before, tried, stage }) = &self.case else {
            return Ok(());
        };
        let reason = match stage {
            Stage::Running(_) => Value::Null,
            Stage::Rejected(reason) => json!(reason),
        };
        let text =
            json!({ "before": value(before), "tried": tried.to_string(), "reason": reason }).to_string();
        file::write(&self.path, text.as_bytes(), 0o600, Durability::Synced).map(drop)
    }
}

/// The VPN is up, or there shall be none and the internet is reached: as well as before. What is missing below an address
/// no VPN can take away.
fn find(reach: Option<&Connectivity>) -> Finding {
    match reach {
        Some(reach) if matches!(reach.status.as_str(), "online" | "vpn-only") => Finding::Proved,
        Some(reach) if matches!(reach.level.as_str(), "none" | "carrier") => Finding::Later,
        _ => Finding::Rejected,
    }
}

fn sum(vpn: &Vpn) -> Hash {
    Hash::of(value(vpn).to_string().as_bytes())
}

fn value(vpn: &Vpn) -> Value {
    match vpn {
        Vpn::None | Vpn::Incomplete(_) => Value::Null,
        Vpn::OpenVpn { config, login } => json!({ "config": config.expose(), "login": login.expose() }),
        Vpn::WireGuard(profile) => json!({ "profile": profile.expose() }),
    }
}

fn read(bytes: &[u8]) -> Option<Case> {
    let document: Value = serde_json::from_slice(bytes).ok()?;
    let before = document.get("before")?;
    let secret = |name| {
        before
            .get(name)?
            .as_str()
            .map(|text| Secret::new(text.to_owned()))
    };
    let before = match (secret("config"), secret("profile")) {
        (Some(config), _) => Vpn::OpenVpn {
            config,
            login: secret("login")?,
        },
        (None, Some(profile)) => Vpn::WireGuard(profile),
        (None, None) => return None,
    };
    Some(Case {
        before,
        tried: Hash::parse(document.get("tried")?.as_str()?)?,
        stage: match document.get("reason").and_then(Value::as_str) {
            Some(reason) => Stage::Rejected(reason.to_owned()),
            None => Stage::Running(Instant::now() + LENGTH),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vpn(text: &str) -> Vpn {
        Vpn::OpenVpn {
            config: Secret::new(text.to_owned()),
            login: Secret::new("me\nhunter2\n".to_owned()),
        }
    }

    fn reach(level: &str, status: &str) -> Connectivity {
        Connectivity {
            level: level.to_owned(),
            reason: String::new(),
            status: status.to_owned(),
            explanation: "the server does not answer".to_owned(),
            interface: String::new(),
            since: 0,
            uplinks: Vec::new(),
        }
    }

    #[test]
    fn findings() {
        for (level, status, finding) in [
            ("vpn", "online", Finding::Proved),
            ("internet", "online", Finding::Proved),
            ("dns", "vpn-only", Finding::Proved),
            ("internet", "heartbeat-only", Finding::Rejected),
            ("dns", "offline", Finding::Rejected),
            ("gateway", "offline", Finding::Rejected),
            ("none", "offline", Finding::Later),
        ] {
            assert_eq!(find(Some(&reach(level, status))), finding, "{level} {status}");
        }
        assert_eq!(find(None), Finding::Rejected);
    }

    #[tokio::test(start_paused = true)]
    async fn what_worked_comes_back_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vpn-trial");
        let mut trial = Trial::open(path.clone());
        assert!(!trial.is_change(&vpn("new")), "nothing was in force");
        trial.set_in_force(vpn("old"));
        assert!(trial.is_change(&vpn("new")) && trial.is_change(&Vpn::None));
        assert!(!trial.is_change(&vpn("old")) && !trial.is_change(&Vpn::Incomplete("x")));

        trial.begin(&vpn("new"), true).unwrap();
        trial.set_in_force(vpn("new"));
        assert_eq!(trial.judged(vpn("new")), (vpn("new"), None));
        // The power went away: what worked is still known, and the trial begins anew.
        let mut trial = Trial::open(path.clone());
        assert!(trial.is_running());
        trial.due().await;
        assert_eq!(
            trial.judge(Some(&reach("none", "offline"))).unwrap(),
            Finding::Later
        );
        assert_eq!(
            trial.judge(Some(&reach("internet", "heartbeat-only"))).unwrap(),
            Finding::Rejected
        );
        for trial in [&trial, &Trial::open(path.clone())] {
            let (judged, reason) = trial.judged(vpn("new"));
            assert!(
                judged == vpn("old") && reason.unwrap().contains("does not answer") && !trial.is_running()
            );
            assert_eq!(trial.judged(vpn("third")), (vpn("third"), None));
        }
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        trial.end().unwrap();
        assert!(!path.exists() && trial.judged(vpn("new")).1.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_within_a_trial_keeps_what_worked() {
        let folder = tempfile::tempdir().unwrap();
        let mut trial = Trial::open(folder.path().join("vpn-trial"));
        trial.set_in_force(vpn("old"));
        trial.begin(&vpn("typo"), true).unwrap();
        trial.set_in_force(vpn("typo"));
        trial.begin(&vpn("better"), false).unwrap();
        tokio::time::advance(LENGTH - Duration::from_secs(1)).await;
        trial.begin(&vpn("better"), false).unwrap();
        tokio::time::timeout(Duration::from_secs(2), trial.due())
            .await
            .expect("its time goes on");
        trial.judge(Some(&reach("dns", "offline"))).unwrap();
        assert_eq!(trial.judged(vpn("better")).0, vpn("old"));
        // Put back what worked: nothing is left to try.
        trial.begin(&vpn("typo"), false).unwrap();
        assert!(
            !trial.is_running(),
            "what did not work before is not tried against"
        );
        trial.set_in_force(vpn("old"));
        trial.begin(&vpn("new"), true).unwrap();
        trial.begin(&vpn("old"), false).unwrap();
        assert!(!trial.is_running());
    }
}
