//! Why the last run ended, from what is known. Pure.

use std::fmt::Write;

use crate::evidence::Evidence;
use crate::last_run::{BootId, Record, Request};

/// Why. The names are the contract (`docs/reboot-reason.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The kernel panicked.
    Panic,
    /// A watchdog reset the board.
    Watchdog,
    /// Somebody or something asked for it.
    Requested,
    /// The power was cut.
    Power,
    /// Not known.
    Unknown,
}

impl Reason {
    /// Its name.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Watchdog => "watchdog",
            Self::Requested => "requested",
            Self::Power => "power",
            Self::Unknown => "unknown",
        }
    }
}

/// The reason, a sentence on it, and which run it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) reason: Reason,
    /// Without a full stop.
    pub(crate) detail: String,
    /// The boot that ended; `None` if it is not known.
    pub(crate) boot: Option<BootId>,
}

/// The surest evidence counts: what the kernel and the watchdog left, then what was noted in order, and what is left
/// over when there is none of these.
pub(crate) fn judge(record: &Record, evidence: &Evidence) -> Verdict {
    let (boot, end) = match record {
        Record::Run(run) => (Some(run.boot.clone()), Some(run.end)),
        Record::Absent | Record::Unreadable => (None, None),
    };
    let reset_by = evidence.watchdogs.iter().find(|watchdog| watchdog.has_reset);
    let (reason, detail) = if let Some(word) = &evidence.panic {
        let detail = format!("{word}; its last lines: journalctl -b -u fleet-console-tail");
        (Reason::Panic, detail)
    } else if let Some(watchdog) = reset_by {
        let detail = format!(
            "the watchdog ({}) was not fed in time and reset the device",
            watchdog.name
        );
        (Reason::Watchdog, detail)
    } else {
        match (end, record) {
            (_, Record::Run(run)) if !run.fault.is_empty() => {
                let detail = format!("a reboot was asked for to repair the network: {}", run.fault);
                (Reason::Requested, detail)
            }
            (Some(Some(request)), _) => (Reason::Requested, asked(request).to_owned()),
            (Some(None), _) => without_evidence(evidence),
            (None, Record::Unreadable) => (
                Reason::Unknown,
                "the record of the last run cannot be read; it is made anew".to_owned(),
            ),
            (None, _) => (
                Reason::Unknown,
                "there is no record of an earlier run: this is the first, or the state was lost".to_owned(),
            ),
        }
    };
    Verdict { reason, detail, boot }
}

const fn asked(request: Request) -> &'static str {
    match request {
        Request::Reboot => "a reboot was asked for",
        Request::PowerOff => "the device was switched off in order, and came back",
        Request::Halt => "the device was halted in order, and came back",
        Request::Kexec => "another kernel was started in place of the running one (kexec)",
    }
}

/// Power, if everything else would have left something.
fn without_evidence(evidence: &Evidence) -> (Reason, String) {
    let mut others = Vec::new();
    if !evidence.panic_tells {
        others.push("a panic of the kernel (nothing keeps its last lines: no backend of pstore)".to_owned());
    }
    for watchdog in evidence.watchdogs.iter().filter(|watchdog| !watchdog.tells) {
        others.push(format!(
            "the watchdog ({}, which does not tell what it did)",
            watchdog.name
        ));
    }
    if others.is_empty() {
        return (
            Reason::Power,
            "the power was cut, or the device was reset without an orderly end; no panic, no watchdog"
                .to_owned(),
        );
    }
    let mut detail = "no orderly end; this board does not tell the power from ".to_owned();
    for (index, other) in others.iter().enumerate() {
        let separator = if index == 0 { "" } else { ", or from " };
        // Writing to a string cannot fail.
        let _ = write!(detail, "{separator}{other}");
    }
    (Reason::Unknown, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::Watchdog;
    use crate::last_run::LastRun;

    fn boot() -> BootId {
        BootId::parse("0123456789abcdef0123456789abcdef").unwrap()
    }

    fn watchdog(tells: bool, has_reset: bool) -> Watchdog {
        Watchdog {
            name: "a watchdog".to_owned(),
            tells,
            has_reset,
        }
    }

    #[test]
    fn the_surest_evidence_counts() {
        let records = [
            Record::Absent,
            Record::Unreadable,
            Record::Run(LastRun::begun(boot())),
            Record::Run(LastRun::ended(boot(), Request::Reboot, String::new())),
        ];
        // panic, a watchdog (tells, has reset), the reasons by the records above
        for (panic, dog, reasons) in [
            (false, None, ["unknown", "unknown", "power", "requested"]),
            (
                false,
                Some((true, false)),
                ["unknown", "unknown", "power", "requested"],
            ),
            (
                false,
                Some((false, false)),
                ["unknown", "unknown", "unknown", "requested"],
            ),
            (false, Some((true, true)), ["watchdog"; 4]),
            (false, Some((false, true)), ["watchdog"; 4]),
            (true, None, ["panic"; 4]),
            (true, Some((true, true)), ["panic"; 4]),
        ] {
            let evidence = Evidence {
                panic: panic.then(|| "Kernel panic - not syncing: test".to_owned()),
                panic_tells: true,
                watchdogs: dog
                    .map(|(tells, reset)| watchdog(tells, reset))
                    .into_iter()
                    .collect(),
            };
            for (record, reason) in records.iter().zip(reasons) {
                let verdict = judge(record, &evidence);
                assert_eq!(verdict.reason.as_str(), reason, "{record:?} {evidence:?}");
                assert_eq!(verdict.boot.is_some(), matches!(record, Record::Run(_)));
                assert!(!verdict.detail.is_empty() && !verdict.detail.ends_with('.'));
            }
        }
    }

    #[test]
    fn what_is_not_known_is_said() {
        let record = Record::Run(LastRun::begun(boot()));
        let evidence = Evidence {
            panic: None,
            panic_tells: false,
            watchdogs: vec![watchdog(true, false), watchdog(false, false)],
        };
        let verdict = judge(&record, &evidence);
        assert_eq!(verdict.reason, Reason::Unknown);
        assert_eq!(
            verdict.detail,
            "no orderly end; this board does not tell the power from a panic of the kernel (nothing keeps its last \
             lines: no backend of pstore), or from the watchdog (a watchdog, which does not tell what it did)"
        );
    }
}
