//! The files that are made of a configuration, each for one reader.
//!
//! Every value in them is a type without line breaks, so that no value can begin a line or a section of its own.

use std::fmt::Write;

use crate::config::Proxy;
use crate::journal_settings::JournalSettings;
use crate::value::{CollectorUrl, Country};
use crate::wanted::{Check, Dns, Probes, Time, Wanted};

const HEAD: &str =
    "# Made by fleet-config from config.json and /usr/lib/fleet/fleet.toml; changes are overwritten.\n";

/// The regulatory domain that holds everywhere.
pub(crate) const WORLD: &str = "00";

/// A file that is made, below `/run/fleet/config`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum File {
    /// For NetworkManager, as its `conf.d/50-fleet.conf`.
    NetworkManager,
    /// For chrony's `sourcedir`.
    TimeSources,
    /// For `fleet-watch` and the helper: the fallback resolvers, one address a line; no line: no fallback.
    Fallback,
    /// For journald, as its `journald.conf.d/60-fleet.conf`.
    JournalLimits,
    /// For `EnvironmentFile=-` and for login shells.
    Proxy,
    /// For `fleet-watch`: how it probes, and what it may repair. `fleet-helper` reads there whether it may reboot.
    Probes,
    /// For `fleet-regdomain`: the country; `00`, the world domain, for none.
    Country,
}

impl File {
    /// All of them.
    pub(crate) const ALL: [Self; 7] = [
        Self::NetworkManager,
        Self::TimeSources,
        Self::Fallback,
        Self::Probes,
        Self::Country,
        Self::JournalLimits,
        Self::Proxy,
    ];

    /// Where it is, below the folder of what is made.
    pub(crate) const fn path(self) -> &'static str {
        match self {
            Self::NetworkManager => "NetworkManager.conf",
            Self::TimeSources => "chrony/fleet.sources",
            Self::Fallback => "dns-fallback",
            Self::Probes => "watch.conf",
            Self::JournalLimits => "journald.conf",
            Self::Proxy => "proxy.env",
            Self::Country => "country",
        }
    }

    /// What is in it.
    pub(crate) fn content(self, wanted: &Wanted) -> String {
        match self {
            Self::NetworkManager => network_manager(wanted),
            Self::TimeSources => time_sources(&wanted.time),
            Self::Fallback => fallback(&wanted.dns),
            Self::Probes => probes(wanted.probes),
            Self::JournalLimits => journal_limits(&wanted.journal),
            Self::Proxy => proxy(&wanted.proxy),
            Self::Country => format!("{}\n", wanted.country.map_or(WORLD, Country::as_str)),
        }
    }
}

/// NetworkManager.conf(5).
fn network_manager(wanted: &Wanted) -> String {
    let mut text = HEAD.to_owned();
    text.push_str("\n[connectivity]\n");
    match &wanted.check {
        // An empty address takes back one that a package set; interval 0 alone leaves the check enabled.
        Check::Off => text.push_str("enabled=false\nuri=\ninterval=0\n"),
        Check::On {
            uri,
            interval,
            response,
        } => {
            let interval = interval.get();
            let response = escaped(response.as_str());
            // An empty `response=` is what makes NetworkManager accept status 204.
            let _ = write!(
                text,
                "enabled=true\nuri={uri}\ninterval={interval}\nresponse={response}\n"
            );
        }
    }
    if !wanted.dns.servers.is_empty() {
        let servers: Vec<String> = wanted.dns.servers.iter().map(ToString::to_string).collect();
        let _ = write!(text, "\n[global-dns-domain-*]\nservers={}\n", servers.join(","));
    }
    if let Some(random) = wanted.random_scan_address {
        let random = if random { "yes" } else { "no" };
        let _ = write!(
            text,
            "\n[device-fleet]\nmatch-device=type:wifi\nwifi.scan-rand-mac-address={random}\n"
        );
    }
    text
}

/// GLib's key file reads `\` as the beginning of an escape.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
}

/// chrony.conf(5), `sourcedir`: `server`, `pool` and `peer` lines. `trust`: where they and a server that a lease names
/// disagree, they are right.
fn time_sources(time: &Time) -> String {
    let mut text = HEAD.to_owned();
    let (kind, sources) = match time {
        Time::Servers(servers) => ("server", servers),
        Time::Pools(pools) => ("pool", pools),
    };
    for source in sources {
        let _ = writeln!(text, "{kind} {source} iburst trust");
    }
    text
}

fn fallback(dns: &Dns) -> String {
    dns.fallback
        .iter()
        .map(|address| format!("{address}\n"))
        .collect()
}

fn probes(probes: Probes) -> String {
    let Probes {
        interval,
        metered_interval,
        monthly_budget,
        repair,
        repair_after,
        repair_reboot,
    } = probes;
    let (repair, repair_reboot) = (u8::from(repair), u8::from(repair_reboot));
    format!(
        "{HEAD}interval={interval}\nmetered_interval={metered_interval}\nmonthly_budget={monthly_budget}\n\
         repair={repair}\nrepair_after={repair_after}\nrepair_reboot={repair_reboot}\n"
    )
}

/// journald.conf(5), complete; and what was asked for, in a section that systemd's parser leaves alone because of the
/// beginning of its name (`config_parse`).
pub(crate) fn journal_limits(settings: &JournalSettings) -> String {
    let mut text = HEAD.to_owned();
    for (section, values) in [
        ("Journal", &settings.for_journald()[..]),
        ("X-Fleet", &settings.asked_for()[..]),
    ] {
        let _ = write!(text, "\n[{section}]\n");
        for (name, number) in values {
            let _ = writeln!(text, "{name}={number}");
        }
    }
    text
}

/// journal-upload.conf(5).
pub(crate) fn journal_upload(url: &CollectorUrl, client: bool) -> String {
    // `-`: none. Where the unit's credentials are is systemd.exec(5)'s.
    let credential = |name: &str| match client {
        true => format!("/run/credentials/systemd-journal-upload.service/{name}"),
        false => "-".to_owned(),
    };
    format!(
        "{HEAD}\n[Upload]\nURL={url}\nServerKeyFile={}\nServerCertificateFile={}\n\
         TrustedCertificateFile=/etc/ssl/certs/ca-certificates.crt\n",
        credential("key"),
        credential("certificate")
    )
}

/// systemd.exec(5), `EnvironmentFile=`; a shell reads the same. The values need no quotes in either.
fn proxy(proxy: &Proxy) -> String {
    let mut text = HEAD.to_owned();
    for (name, value) in ["http_proxy", "https_proxy", "no_proxy"]
        .iter()
        .zip(proxy.values())
    {
        if !value.is_empty() {
            let _ = write!(text, "{name}={value}\n{}={value}\n", name.to_ascii_uppercase());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Config;
    use crate::defaults::Defaults;
    use crate::document::Document;
    use crate::value::Uuid;

    fn rendered(document: &str) -> String {
        let identity = Uuid::try_from("0123456789abcdef0123456789abcdef").unwrap();
        let config = Config::read(&Document::parse(document.as_bytes()).unwrap());
        let wanted = Wanted::new(config, &Defaults::default(), &identity, Vec::new()).unwrap();
        File::ALL.iter().map(|file| file.content(&wanted)).collect()
    }

    proptest! {
        /// Whatever a document holds, the files have the lines and sections that we write and no others.
        #[test]
        fn no_value_adds_a_line(texts in proptest::collection::vec(".{0,30}", 4)) {
            let document = serde_json::json!({
                "ntpServers": [texts[0]],
                "dnsServers": texts[1],
                "os": { "network": { "connectivity": {
                    "uri": format!("http://a/{}", texts[2]), "response": texts[3], "interval": texts[1],
                } },
                "proxy": { "http": format!("http://{}:80", texts[0]), "noProxy": texts[1] },
                "journal": { "maxUse": texts[2], "retention": texts[3] } },
            });
            for line in rendered(&document.to_string()).lines() {
                let known = ["#", "[connectivity]", "[global-dns-domain-*]", "enabled=", "uri=", "interval=",
                    "response=", "servers=", "server ", "pool ", "[Journal]", "http_proxy=", "HTTP_PROXY=",
                    "no_proxy=", "NO_PROXY=", "[X-Fleet]", "System", "Max", "RateLimit", "SyncIntervalSec=",
                    "KeepFree=", "Retention=", "00", "metered_interval=", "monthly_budget=",
                    "repair=", "repair_after=", "repair_reboot="];
                prop_assert!(line.is_empty() || known.iter().any(|known| line.starts_with(known)), "{line:?}");
                prop_assert!(!line.chars().any(char::is_control));
            }
        }
    }

    #[test]
    fn an_off_switch_takes_back_a_packages_address() {
        for off in [
            r#"{"os":{"network":{"connectivity":{"uri":"null"}}}}"#,
            r#"{"os":{"network":{"connectivity":{"uri":"http://a","interval":"0"}}}}"#,
        ] {
            assert!(
                rendered(off).contains("[connectivity]\nenabled=false\nuri=\n"),
                "{off}"
            );
        }
    }
}
