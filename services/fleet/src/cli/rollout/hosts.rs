//! Who is meant: `[user@]host[:port]`, as ssh knows it.

use std::collections::HashMap;
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// A device, as ssh reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Host {
    /// As it was written.
    written: String,
    /// Who logs in.
    pub(super) user: String,
    /// A name, a name of the user's ssh_config(5), or an address without brackets.
    pub(super) name: String,
    pub(super) port: u16,
}

/// Who logs in, and where, unless the list says otherwise: sshd of Fleet OS listens there.
const USER: &str = "root";
const PORT: u16 = 22222;

/// Why a line of the list names nobody.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Error {
    /// It has not the form. What is wrong, and what was written.
    Form(&'static str, String),
    /// A line of a list, from 1.
    Line(usize, Box<Error>),
    /// It is in the list twice.
    Twice(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form(rule, written) => write!(
                f,
                "\"{}\" is not [user@]host[:port]: {rule}",
                written.escape_debug()
            ),
            Self::Line(line, error) => write!(f, "line {line}: {error}"),
            Self::Twice(host) => write!(f, "{host} is in the list twice"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Line(_, error) => Some(error.as_ref()),
            _ => None,
        }
    }
}

impl Host {
    /// Reads `[user@]host[:port]`; an IPv6 address stands in brackets, as in `[fe80::1%eth0]:22`.
    ///
    /// Strict, because ssh gets it: nothing that begins with a dash, and no character that an ssh_config(5) could make
    /// a command of.
    pub(super) fn parse(written: &str) -> Result<Self, Error> {
        let form = |rule| Error::Form(rule, written.chars().take(100).collect());
        let (user, rest) = match written.rsplit_once('@') {
            Some((user, rest)) if is_name(user) => (user, rest),
            Some(_) => return Err(form("the user is made of letters, digits and . _ -")),
            None => (USER, written),
        };
        let (name, port) = if let Some(rest) = rest.strip_prefix('[') {
            let (address, port) = rest.split_once(']').ok_or_else(|| form("there is no ]"))?;
            let (plain, zone) = address.split_once('%').unwrap_or((address, "lo"));
            if Ipv6Addr::from_str(plain).is_err() || !is_name(zone) {
                return Err(form("in brackets stands an IPv6 address"));
            }
            let port = match port.strip_prefix(':') {
                None if port.is_empty() => None,
                None => return Err(form("after ] comes :port or nothing")),
                port => port,
            };
            (address, port)
        } else {
            match rest.split_once(':') {
                Some((_, port)) if port.contains(':') => {
                    return Err(form("an IPv6 address stands in brackets"));
                }
                Some((name, port)) => (name, Some(port)),
                None => (rest, None),
            }
        };
        if !written.contains('[') && !is_name(name) {
            return Err(form(
                "the host is made of at most 253 letters, digits and . _ - and begins with none of these",
            ));
        }
        let port = match port {
            None => PORT,
            Some(port) => port
                .parse()
                .ok()
                .filter(|&number: &u16| number > 0 && port.bytes().all(|digit| digit.is_ascii_digit()))
                .ok_or_else(|| form("the port is a number from 1 to 65535"))?,
        };
        Ok(Self {
            written: written.to_owned(),
            user: user.to_owned(),
            name: name.to_owned(),
            port,
        })
    }
}

/// As it was written.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.written)
    }
}

fn is_name(text: &str) -> bool {
    let inner = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    text.len() <= 253
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.chars().all(inner)
}

/// Reads a list: a host a line; what follows a `#`, and empty lines, are left out.
pub(super) fn parse_list(text: &str) -> Result<Vec<Host>, Error> {
    let mut hosts = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split_once('#').map_or(line, |(line, _)| line).trim();
        if !line.is_empty() {
            hosts.push(Host::parse(line).map_err(|error| Error::Line(number, Box::new(error)))?);
        }
    }
    Ok(hosts)
}

/// Refuses a device that is listed twice: it would be changed twice at once.
pub(super) fn refuse_twice(hosts: &[Host]) -> Result<(), Error> {
    let mut seen = HashMap::with_capacity(hosts.len());
    for host in hosts {
        // Whoever logs in, it is one device.
        if seen
            .insert((host.name.to_ascii_lowercase(), host.port), ())
            .is_some()
        {
            return Err(Error::Twice(host.to_string()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_ssh_takes() {
        let ok = [
            ("pump-17", "root", "pump-17", 22222),
            ("pump-17.example.org:22", "root", "pump-17.example.org", 22),
            ("admin@10.0.0.7", "admin", "10.0.0.7", 22222),
            ("a_b@my_alias", "a_b", "my_alias", 22222),
            ("[2001:db8::1]", "root", "2001:db8::1", 22222),
            ("u@[fe80::1%eth0]:2222", "u", "fe80::1%eth0", 2222),
            ("7:65535", "root", "7", 65535),
        ];
        for (written, user, name, port) in ok {
            let host = Host::parse(written).unwrap();
            assert_eq!(
                (host.user.as_str(), host.name.as_str(), host.port),
                (user, name, port),
                "{written}"
            );
            assert_eq!(host.to_string(), written);
        }
    }

    #[test]
    fn refuses_what_would_be_something_else_to_ssh() {
        let long = "a".repeat(254);
        let bad = [
            "",
            "-oProxyCommand=reboot",
            "-l@host",
            "@host",
            "user@",
            "user@-host",
            "a b",
            "a;b",
            "$(reboot)",
            "a`b`",
            "ssh://host",
            "host:",
            "host:0",
            "host:65536",
            "host:+1",
            "host:ssh",
            "2001:db8::1",
            "[2001:db8::1",
            "[host]",
            "[::1]x",
            "[::1]:",
            "[::1%-x]",
            "[::1%a b]",
            "[]",
            "höst",
            long.as_str(),
        ];
        for written in bad {
            let error = Host::parse(written).unwrap_err().to_string();
            assert!(error.contains("[user@]host[:port]"), "{written}: {error}");
        }
    }

    #[test]
    fn a_list_has_comments_and_says_which_line_is_wrong() {
        let hosts = parse_list("# ours\n\nalpha # the first\r\n  [::1]:2\n").unwrap();
        assert_eq!(hosts.len(), 2);
        assert_eq!(hosts[0].name, "alpha");
        let error = parse_list("alpha\n\n-x\n").unwrap_err().to_string();
        assert!(error.starts_with("line 3: \"-x\""), "{error}");
    }

    #[test]
    fn nobody_is_changed_twice() {
        let twice = parse_list("alpha\nroot@Alpha:22222\n").unwrap();
        assert_eq!(refuse_twice(&twice), Err(Error::Twice("root@Alpha:22222".into())));
        assert_eq!(refuse_twice(&parse_list("alpha\nalpha:22\n").unwrap()), Ok(()));
    }
}
