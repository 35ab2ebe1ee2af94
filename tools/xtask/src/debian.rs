//! Where packages of Debian's releases come from: the mirror is the one that this machine gets Debian from, the keys are
//! those of debian-archive-keyring.

use std::process::Command;

use anyhow::{Context, bail};

use crate::setup::sources::{self, Source};

/// The keys of Debian's archive.
pub const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Names another mirror than the machine's own, for machines whose sources are not Debian's.
const MIRROR_VARIABLE: &str = "FLEET_DEBIAN_MIRROR";

/// This machine's apt settings that decide whether and how it reaches its mirror, in apt.conf(5)'s syntax.
pub fn host_options() -> anyhow::Result<Vec<String>> {
    if Command::new("apt-config").arg("--version").output().is_err() {
        return Ok(Vec::new());
    }
    let output = Command::new("apt-config")
        .arg("dump")
        .output()
        .context("cannot run apt-config")?;
    if !output.status.success() {
        bail!("apt-config dump failed ({})", output.status);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let wanted = [
        "Acquire::http",
        "Acquire::https",
        "Acquire::Check-",
        "Acquire::Retries",
        "Acquire::Force",
    ];
    Ok(text
        .lines()
        .filter(|line| wanted.iter().any(|prefix| line.starts_with(prefix)) && !line.ends_with("\"\";"))
        .map(str::to_owned)
        .collect())
}

/// The `deb` lines of a release, with its updates, for mmdebstrap. Empty when the machine has no source of Debian: mmdebstrap
/// then takes its own default.
pub fn mirrors(suite: &str) -> anyhow::Result<Vec<String>> {
    Ok(lines(
        suite,
        std::env::var(MIRROR_VARIABLE).ok(),
        &sources::read()?,
    ))
}

fn lines(suite: &str, chosen: Option<String>, sources: &[Source]) -> Vec<String> {
    if let Some(mirror) = chosen.filter(|mirror| !mirror.is_empty()) {
        return vec![format!("deb {mirror} {suite} main")];
    }
    let uri_of = |suffix: &str| {
        sources
            .iter()
            .find(|source| {
                source
                    .suites
                    .iter()
                    .any(|suite| DEBIAN.iter().any(|name| *suite == format!("{name}{suffix}")))
            })
            .and_then(|source| source.uris.first())
    };
    let suites = [
        ("", suite.to_owned()),
        ("-updates", format!("{suite}-updates")),
        ("-security", format!("{suite}-security")),
    ];
    let lines: Vec<String> = suites
        .iter()
        .filter_map(|(suffix, suite)| Some(format!("deb {} {suite} main", uri_of(suffix)?)))
        .collect();
    // Security alone is no Debian.
    if uri_of("").is_some() { lines } else { Vec::new() }
}

/// Debian's releases that a workstation may run: any of them tells the mirror.
const DEBIAN: &[&str] = &[
    "bookworm", "trixie", "forky", "testing", "stable", "sid", "unstable",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn source(uri: &str, suites: &[&str]) -> Source {
        Source {
            uris: vec![uri.into()],
            suites: suites.iter().map(|&suite| suite.into()).collect(),
            components: vec!["main".into()],
            options: Vec::new(),
        }
    }

    #[test]
    fn mirrors_come_from_the_machines_own_sources() {
        let sources = [
            source("https://tools.example/apt", &["nodistro"]),
            source("http://m.example/debian", &["bookworm", "bookworm-updates"]),
            source("http://m.example/security", &["bookworm-security"]),
        ];
        assert_eq!(
            lines("trixie", None, &sources),
            [
                "deb http://m.example/debian trixie main",
                "deb http://m.example/debian trixie-updates main",
                "deb http://m.example/security trixie-security main",
            ]
        );
        assert_eq!(
            lines("trixie", Some("http://o.example".into()), &sources),
            ["deb http://o.example trixie main"]
        );
        assert!(
            lines(
                "trixie",
                None,
                &[source("http://m.example/ubuntu", &["noble", "noble-security"])]
            )
            .is_empty()
        );
    }
}
