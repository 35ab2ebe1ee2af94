//! The DNS fallback: resolvers in place of all others, while none of those answers.
//!
//! `fleet-config` says which they may be, `fleet-watch` says when, and the helper puts them into NetworkManager's
//! configuration.

use std::net::IpAddr;
use std::path::Path;

use crate::file;

/// Which they may be: one address a line; `fleet-config` writes it.
pub const AVAILABLE: &str = "/run/fleet/config/dns-fallback";
/// There while they are in use. It is read after the file of `fleet-config` (`50-fleet.conf`), whose resolvers it replaces.
pub const IN_USE: &str = "/run/NetworkManager/conf.d/60-fleet-dns-fallback.conf";

/// More than the C library asks (resolv.conf(5), three).
const MOST: usize = 4;
/// Far more than either file has.
const MAX_BYTES: u64 = 4096;

/// The addresses that may be used, from [`AVAILABLE`]; none if there is no fallback.
#[must_use]
pub fn available(path: &Path) -> Vec<IpAddr> {
    let text = text(path);
    let addresses = text.lines().flat_map(str::parse::<IpAddr>);
    addresses
        .filter(|address| !(address.is_unspecified() || address.is_multicast()))
        .take(MOST)
        .collect()
}

/// The resolvers for all names that a file of NetworkManager's configuration has, of those that we write.
#[must_use]
pub fn resolvers(path: &Path) -> Vec<IpAddr> {
    let text = text(path);
    let servers = text.lines().find_map(|line| line.strip_prefix("servers="));
    servers
        .into_iter()
        .flat_map(|servers| servers.split(','))
        .flat_map(str::parse)
        .collect()
}

/// What [`IN_USE`] holds (NetworkManager.conf(5), "global-dns-domain").
#[must_use]
pub fn content(servers: &[IpAddr]) -> String {
    let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
    format!(
        "# Made by fleet-helper while no configured resolver answers.\n\n[global-dns-domain-*]\nservers={}\n",
        servers.join(",")
    )
}

/// One that cannot be read has nothing.
fn text(path: &Path) -> String {
    let bytes = file::read(path, MAX_BYTES).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_count_and_four_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dns-fallback");
        assert!(available(&path).is_empty(), "no file");
        for (text, addresses) in [
            ("", vec![]),
            ("9.9.9.9\n2620:fe::fe\n", vec!["9.9.9.9", "2620:fe::fe"]),
            (
                "0.0.0.0\n::\n224.0.0.1\nff02::1\nexample\n9.9.9.9 x\n1.1.1.1\n",
                vec!["1.1.1.1"],
            ),
            (
                "10.0.0.1\n10.0.0.2\n10.0.0.3\n10.0.0.4\n10.0.0.5\n",
                vec!["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"],
            ),
        ] {
            std::fs::write(&path, text).unwrap();
            let expected: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
            assert_eq!(available(&path), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("60-fleet-dns-fallback.conf");
        let servers: Vec<IpAddr> = vec![[9, 9, 9, 9].into(), "2620:fe::fe".parse().unwrap()];
        std::fs::write(&path, content(&servers)).unwrap();
        assert_eq!(resolvers(&path), servers);
        std::fs::write(&path, "[connectivity]\nuri=http://a\n").unwrap();
        assert!(resolvers(&path).is_empty());
    }
}
