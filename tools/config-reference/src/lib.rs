//! The reference of `config.json`: one source, `keys/*.toml`, and two things made of it.
//!
//! The JSON Schema is for editors, the page for people. `fleet_config::key::TABLE` stays the truth about which keys
//! there are, which of them are looked at and which are secret; what is said about them to people is here, and so
//! takes no room on a device.

pub mod entry;
mod page;
mod schema;

pub use entry::{Entry, Group, Topic, topics};
pub use page::page;
pub use schema::{DIALECT, schema};

use fleet_config::key::{Class, Key};

/// Where the schema is, below the checkout.
pub const SCHEMA: &str = "docs/config.schema.json";
/// Where the page is, below the checkout.
pub const PAGE: &str = "docs/config-reference.md";

/// Whether a device looks at the key's value. What it does not look at has no rule in the schema either: an editor
/// must not refuse what a device takes.
#[must_use]
pub const fn is_judged(key: &Key) -> bool {
    match key.class {
        Class::Applied | Class::Identity | Class::Later => true,
        Class::Kept | Class::OtherBoards => false,
    }
}

#[cfg(test)]
mod tests {
    use fleet_config::key;

    use super::*;

    #[test]
    fn every_key_of_the_table_has_one_entry_and_every_entry_a_key() {
        let topics = topics().unwrap();
        let entries: Vec<&str> = topics
            .iter()
            .flat_map(|topic| &topic.keys)
            .map(|entry| entry.path.as_str())
            .collect();
        for key in key::TABLE {
            let found = entries.iter().filter(|path| **path == key.path).count();
            assert_eq!(found, 1, "{} has {found} entries in keys/*.toml", key.path);
        }
        for path in entries {
            assert!(
                key::find(path).is_some(),
                "{path} has an entry in keys/*.toml and is no key"
            );
        }
    }

    #[test]
    fn every_group_is_described() {
        let topics = topics().unwrap();
        let described: Vec<&str> = topics
            .iter()
            .flat_map(|topic| &topic.groups)
            .map(|group| group.path.as_str())
            .collect();
        for key in key::TABLE {
            let mut path = key.path;
            while let Some((above, _)) = path.rsplit_once('.') {
                assert!(described.contains(&above), "{above} has no [[group]]");
                path = above;
            }
        }
        for path in described {
            let below = |key: &Key| {
                key.path
                    .strip_prefix(path)
                    .is_some_and(|rest| rest.starts_with('.'))
            };
            assert!(key::TABLE.iter().any(below), "no key is below {path}");
        }
    }

    #[test]
    fn what_is_judged_has_a_rule_and_says_what_it_does() {
        for topic in topics().unwrap() {
            for entry in &topic.keys {
                let key = key::find(&entry.path).unwrap();
                assert!(!entry.text.is_empty(), "{}", entry.path);
                if is_judged(key) {
                    let whole = !entry.schema.is_empty()
                        && !entry.rule.is_empty()
                        && !entry.default.is_empty()
                        && !entry.effect.is_empty()
                        && !entry.in_force.is_empty()
                        && !entry.read_back.is_empty()
                        && !entry.examples.is_empty();
                    assert!(whole, "{}: a field is missing", entry.path);
                } else if key.class == Class::Kept {
                    assert!(
                        entry.schema.is_empty(),
                        "{}: a rule that no device has",
                        entry.path
                    );
                }
            }
        }
    }

    #[test]
    fn what_is_committed_is_current() {
        let top = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");
        for (path, text) in [(SCHEMA, schema().unwrap()), (PAGE, page().unwrap())] {
            let committed = std::fs::read_to_string(format!("{top}{path}")).unwrap_or_default();
            assert!(
                committed == text,
                "{path} is out of date: run `cargo xtask schema`, and commit it"
            );
        }
    }
}
