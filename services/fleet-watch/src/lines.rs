//! The journal's lines: one a transition, but a network that comes and goes all day does not fill the journal.

use std::net::IpAddr;
use std::time::Duration;

use fleet_base::{logging, watchdog};
use log::Level as Priority;

use crate::explanation::explain_fallback;
use crate::verdict::{Uplink, Verdict};

/// The journal's `MESSAGE_ID` of a transition of the device (systemd.journal-fields(7)). Part of the interface: never
/// changed.
pub(crate) const MESSAGE_ID: &str = "c29560301a024f1e8501428f8f5f1713";
/// The same of an uplink that is not the one the device's level is of, or of what is at fault on an uplink.
pub(crate) const UPLINK_MESSAGE_ID: &str = "8f2a6d0c5b7e4c1d9a30f4e6b1c27d58";

/// The same of the DNS fallback, when it begins and when it ends.
pub(crate) const FALLBACK_MESSAGE_ID: &str = "8dda02a7d8344df78ae0cd1ce51c8b88";

/// So many transitions in a row are written as they come; after them, one in [`REFILL`].
const BURST: u32 = 10;
const REFILL: Duration = Duration::from_secs(30);

/// What the journal was told, and how much room there is for more.
#[derive(Debug)]
pub(crate) struct Lines {
    said: Option<Verdict>,
    room: u32,
    /// When the room was counted last.
    counted: Duration,
    /// Transitions that were not written since the last one that was.
    left_out: u32,
}

impl Lines {
    pub(crate) const fn new() -> Self {
        Self {
            said: None,
            room: BURST,
            counted: Duration::ZERO,
            left_out: 0,
        }
    }

    /// Tells the journal and `systemctl status` what has changed since they were told last, if there is room; else
    /// [`due`](Self::due) says when there is.
    pub(crate) fn tell(&mut self, verdict: &Verdict, now: Duration) {
        self.refill(now);
        let records = records(self.said.as_ref(), verdict);
        if records.is_empty() {
            // Back to what was said.
            self.left_out = 0;
            return;
        }
        if self.room == 0 {
            self.left_out += 1;
            return;
        }
        self.room -= 1;
        for mut record in records {
            if self.left_out > 0 {
                record.message += &format!(" (after {} changes that are not shown)", self.left_out);
            }
            record.write();
        }
        self.left_out = 0;
        watchdog::status(&verdict.explanation);
        self.said = Some(verdict.clone());
    }

    /// When to tell again what could not be told.
    pub(crate) fn due(&self) -> Option<Duration> {
        (self.left_out > 0).then(|| self.counted + REFILL)
    }

    fn refill(&mut self, now: Duration) {
        if self.room == BURST {
            self.counted = now;
        }
        while self.room < BURST && now >= self.counted + REFILL {
            self.room += 1;
            self.counted += REFILL;
        }
    }
}

/// One journal record.
#[derive(Debug)]
struct Record {
    priority: Priority,
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Record {
    fn write(&self) {
        let fields: Vec<(&str, &str)> = (self.fields.iter())
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        logging::record(self.priority, &self.message, &fields);
    }
}

/// What there is to say: a warning on the way down or of a fault, else a notice of what has changed.
fn records(before: Option<&Verdict>, now: &Verdict) -> Vec<Record> {
    let mut records = Vec::new();
    let rung = |verdict: &Verdict| {
        (
            verdict.level,
            verdict.reason,
            verdict.status,
            verdict.interface.clone(),
        )
    };
    if before.map(rung) != Some(rung(now)) {
        records.push(device_record(before, now));
    }
    if before.map_or(&[][..], |before| before.fallback.as_slice()) != now.fallback {
        records.push(fallback_record(&now.fallback));
    }
    for uplink in &now.uplinks {
        let old = before.and_then(|before| {
            before
                .uplinks
                .iter()
                .find(|old| old.interface == uplink.interface)
        });
        let same_rung = old.is_some_and(|old| (old.level, old.reason) == (uplink.level, uplink.reason));
        let same_faults = match old {
            Some(old) => old.problems == uplink.problems,
            None => uplink.problems.is_empty(),
        };
        let is_told = uplink.interface == now.interface || same_rung;
        if !(is_told && same_faults) {
            records.push(uplink_record(old, uplink));
        }
    }
    records
}

fn device_record(before: Option<&Verdict>, now: &Verdict) -> Record {
    let Verdict {
        level,
        reason,
        status,
        explanation,
        interface,
        ..
    } = now;
    let (name, reason, status) = (level.as_str(), reason.as_str(), status.as_str());
    Record {
        priority: priority(before.is_some_and(|before| *level < before.level)),
        message: format!("connectivity is {name} ({status}, {reason}): {explanation}"),
        fields: vec![
            ("MESSAGE_ID", MESSAGE_ID.to_owned()),
            ("FLEET_LEVEL", name.to_owned()),
            ("FLEET_REASON", reason.to_owned()),
            ("FLEET_STATUS", status.to_owned()),
            ("FLEET_INTERFACE", interface.clone()),
        ],
    }
}

fn fallback_record(fallback: &[IpAddr]) -> Record {
    let servers: Vec<String> = fallback.iter().map(ToString::to_string).collect();
    Record {
        priority: priority(!fallback.is_empty()),
        message: match fallback {
            [] => "the DNS fallback has ended: the configured DNS servers are used again".to_owned(),
            fallback => format!("the DNS fallback is in use: {}", explain_fallback(fallback)),
        },
        fields: vec![
            ("MESSAGE_ID", FALLBACK_MESSAGE_ID.to_owned()),
            ("FLEET_DNS_FALLBACK", servers.join(" ")),
        ],
    }
}

fn uplink_record(before: Option<&Uplink>, now: &Uplink) -> Record {
    let (level, reason) = (now.level.as_str(), now.reason.as_str());
    let mut message = format!(
        "uplink {} is {level} ({reason}): {}",
        now.interface, now.explanation
    );
    for problem in &now.problems {
        message += "; ";
        message += &problem.explanation;
    }
    let is_lower = before.is_some_and(|before| now.level < before.level);
    let problems: Vec<String> = (now.problems.iter())
        .map(|problem| {
            format!("{} {}", problem.reason, problem.subject)
                .trim_end()
                .to_owned()
        })
        .collect();
    Record {
        priority: priority(is_lower || !now.problems.is_empty()),
        message,
        fields: vec![
            ("MESSAGE_ID", UPLINK_MESSAGE_ID.to_owned()),
            ("FLEET_LEVEL", level.to_owned()),
            ("FLEET_REASON", reason.to_owned()),
            ("FLEET_INTERFACE", now.interface.clone()),
            ("FLEET_PROBLEMS", problems.join(", ")),
        ],
    }
}

const fn priority(is_bad: bool) -> Priority {
    if is_bad { Priority::Warn } else { Priority::Info }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder::{Level, Reason, Status};
    use crate::verdict::Problem;

    fn verdict(level: Level) -> Verdict {
        let uplink = |interface: &str| Uplink {
            interface: interface.to_owned(),
            level,
            reason: Reason::None,
            explanation: String::new(),
            problems: Vec::new(),
            is_wronged: false,
        };
        Verdict {
            level,
            reason: Reason::None,
            status: Status::Offline,
            explanation: String::new(),
            interface: "eth0".to_owned(),
            uplinks: vec![uplink("eth0"), uplink("wwan0")],
            vpns: Vec::new(),
            fallback: Vec::new(),
        }
    }

    #[test]
    fn a_transition_is_a_line_and_a_fault_names_its_server() {
        let (low, high) = (verdict(Level::Dns), verdict(Level::Internet));
        // The device's own uplink is said by the device's line.
        let first: Vec<_> = records(None, &high)
            .iter()
            .map(|record| record.message.clone())
            .collect();
        assert_eq!(
            first,
            [
                "connectivity is internet (offline, none): ",
                "uplink wwan0 is internet (none): "
            ]
        );
        let down = records(Some(&high), &low);
        assert!(down.len() == 2 && down.iter().all(|record| record.priority == Priority::Warn));
        let mut faulty = high.clone();
        faulty.uplinks[0].problems.push(Problem {
            reason: "resolver-silent".to_owned(),
            subject: "192.0.2.1".to_owned(),
            explanation: "192.0.2.1 is silent".to_owned(),
        });
        let fault = records(Some(&high), &faulty);
        assert_eq!(fault.len(), 1);
        assert_eq!(
            fault[0].message,
            "uplink eth0 is internet (none): ; 192.0.2.1 is silent"
        );
        assert!(
            fault[0]
                .fields
                .contains(&("FLEET_PROBLEMS", "resolver-silent 192.0.2.1".to_owned()))
        );
        assert_eq!(records(Some(&faulty), &faulty).len(), 0);
        assert_eq!(records(Some(&faulty), &high).len(), 1, "its end is said too");
    }

    #[test]
    fn the_fallback_is_a_line_when_it_begins_and_one_when_it_ends() {
        let usual = verdict(Level::Dns);
        let mut in_use = usual.clone();
        in_use.fallback.push(IpAddr::from([192, 0, 2, 1]));
        for (before, now, priority, begins_with) in [
            (&usual, &in_use, Priority::Warn, "the DNS fallback is in use: "),
            (&in_use, &usual, Priority::Info, "the DNS fallback has ended: "),
        ] {
            let records = records(Some(before), now);
            assert_eq!(records.len(), 1);
            assert_eq!(records[0].priority, priority);
            assert!(
                records[0].message.starts_with(begins_with),
                "{}",
                records[0].message
            );
        }
        assert_eq!(records(Some(&in_use), &in_use).len(), 0);
    }

    #[test]
    fn a_thousand_flaps_are_few_lines_and_the_last_state_is_among_them() {
        let (down, up) = (verdict(Level::None), verdict(Level::Internet));
        let mut lines = Lines::new();
        let mut now = Duration::from_secs(1000);
        let mut written = 0;
        for flap in 0..2000 {
            let before = lines.said.clone();
            lines.tell(if flap % 2 == 0 { &down } else { &up }, now);
            written += u32::from(lines.said != before);
            now += Duration::from_millis(20);
        }
        assert!((BURST..BURST + 3).contains(&written), "{written}");
        lines.tell(&down, now);
        while let Some(due) = lines.due() {
            now = due;
            lines.tell(&down, now);
        }
        assert_eq!(lines.said, Some(down));
        // An hour later there is room again.
        now += Duration::from_secs(3600);
        lines.tell(&up, now);
        assert_eq!(lines.room, BURST - 1);
    }

    #[test]
    fn the_message_ids_are_documented() {
        for id in [MESSAGE_ID, UPLINK_MESSAGE_ID, FALLBACK_MESSAGE_ID] {
            assert!(include_str!("../../../docs/connectivity.md").contains(id));
        }
    }
}
