//! What holds between every two configurations, on a device in memory.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::arbitrary::{document, parsed};
use crate::finding::{accept, inspect};
use crate::keyfile;

/// Files, and what the owners of the other effects have.
#[derive(Clone, Default)]
struct Device {
    files: BTreeMap<&'static str, String>,
    known: Known,
}

impl Device {
    fn plan(&self, wanted: &Wanted) -> Plan {
        Plan::between(wanted, &self.known, |file| self.files.get(file.path()).cloned())
    }

    /// Does what the actions say, and nothing else.
    fn execute(&mut self, plan: Plan) {
        for action in plan.actions {
            let known = &mut self.known;
            match action {
                Action::Write(file, content) => drop(self.files.insert(file.path(), content)),
                Action::SetHostname(name) => known.hostname = Some(name),
                Action::SetKeyfiles(keyfiles) => known.keyfiles = Some(keyfiles),
                Action::ReloadNetworkManager(text) => known.network = Some(text),
                Action::ReloadTimeSources(text) => known.time = Some(text),
                Action::SetPersistentLogging(on) => known.persistent_logging = Some(on),
                Action::SetDevelopmentMode(on) => known.development_mode = Some(on),
                Action::SetUpload(upload) => known.upload = Some(upload),
                Action::SetRootCa(root_ca) => known.root_ca = Some(root_ca),
                Action::SetUdevRules(rules, _) => known.udev_rules = Some(rules),
                Action::SetCountry(country) => known.country = Some(country),
                Action::SetVpn(vpn) => known.vpn = Some(vpn),
                Action::SetTimezone(zone) => known.timezone = Some(zone),
                Action::SetParameters(parameters) => known.parameters = Some(parameters),
                Action::SetProxy(proxy) => known.proxy = Some(proxy),
                Action::SetWatchdog(watchdog) => known.watchdog = Some(watchdog),
                Action::ReloadJournalLimits(text) => known.journal_limits = Some(text),
                Action::SetSyncLevel(level) => known.sync_level = Some(level),
            }
        }
    }

    fn apply(&mut self, wanted: &Wanted) -> bool {
        let plan = self.plan(wanted);
        let was_needed = !plan.actions.is_empty();
        self.execute(plan);
        was_needed
    }
}

/// A document, and which keyfiles there are beside it.
type Folder = (String, [bool; 3]);

fn folder() -> impl Strategy<Value = Folder> {
    (document(), any::<[bool; 3]>())
}

/// What a folder asks for, once it is accepted.
fn accepted((text, keyfiles): &Folder) -> Wanted {
    let document = parsed(text);
    let accepted = accept(&document, &inspect(&document, None), &Document::default());
    let identity = Uuid::try_from("0123456789abcdef0123456789abcdef").unwrap();
    let (defaults, _) = Defaults::load(&data().join("defaults.toml"));
    Wanted::new(Config::read(&accepted), &defaults, &identity, profiles(keyfiles)).unwrap()
}

/// Keyfiles of these names, read from a folder as they are on a device.
fn profiles(there: &[bool]) -> Vec<Keyfile> {
    let folder = tempfile::tempdir().unwrap();
    for (name, there) in ["office", "home", "field"].iter().zip(there) {
        if *there {
            std::fs::write(folder.path().join(name), format!("[connection]\nid={name}\n")).unwrap();
        }
    }
    keyfile::Folder::read(folder.path())
        .unwrap()
        .good
        .into_values()
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn there_and_back_restores_every_byte(one in folder(), other in folder()) {
        let (one, other) = (&accepted(&one), &accepted(&other));
        let mut device = Device::default();
        device.apply(one);
        let before = device.clone();
        prop_assert!(!device.apply(one), "what is in force is not done again");
        device.apply(other);
        prop_assert!(!device.apply(other), "what is in force is not done again");

        let mut fresh = Device::default();
        fresh.apply(other);
        prop_assert_eq!(&device.files, &fresh.files, "nothing of the first is left");

        device.apply(one);
        prop_assert_eq!(&device.files, &before.files);
        prop_assert!(device.plan(one).actions.is_empty() && before.plan(one).actions.is_empty());
        prop_assert_eq!(before.plan(other).to_string(), device.plan(other).to_string());
    }

    #[test]
    fn nothing_is_planned_that_does_not_differ(one in folder(), other in folder()) {
        let (one, other) = (&accepted(&one), &accepted(&other));
        let mut device = Device::default();
        device.apply(one);
        let plan = device.plan(other);
        for action in &plan.actions {
            if let Action::Write(file, content) = action {
                prop_assert!(device.files.get(file.path()) != Some(content));
            }
        }
        prop_assert_eq!(plan.actions.is_empty(), one == other);
    }

    #[test]
    fn the_early_part_and_the_late_one_are_the_whole(one in folder(), other in folder()) {
        let (one, other) = (&accepted(&one), &accepted(&other));
        let mut device = Device::default();
        device.apply(one);
        let mut parted = device.clone();
        let (early, late) = parted.plan(other).split();
        parted.execute(early);
        parted.execute(late);
        device.apply(other);
        prop_assert_eq!(&parted.files, &device.files);
        prop_assert!(parted.plan(other).actions.is_empty());
    }
}
