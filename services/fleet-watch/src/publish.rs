//! What is published of a verdict, and the JSON file. The journal's lines are in [`crate::lines`].

use std::fs::File;
use std::path::Path;

use fleet_base::file::{self, Durability};
use serde_json::{Value, json};

use crate::ladder::Status;
use crate::repair::{Entry, Repairs};
use crate::verdict::{Tunnel, Uplink, Verdict};

/// A verdict and since when it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) verdict: Verdict,
    /// When this level and reason began, in microseconds of `CLOCK_BOOTTIME`.
    pub(crate) since: u64,
    /// The same of each uplink, in the verdict's order.
    uplinks_since: Vec<u64>,
    /// The same of each VPN.
    vpns_since: Vec<u64>,
    pub(crate) repairs: Repairs,
}

impl Published {
    /// What is published after `verdict` was found at `now`.
    pub(crate) fn next(before: Option<&Self>, verdict: Verdict, repairs: Repairs, now: u64) -> Self {
        let since = match before {
            Some(before) if same_rung(&before.verdict, &verdict) => before.since,
            _ => now,
        };
        let since_of = |uplink: &Uplink| {
            let mut kept = before.into_iter().flat_map(Self::uplinks);
            let same = |old: &Uplink| {
                (&old.interface, old.level, old.reason) == (&uplink.interface, uplink.level, uplink.reason)
            };
            kept.find(|(old, _)| same(old)).map_or(now, |(_, since)| since)
        };
        let uplinks_since = verdict.uplinks.iter().map(since_of).collect();
        let vpn_since = |vpn: &Tunnel| {
            let mut kept = before.into_iter().flat_map(Self::vpns);
            let same =
                |old: &Tunnel| (&old.name, old.state, old.reason) == (&vpn.name, vpn.state, vpn.reason);
            kept.find(|(old, _)| same(old)).map_or(now, |(_, since)| since)
        };
        let vpns_since = verdict.vpns.iter().map(vpn_since).collect();
        Self {
            verdict,
            since,
            uplinks_since,
            vpns_since,
            repairs,
        }
    }

    /// Takes over since when the same has held from the file that a run of the service before this one has left, if any.
    pub(crate) fn resume(&mut self, path: &Path) {
        let text = std::fs::read(path).ok();
        let Some(left) = text.and_then(|text| serde_json::from_slice::<Value>(&text).ok()) else {
            return;
        };
        let now = self.since;
        let since = |row: &Value, same: &[(&str, &str)]| {
            let is_same = same.iter().all(|(name, value)| row[name].as_str() == Some(value));
            row["since_boottime_us"]
                .as_u64()
                .filter(|since| is_same && *since <= now)
        };
        let since_in =
            |rows: &Value, same: &[(&str, &str)]| rows.as_array()?.iter().find_map(|row| since(row, same));
        let Verdict {
            level,
            reason,
            uplinks,
            vpns,
            ..
        } = &self.verdict;
        let rung = [("level", level.as_str()), ("reason", reason.as_str())];
        self.since = since(&left, &rung).unwrap_or(now);
        for (uplink, at) in uplinks.iter().zip(&mut self.uplinks_since) {
            let rung = [
                ("interface", uplink.interface.as_str()),
                ("level", uplink.level.as_str()),
                ("reason", uplink.reason.as_str()),
            ];
            *at = since_in(&left["uplinks"], &rung).unwrap_or(now);
        }
        for (vpn, at) in vpns.iter().zip(&mut self.vpns_since) {
            let rung = [
                ("name", vpn.name.as_str()),
                ("state", vpn.state.as_str()),
                ("reason", vpn.reason.as_str()),
            ];
            *at = since_in(&left["vpns"], &rung).unwrap_or(now);
        }
    }

    /// Every uplink, and since when it is as it is.
    pub(crate) fn uplinks(&self) -> impl Iterator<Item = (&Uplink, u64)> {
        (self.verdict.uplinks.iter()).zip(self.uplinks_since.iter().copied())
    }

    /// Every VPN, and since when it is as it is.
    pub(crate) fn vpns(&self) -> impl Iterator<Item = (&Tunnel, u64)> {
        (self.verdict.vpns.iter()).zip(self.vpns_since.iter().copied())
    }
}

fn same_rung(one: &Verdict, other: &Verdict) -> bool {
    (one.level, one.reason) == (other.level, other.reason)
}

/// Writes the JSON file: one object on one line, readable by all, old or new at any instant.
///
/// # Errors
/// [`file::Error::Write`].
pub(crate) fn write_file(path: &Path, published: &Published) -> Result<(), file::Error> {
    let Verdict {
        level,
        reason,
        status,
        explanation,
        interface,
        ..
    } = &published.verdict;
    let uplinks: Vec<Value> = published.uplinks().map(uplink_json).collect();
    // The names are the contract.
    let document = json!({
        "level": level.as_str(),
        "reason": reason.as_str(),
        "status": status.as_str(),
        "explanation": explanation,
        "interface": interface,
        "since_boottime_us": published.since,
        "uplinks": uplinks,
        "vpns": published.vpns().map(vpn_json).collect::<Vec<Value>>(),
        "repair": repairs_json(&published.repairs),
    });
    let line = format!("{document}\n");
    file::write(path, line.as_bytes(), 0o644, Durability::Volatile)?;
    Ok(())
}

fn repairs_json(repairs: &Repairs) -> Value {
    let step = |entry: &Entry| {
        json!({
            "step": entry.step.as_str(),
            "subject": entry.subject,
            "reason": entry.reason,
            "outcome": entry.outcome.as_str(),
            "detail": entry.detail,
            "at": entry.wall,
        })
    };
    json!({
        "state": repairs.state,
        "subject": repairs.subject,
        "next_boottime_us": repairs.at,
        "steps": repairs.steps.iter().map(step).collect::<Vec<Value>>(),
    })
}

/// Leaves one file in the folder, named for the status: a rename, so that there is no moment without one, and what an
/// earlier run left does not stay.
///
/// # Errors
/// [`file::Error::Write`].
pub(crate) fn write_status(folder: &Path, status: Status) -> Result<(), file::Error> {
    let path = folder.join(status.as_str());
    let written = file::names(folder).and_then(|names| {
        for name in names.iter().filter(|name| *name != status.as_str()) {
            std::fs::rename(folder.join(name), &path)?;
        }
        File::options().create(true).append(true).open(&path)
    });
    written.map(drop).map_err(|error| file::Error::Write(path, error))
}

fn uplink_json((uplink, since): (&Uplink, u64)) -> Value {
    let problems: Vec<Value> = (uplink.problems.iter())
        .map(|problem| {
            json!({
                "reason": problem.reason,
                "subject": problem.subject,
                "explanation": problem.explanation,
            })
        })
        .collect();
    json!({
        "interface": uplink.interface,
        "level": uplink.level.as_str(),
        "reason": uplink.reason.as_str(),
        "explanation": uplink.explanation,
        "since_boottime_us": since,
        "problems": problems,
    })
}

fn vpn_json((vpn, since): (&Tunnel, u64)) -> Value {
    json!({
        "name": vpn.name,
        "state": vpn.state.as_str(),
        "reason": vpn.reason.as_str(),
        "explanation": vpn.explanation,
        "since_boottime_us": since,
        "received_bytes": vpn.counts.received,
        "sent_bytes": vpn.counts.sent,
        "last_handshake": vpn.counts.handshake,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Findings;
    use crate::ladder::{Level, Reason};
    use crate::snapshot::{Counts, Snapshot, VpnState};
    use crate::verdict::{Problem, judge};

    fn verdict(reason: &str) -> Verdict {
        judge(&Snapshot::Unreadable(reason.to_owned()), &Findings::default())
    }

    fn uplink(interface: &str, level: Level) -> Uplink {
        Uplink {
            interface: interface.to_owned(),
            level,
            reason: Reason::None,
            explanation: "it works".to_owned(),
            problems: Vec::new(),
            is_wronged: false,
        }
    }

    #[test]
    fn since_is_kept_while_level_and_reason_are_the_same() {
        let first = Published::next(None, verdict("slow"), Repairs::default(), 7);
        assert_eq!(first.since, 7);
        let other_words = Published::next(Some(&first), verdict("hung"), Repairs::default(), 8);
        assert_eq!(other_words.since, 7);
        let mut up = verdict("hung");
        up.level = Level::Dns;
        assert_eq!(
            Published::next(Some(&other_words), up, Repairs::default(), 9).since,
            9
        );
    }

    fn vpn(state: VpnState, received: u64) -> Tunnel {
        Tunnel {
            name: "fleet-vpn".to_owned(),
            state,
            reason: Reason::None,
            explanation: "it is up".to_owned(),
            counts: Counts {
                received,
                sent: 2,
                handshake: 3,
            },
        }
    }

    #[test]
    fn what_goes_through_a_vpn_does_not_change_since_when_it_is_up() {
        let with = |vpn: Tunnel| Verdict {
            vpns: vec![vpn],
            ..verdict("slow")
        };
        let since = |published: &Published| published.vpns().map(|(_, since)| since).collect::<Vec<_>>();
        let first = Published::next(None, with(vpn(VpnState::Up, 1)), Repairs::default(), 1);
        let more = Published::next(Some(&first), with(vpn(VpnState::Up, 9)), Repairs::default(), 2);
        assert!(more != first, "it is published");
        let down = Published::next(Some(&more), with(vpn(VpnState::Down, 9)), Repairs::default(), 3);
        assert_eq!((since(&more), since(&down)), (vec![1], vec![3]));
    }

    #[test]
    fn since_is_kept_an_uplink_at_a_time() {
        let with = |uplinks: Vec<Uplink>| Verdict {
            uplinks,
            ..verdict("slow")
        };
        let since = |published: &Published| published.uplinks().map(|(_, since)| since).collect::<Vec<_>>();
        let both = vec![uplink("eth0", Level::Dns), uplink("wwan0", Level::Internet)];
        let first = Published::next(None, with(both), Repairs::default(), 1);
        let moved = vec![uplink("wwan0", Level::Internet), uplink("eth0", Level::Gateway)];
        let second = Published::next(Some(&first), with(moved), Repairs::default(), 2);
        assert_eq!((since(&first), since(&second)), (vec![1, 1], vec![1, 2]));
    }

    #[test]
    fn since_outlives_the_service_while_level_and_reason_are_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("connectivity.json");
        let with = |eth0: Level| Verdict {
            uplinks: vec![uplink("eth0", eth0), uplink("eth1", Level::Gateway)],
            vpns: vec![vpn(VpnState::Up, 1)],
            ..verdict("slow")
        };
        let since = |published: &Published| {
            let uplinks: Vec<u64> = published.uplinks().map(|(_, since)| since).collect();
            let vpns: Vec<u64> = published.vpns().map(|(_, since)| since).collect();
            (published.since, uplinks, vpns)
        };
        let started = |eth0: Level, now: u64| {
            let mut first = Published::next(None, with(eth0), Repairs::default(), now);
            first.resume(&path);
            since(&first)
        };
        let fresh = |at: u64| (at, vec![at, at], vec![at]);
        assert_eq!(started(Level::Dns, 7), fresh(7), "there is none");
        write_file(
            &path,
            &Published::next(None, with(Level::Dns), Repairs::default(), 7),
        )
        .unwrap();
        assert_eq!(started(Level::Dns, 9), fresh(7));
        assert_eq!(started(Level::Gateway, 9), (7, vec![9, 7], vec![7]));
        assert_eq!(started(Level::Dns, 5), fresh(5), "none is later than now");
        std::fs::write(&path, "[7").unwrap();
        assert_eq!(started(Level::Dns, 9), fresh(9));
    }

    #[test]
    fn one_file_is_there_whatever_was_left() {
        let folder = tempfile::tempdir().unwrap();
        let names = || file::names(folder.path()).unwrap();
        for left in [&[][..], &["offline"], &["vpn-only", "offline", "other"]] {
            for name in left {
                File::create(folder.path().join(name)).unwrap();
            }
            for status in [Status::Offline, Status::Online, Status::Online] {
                write_status(folder.path(), status).unwrap();
                assert_eq!(names(), [status.as_str()]);
            }
        }
        assert!(write_status(&folder.path().join("none"), Status::Online).is_err());
    }

    #[test]
    fn the_file_is_the_contract() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("connectivity.json");
        let mut broken = uplink("eth0", Level::Internet);
        broken.problems.push(Problem {
            reason: "resolver-silent".to_owned(),
            subject: "192.0.2.1".to_owned(),
            explanation: "it is silent".to_owned(),
        });
        let absent = Verdict {
            uplinks: vec![broken],
            vpns: vec![vpn(VpnState::Up, 1)],
            ..judge(&Snapshot::Absent, &Findings::default())
        };
        let repairs = Repairs {
            state: "idle",
            ..Repairs::default()
        };
        write_file(&path, &Published::next(None, absent, repairs, 42)).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            concat!(
                r#"{"level":"none","reason":"network-manager-down","status":"offline","#,
                r#""explanation":"NetworkManager does not run: the kernel's network may still work, but nobody looks "#,
                r#"after it; see its unit","interface":"","since_boottime_us":42,"uplinks":[{"interface":"eth0","#,
                r#""level":"internet","reason":"none","explanation":"it works","since_boottime_us":42,"problems":["#,
                r#"{"reason":"resolver-silent","subject":"192.0.2.1","explanation":"it is silent"}]}],"#,
                r#""vpns":[{"name":"fleet-vpn","state":"up","reason":"none","explanation":"it is up","#,
                r#""since_boottime_us":42,"received_bytes":1,"sent_bytes":2,"last_handshake":3}],"#,
                r#""repair":{"state":"idle","subject":"","next_boottime_us":0,"steps":[]}}"#,
                "\n"
            )
        );
    }
}
