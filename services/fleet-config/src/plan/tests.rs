//! Golden plans: a folder a case in `tests/data/plan`, with `before.json` (what is in force; absent: nothing is
//! known, as at boot), `after.json` and the plan from one to the other in `plan.txt`.
//!
//! A new case is a new folder; `UPDATE_GOLDEN=1` writes its plan, to be read before it is committed.

use std::path::Path;

use super::*;
use crate::config::Config;
use crate::defaults::Defaults;
use crate::document::Document;
use crate::value::Uuid;

mod laws;

fn data() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/plan")
}

fn wanted(path: &Path) -> Option<Wanted> {
    let bytes = std::fs::read(path).ok()?;
    let document = Document::parse(&bytes).unwrap();
    let identity = Uuid::try_from("0123456789abcdef0123456789abcdef").unwrap();
    let (defaults, errors) = Defaults::load(&data().join("defaults.toml"));
    assert!(errors.is_empty(), "{errors:?}");
    Wanted::new(Config::read(&document), &defaults, &identity, Vec::new())
}

fn in_force(wanted: &Wanted) -> Known {
    Known {
        hostname: Some(wanted.hostname.clone()),
        keyfiles: Some(wanted.keyfiles.clone()),
        network: Some(File::NetworkManager.content(wanted)),
        time: Some(File::TimeSources.content(wanted)),
        persistent_logging: Some(wanted.persistent_logging),
        development_mode: Some(wanted.development_mode),
        timezone: Some(wanted.timezone.clone()),
        parameters: Some(wanted.parameters.clone()),
        proxy: Some(wanted.proxy.clone()),
        watchdog: Some(wanted.watchdog),
        journal_limits: Some(File::JournalLimits.content(wanted)),
        sync_level: Some(wanted.sync_level),
        upload: Some(wanted.upload.clone()),
        root_ca: Some(wanted.root_ca.clone()),
        udev_rules: Some(wanted.udev_rules.clone()),
        country: Some(wanted.country),
        vpn: Some(wanted.vpn.clone()),
    }
}

fn plan(before: Option<&Wanted>, after: &Wanted) -> Plan {
    let known = before.map(in_force).unwrap_or_default();
    Plan::between(after, &known, |file| before.map(|before| file.content(before)))
}

#[test]
fn golden() {
    let mut cases = 0;
    for case in std::fs::read_dir(data())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
    {
        let before = wanted(&case.join("before.json"));
        let after = wanted(&case.join("after.json")).unwrap();
        let plan = plan(before.as_ref(), &after).to_string();
        let expected = case.join("plan.txt");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&expected, &plan).unwrap();
        }
        assert_eq!(
            plan,
            std::fs::read_to_string(&expected).unwrap_or_default(),
            "{}",
            case.display()
        );
        cases += 1;
    }
    assert!(cases > 5);
}

#[test]
fn nothing_is_done_when_nothing_differs() {
    for case in std::fs::read_dir(data())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
    {
        let after = wanted(&case.join("after.json")).unwrap();
        assert!(
            plan(Some(&after), &after).actions.is_empty(),
            "{}",
            case.display()
        );
    }
}

#[test]
fn network_manager_and_chrony_are_not_called_before_they_may_start() {
    let after = wanted(&data().join("boot/after.json")).unwrap();
    let (early, late) = plan(None, &after).split();
    assert!(early.to_string().contains("set host name") && early.to_string().contains("set keyfiles"));
    assert!(!early.to_string().contains("reload"));
    assert!(late.actions.iter().all(|action| !action.is_early()));
}
