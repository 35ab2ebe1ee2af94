//! The known key that was meant by a name that nobody knows.

use super::TABLE;

/// No key's name is longer, in bytes. A longer name in a file is no typing error, and costs nothing.
const MAX: usize = 64;

/// A last step that is shorter says too little to be looked for elsewhere in the tree (`uri`, `type`, `mode`).
const TELLING: usize = 5;

/// The known key whose name is nearest to this one, if one is near enough to be what was meant.
#[must_use]
pub fn nearest(path: &str) -> Option<&'static str> {
    if path.len() > MAX {
        return None;
    }
    let limit = 1 + path.len() / 6;
    let mut best: Option<(usize, &'static str)> = None;
    for key in TABLE {
        let most = best.map_or(limit, |(cost, _)| cost.saturating_sub(1));
        if let Some(cost) = distance(path, key.path, most) {
            best = Some((cost, key.path));
        }
    }
    best.map(|(_, meant)| meant).or_else(|| misplaced(path))
}

/// The key that has the right name in another place (`sshKeys` for `os.sshKeys`), if there is one and no other like it.
fn misplaced(path: &str) -> Option<&'static str> {
    let typed = last(path);
    let limit = path.len() / 12;
    // Slips, and steps in common: the fewer and the more, the likelier.
    let mut best: Option<(usize, usize, &'static str)> = None;
    let mut is_alone = true;
    for key in TABLE.iter().filter(|key| last(key.path).len() >= TELLING) {
        let Some(cost) = distance(typed, last(key.path), limit) else {
            continue;
        };
        let strange = MAX.saturating_sub(shared(path, key.path));
        match best {
            Some((least, strangest, _)) if (least, strangest) < (cost, strange) => {}
            Some((least, strangest, _)) if (least, strangest) == (cost, strange) => is_alone = false,
            _ => {
                best = Some((cost, strange, key.path));
                is_alone = true;
            }
        }
    }
    best.filter(|_| is_alone).map(|(.., meant)| meant)
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// How many steps two paths have in common, in any place.
fn shared(one: &str, other: &str) -> usize {
    one.split('.')
        .filter(|step| other.split('.').any(|known| known.eq_ignore_ascii_case(step)))
        .count()
}

/// Edits (insert, remove, replace a byte) between two names, whatever the case of ASCII; `None` if there are more than
/// `most`. A name that is too long for the table's is far from all of them.
pub(crate) fn distance(one: &str, other: &str, most: usize) -> Option<usize> {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if other.len() > MAX || one.len().abs_diff(other.len()) > most {
        return None;
    }
    let mut row = [0; MAX + 1];
    let row = &mut row[..=other.len()];
    for (at, cell) in row.iter_mut().enumerate() {
        *cell = at;
    }
    for (i, a) in one.iter().enumerate() {
        let mut diagonal = i;
        let mut least = i + 1;
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(!a.eq_ignore_ascii_case(b));
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
            least = least.min(row[j + 1]);
        }
        // No later row gets below the least of this one.
        if least > most {
            return None;
        }
    }
    Some(row[other.len()]).filter(|distance| *distance <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_was_meant() {
        let cases = [
            ("hostnam", Some("hostname")),
            ("hostName", Some("hostname")),
            ("host_name", Some("hostname")),
            ("ntpServer", Some("ntpServers")),
            ("dnsserver", Some("dnsServers")),
            ("sshKeys", Some("os.sshKeys")),
            ("os.ssh_keys", Some("os.sshKeys")),
            ("udevRules", Some("os.udevRules")),
            ("persistentLoging", Some("persistentLogging")),
            ("os.persistentLogging", Some("persistentLogging")),
            ("os.network.conectivity.uri", Some("os.network.connectivity.uri")),
            ("os.network.connectivity.url", Some("os.network.connectivity.uri")),
            (
                "os.connectivity.interval",
                Some("os.network.connectivity.interval"),
            ),
            (
                "os.wifi.randomMacAddressScan",
                Some("os.network.wifi.randomMacAddressScan"),
            ),
            ("schema", Some("$schema")),
            ("myApplication", None),
            ("application.type", None),
            ("x", None),
        ];
        for (typed, meant) in cases {
            assert_eq!(nearest(typed), meant, "{typed}");
        }
    }

    #[test]
    fn every_key_is_found_with_a_slip_and_at_the_top() {
        for key in TABLE {
            assert_eq!(nearest(key.path), Some(key.path));
            let slip = format!("{}x", key.path);
            assert_eq!(nearest(&slip), Some(key.path), "{slip}");
            assert!(key.path.len() <= MAX, "{}", key.path);
        }
    }

    #[test]
    fn counts_edits_up_to_a_limit() {
        assert_eq!(distance("kitten", "Sitting", 3), Some(3));
        assert_eq!(distance("kitten", "sitting", 2), None);
        assert_eq!(distance("", "abc", 3), Some(3));
        assert_eq!(distance("abc", "abc", 0), Some(0));
    }

    #[test]
    fn a_long_name_is_no_slip() {
        assert_eq!(nearest(&"hostname".repeat(100_000)), None);
    }
}
