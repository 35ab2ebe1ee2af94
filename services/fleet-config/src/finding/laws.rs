//! What holds for every pair of documents, the one before and the edited one.

use proptest::prelude::*;

use super::*;
use crate::arbitrary::{document, parsed};
use crate::config::Config;

/// What a device runs with after this edit, and what it refuses of it.
fn edited(document: &Document, before: &Document) -> (Document, bool) {
    let findings = inspect(document, None);
    let refused = findings
        .iter()
        .any(|finding| finding.is_refused() && finding.entry.is_none());
    (accept(document, &findings, before), refused)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_accepted_is_accepted_again(first in document(), second in document()) {
        let (first, second) = (parsed(&first), parsed(&second));
        let (before, _) = edited(&first, &Document::default());
        let (accepted, refused) = edited(&second, &before);
        prop_assert_eq!(accepted == second, !refused, "what is not refused is taken as it is");
        let (again, refused) = edited(&accepted, &before);
        prop_assert!(!refused, "{}", accepted.to_text());
        prop_assert!(again == accepted);
        let (again, _) = edited(&accepted, &Document::default());
        prop_assert!(again == accepted, "also with nothing before");
    }

    #[test]
    fn a_refused_key_has_its_value_from_before(first in document(), second in document()) {
        let (first, second) = (parsed(&first), parsed(&second));
        let (before, _) = edited(&first, &Document::default());
        let findings = inspect(&second, None);
        let (accepted, _) = edited(&second, &before);
        for finding in findings.iter().filter(|finding| finding.entry.is_none()) {
            let entries_are_refused = findings.iter().any(|other| {
                other.is_refused() && other.path != finding.path && other.path.overlaps(&finding.path)
            });
            if finding.is_refused() {
                prop_assert_eq!(accepted.get(&finding.path), before.get(&finding.path), "{}", finding.name());
            } else if !entries_are_refused {
                prop_assert_eq!(accepted.get(&finding.path), second.get(&finding.path), "{}", finding.name());
            }
        }
    }

    #[test]
    fn a_bad_value_means_nothing_to_the_configuration(text in document()) {
        let document = parsed(&text);
        // As if every refused key was not there.
        let (accepted, _) = edited(&document, &Document::default());
        prop_assert_eq!(Config::read(&accepted), Config::read(&document));
    }

    #[test]
    fn other_forms_of_a_value_mean_the_same(text in document()) {
        let document = parsed(&text);
        let mut other = document.clone();
        for path in ["ntpServers", "dnsServers"] {
            if let Some(Value::String(text)) = document.setting(path) {
                let words: Vec<&str> = text.split_ascii_whitespace().collect();
                other.set(&KeyPath::parse(path).unwrap(), Value::from(words)).unwrap();
            }
        }
        for path in ["persistentLogging", "developmentMode", "os.network.wifi.randomMacAddressScan"] {
            let said = match document.setting(path) {
                Some(Value::Bool(on)) => Value::from(u8::from(*on)),
                Some(Value::String(text)) if text == "true" => Value::from(true),
                _ => continue,
            };
            other.set(&KeyPath::parse(path).unwrap(), said).unwrap();
        }
        if let Some(Value::Number(number)) = document.setting("os.network.connectivity.interval") {
            let path = KeyPath::parse("os.network.connectivity.interval").unwrap();
            other.set(&path, Value::from(number.to_string())).unwrap();
        }
        prop_assert_eq!(Config::read(&other), Config::read(&document));
    }
}
