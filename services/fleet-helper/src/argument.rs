//! Arguments that have passed their rule.
//!
//! The callers check too; here it is checked again because what is on this side of the bus is root.

use fleet_base::sysctl::{self, Parameter};
use fleet_base::{bus, udev_rules};
use zbus::Dict;

/// A host name: what RFC 1123 section 2.1 allows, in at most 64 bytes (`HOST_NAME_MAX`, gethostname(2)).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HostName(String);

impl HostName {
    const MAX: usize = 64;
    const MAX_LABEL: usize = 63;

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for HostName {
    type Error = bus::Error;

    fn try_from(name: &str) -> bus::Result<Self> {
        let label_is_good = |label: &str| {
            (1..=Self::MAX_LABEL).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if name.len() <= Self::MAX && name.split('.').all(label_is_good) {
            return Ok(Self(name.to_owned()));
        }
        Err(bus::Error::InvalidArgument(format!(
            "{name:?} is not a host name: at most 64 characters, labels of letters, digits and inner hyphens with \
             dots between them (RFC 1123)"
        )))
    }
}

/// The name of a connection profile, which becomes part of a file name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ProfileName(String);

impl ProfileName {
    const MAX: usize = 64;

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for ProfileName {
    type Error = bus::Error;

    fn try_from(name: &str) -> bus::Result<Self> {
        let good = (1..=Self::MAX).contains(&name.len())
            && name.as_bytes()[0].is_ascii_alphanumeric()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b" ._-".contains(&byte));
        if good {
            return Ok(Self(name.to_owned()));
        }
        Err(bus::Error::InvalidArgument(format!(
            "{name:?} is not a profile name: 1 to 64 letters, digits, spaces, dots, hyphens and underscores, beginning \
             with a letter or digit"
        )))
    }
}

/// A complete set of connection profiles: (name, keyfile), each name once, within the limits.
pub(crate) struct ProfileSet(Vec<(ProfileName, Vec<u8>)>);

impl ProfileSet {
    /// More profiles than any device has; a limit all the same, since `/run` is memory.
    const MAX_PROFILES: usize = 64;
    /// Bytes a keyfile; with certificates inline a real one stays below 16 KiB.
    const MAX_BYTES: usize = 64 * 1024;

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(ProfileName, Vec<u8>)> {
        self.0.iter()
    }
}

impl TryFrom<Vec<(String, Vec<u8>)>> for ProfileSet {
    type Error = bus::Error;

    fn try_from(profiles: Vec<(String, Vec<u8>)>) -> bus::Result<Self> {
        let invalid = |reason| Err(bus::Error::InvalidArgument(reason));
        if profiles.len() > Self::MAX_PROFILES {
            return invalid(format!(
                "{} connection profiles: at most {} are taken",
                profiles.len(),
                Self::MAX_PROFILES
            ));
        }
        let mut set: Vec<(ProfileName, Vec<u8>)> = Vec::with_capacity(profiles.len());
        for (name, keyfile) in profiles {
            let name = ProfileName::try_from(name.as_str())?;
            if keyfile.len() > Self::MAX_BYTES {
                return invalid(format!(
                    "the connection profile {:?} has {} bytes: at most {} are taken",
                    name.as_str(),
                    keyfile.len(),
                    Self::MAX_BYTES
                ));
            }
            if set.iter().any(|(other, _)| *other == name) {
                return invalid(format!(
                    "the connection profile {:?} is listed twice",
                    name.as_str()
                ));
            }
            set.push((name, keyfile));
        }
        Ok(Self(set))
    }
}

/// Kernel parameters of the allow-list with values in their ranges.
#[derive(Debug)]
pub(crate) struct KernelParameters(Vec<(&'static Parameter, i64)>);

impl KernelParameters {
    pub(crate) fn as_slice(&self) -> &[(&'static Parameter, i64)] {
        &self.0
    }
}

impl TryFrom<Dict<'static, 'static>> for KernelParameters {
    type Error = bus::Error;

    fn try_from(parameters: Dict<'static, 'static>) -> bus::Result<Self> {
        let mut good = Vec::new();
        for (name, value) in parameters {
            let (name, value): (String, i64) = (name.try_into()?, value.try_into()?);
            let parameter = sysctl::find(&name).filter(|parameter| parameter.takes(value));
            good.push((
                parameter.ok_or_else(|| {
                    bus::Error::InvalidArgument(format!(
                        "{name:?} = {value} is not a kernel parameter that may be set, or not a value that it may have"
                    ))
                })?,
                value,
            ));
        }
        Ok(Self(good))
    }
}

/// The value of a proxy variable: printable and without what a shell or systemd.exec(5) (`EnvironmentFile=`) reads as
/// anything else than itself. Empty: none.
#[derive(Debug)]
pub(crate) struct ProxyValue(String);

impl ProxyValue {
    const MAX: usize = 2048;

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ProxyValue {
    type Error = bus::Error;

    fn try_from(text: String) -> bus::Result<Self> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:/[],*".contains(&byte);
        if text.len() <= Self::MAX && text.bytes().all(allowed) {
            return Ok(Self(text));
        }
        // Not repeated: it may carry a password.
        Err(bus::Error::InvalidArgument(
            "the value of a proxy has letters, digits and - . : / [ ] , * only, at most 2048".to_owned(),
        ))
    }
}

/// A limit of the hardware watchdog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WatchdogLimit {
    /// What the image has.
    Image,
    /// Seconds; 0: off.
    Seconds(u64),
}

impl TryFrom<u64> for WatchdogLimit {
    type Error = bus::Error;

    fn try_from(seconds: u64) -> bus::Result<Self> {
        match seconds {
            u64::MAX => Ok(Self::Image),
            0 | 10..=600 => Ok(Self::Seconds(seconds)),
            _ => Err(bus::Error::InvalidArgument(format!(
                "a watchdog of {seconds} s: 0 (off), 10 to 600, or 2^64-1 (what the image has) were expected"
            ))),
        }
    }
}

/// A complete set of udev rule files: (name, text), each name once, within the limits, and nothing in them that is for
/// development mode only unless that is on.
#[derive(Debug)]
pub(crate) struct RuleSet(Vec<(String, String)>);

impl RuleSet {
    pub(crate) fn new(rules: Vec<(String, String)>, development: bool) -> bus::Result<Self> {
        let invalid = |reason| Err(bus::Error::InvalidArgument(reason));
        let total: usize = rules.iter().map(|(_, text)| text.len()).sum();
        if rules.len() > udev_rules::MAX_FILES || total > udev_rules::MAX_TOTAL {
            return invalid(format!(
                "{} udev rule files of {total} bytes are too many",
                rules.len()
            ));
        }
        for (index, (name, text)) in rules.iter().enumerate() {
            let judged = match udev_rules::stem(name) {
                Ok(stem) if stem != name => Err("its name has the ending .rules".to_owned()),
                Ok(_) => udev_rules::check(text, development).map_err(|problem| problem.to_string()),
                Err(problem) => Err(problem.to_string()),
            };
            if let Err(reason) = judged {
                return invalid(format!("the udev rule file {name:?} is not taken: {reason}"));
            }
            if rules.iter().take(index).any(|(other, _)| other == name) {
                return invalid(format!("the udev rule file {name:?} is listed twice"));
            }
        }
        Ok(Self(rules))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_parameters() {
        let read = |entries: &[(&str, i64)]| {
            let argument = fleet_base::proxy::helper::kernel_parameters(entries).unwrap();
            KernelParameters::try_from(Dict::try_from(argument).unwrap()).map(|good| good.0.len())
        };
        assert_eq!(read(&[]).unwrap(), 0);
        assert_eq!(read(&[("vm.swappiness", 10), ("kernel.panic", 1)]).unwrap(), 2);
        for bad in [
            ("kernel.core_pattern", 1),
            ("../vm/swappiness", 1),
            ("vm/swappiness", 1),
            ("", 1),
            ("vm.swappiness", 201),
            ("kernel.panic", 0),
            ("vm.min_free_kbytes", i64::MAX),
        ] {
            assert!(read(&[("vm.swappiness", 1), bad]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn proxy_values() {
        for ok in ["", "http://[2001:db8::1]:3128", "localhost,.example,*,10.0.0.0/8"] {
            assert!(ProxyValue::try_from(ok.to_owned()).is_ok(), "{ok}");
        }
        let long = "a".repeat(2049);
        for bad in [
            "http://me:p@a:1",
            "a b",
            "a\nX=1",
            "a=b",
            "$(id)",
            "a\"",
            "a;b",
            "\u{e9}",
            &long,
        ] {
            assert!(ProxyValue::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn watchdog_limits() {
        for (number, ok) in [
            (0, true),
            (9, false),
            (10, true),
            (600, true),
            (601, false),
            (u64::MAX, true),
            (u64::MAX - 1, false),
        ] {
            assert_eq!(WatchdogLimit::try_from(number).is_ok(), ok, "{number}");
        }
    }

    #[test]
    fn host_names() {
        let longest = format!("{}.{}", "a".repeat(32), "b".repeat(31));
        let label_of_63 = "a".repeat(63);
        for ok in [
            "a",
            "7",
            "fleet",
            "Fleet-1",
            "device-7.example.com",
            "3com",
            &longest,
            &label_of_63,
        ] {
            assert!(HostName::try_from(ok).is_ok(), "{ok:?}");
        }
        let too_long = format!("{longest}b");
        let label_of_64 = "a".repeat(64);
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "-a",
            "a-",
            "a-.b",
            "a b",
            "a_b",
            "a\n",
            "a\0",
            "ä",
            "a/b",
            "$(id)",
            &too_long,
            &label_of_64,
        ] {
            assert!(HostName::try_from(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn profile_names() {
        let longest = "a".repeat(64);
        for ok in ["home", "Wired connection 1", "0", "a.b_c-d", &longest] {
            assert!(ProfileName::try_from(ok).is_ok(), "{ok:?}");
        }
        let too_long = "a".repeat(65);
        for bad in [
            "", ".", "..", ".hidden", "-x", " x", "_x", "a/b", "../a", "a\0", "a\n", "ä", "a%b", &too_long,
        ] {
            assert!(ProfileName::try_from(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn rule_sets() {
        let set = |rules: &[(&str, &str)], development| {
            let rules = rules
                .iter()
                .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
            RuleSet::new(rules.collect(), development)
        };
        let long = "#".repeat(32_000);
        let run = "RUN+=\"/bin/sh\"";
        assert!(set(&[], false).is_ok());
        assert!(set(&[("56", "SUBSYSTEM==\"tty\", SYMLINK+=\"a\""), ("57", "")], false).is_ok());
        assert!(set(&[("56", run)], true).is_ok());
        let many: Vec<(String, String)> = (0..65)
            .map(|number| (number.to_string(), String::new()))
            .collect();
        assert!(RuleSet::new(many, true).is_err());
        let all: Vec<(String, String)> = (0..9).map(|number| (number.to_string(), long.clone())).collect();
        assert!(RuleSet::new(all, true).is_err());
        for bad in [
            ("56", run),
            ("../x", ""),
            ("56.rules", ""),
            ("/etc/x", ""),
            ("", ""),
            ("56", "nonsense"),
        ] {
            assert!(set(&[bad], false).is_err(), "{bad:?}");
        }
        assert!(set(&[("56", ""), ("56", "")], false).is_err());
    }

    #[test]
    fn profile_sets() {
        let profile = |name: &str, length| (name.to_owned(), vec![b'x'; length]);
        let many = |count: usize| {
            (0..count)
                .map(|number| profile(&number.to_string(), 1))
                .collect::<Vec<_>>()
        };
        for ok in [
            vec![],
            vec![profile("a", 65_536)],
            vec![profile("a", 0), profile("A", 0)],
            many(64),
        ] {
            assert!(ProfileSet::try_from(ok).is_ok());
        }
        for bad in [
            vec![profile("a", 65_537)],
            vec![profile("a", 1), profile("a", 2)],
            vec![profile("../a", 1)],
            many(65),
        ] {
            assert!(ProfileSet::try_from(bad).is_err());
        }
    }
}
