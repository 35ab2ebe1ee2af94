//! The write path of the configuration, cut after each of its system calls.

#[cfg(test)]
#[path = "calls/check.rs"]
mod check;
#[cfg(test)]
#[path = "calls/scenario.rs"]
mod scenario;

use check::{Count, check};
use powercut::model::Kind;
use powercut::recording::Step;
use scenario::{SCENARIOS, record};

/// The state partition, and the boot partition as `dist/etc/fstab` mounts it.
const DEVICE: [Kind; 2] = [Kind::Ext4, Kind::Fat { sync: true }];
/// The boot partition without the mount option `sync`: on the host that made the image, or by another hand.
const LAZY: [Kind; 2] = [Kind::Ext4, Kind::Fat { sync: false }];

#[test]
fn no_cut_loses_or_mixes_the_configuration() {
    let mut totals = [Count::default(); 2];
    let mut violations = Vec::new();
    for scenario in SCENARIOS {
        let recording = record(scenario);
        for (total, (mount, kinds)) in totals.iter_mut().zip([("sync", DEVICE), ("async", LAZY)]) {
            if scenario.needs_order && kinds == LAZY {
                continue;
            }
            let outcome = check(scenario, &recording, kinds);
            println!("{:28} /boot {mount:5}: {}", scenario.name, outcome.count);
            *total += outcome.count;
            violations.extend(
                outcome
                    .violations
                    .into_iter()
                    .map(|violation| format!("{} ({mount}): {violation}", scenario.name)),
            );
        }
    }
    for (total, mount) in totals.iter().zip(["sync", "async"]) {
        println!("{:28} /boot {mount:5}: {total}", "all");
    }
    assert!(
        violations.is_empty(),
        "{} states are wrong, the first of them:\n{}",
        violations.len(),
        shown(&violations)
    );
}

/// The machinery itself: without the program's syncs, acknowledged changes are lost, and this must show.
#[test]
fn without_syncs_the_loss_is_found() {
    for scenario in SCENARIOS.iter().filter(|scenario| scenario.must_sync) {
        let mut recording = record(scenario);
        let before = recording.steps.len();
        recording
            .steps
            .retain(|step| !matches!(step, Step::Do(0, action) if action.is_sync()));
        assert!(
            recording.steps.len() < before,
            "{}: nothing was synced",
            scenario.name
        );
        let outcome = check(scenario, &recording, DEVICE);
        println!(
            "{:28} without syncs: {} violations",
            scenario.name,
            outcome.violations.len()
        );
        assert!(
            !outcome.violations.is_empty(),
            "{}: nothing was found",
            scenario.name
        );
    }
}

/// The first of each kind.
fn shown(violations: &[String]) -> String {
    let mut kinds = std::collections::BTreeMap::new();
    for violation in violations {
        let kind: String = violation.chars().take(100).collect();
        kinds.entry(kind).or_insert_with(|| (violation.clone(), 0)).1 += 1;
    }
    let lines = kinds
        .into_values()
        .map(|(violation, count)| format!("{count} x {violation}\n"));
    lines.collect()
}
