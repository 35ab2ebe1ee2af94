//! Host and port, as addresses on the web have them between their scheme and their path.

use std::net::Ipv6Addr;

use super::hostname::domain;

/// Host and port (RFC 3986 §3.2), without a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Authority<'t> {
    /// A host name, an IPv4 address, or an IPv6 address with its brackets.
    pub(super) host: &'t str,
    /// 1 to 65535.
    pub(super) port: Option<u16>,
}

impl<'t> Authority<'t> {
    /// Reads `HOST` or `HOST:PORT`. The error is the rule that was broken.
    pub(super) fn parse(text: &'t str) -> Result<Self, &'static str> {
        let end = match text.strip_prefix('[') {
            Some(literal) => match literal.split_once(']') {
                Some((address, _)) if address.parse::<Ipv6Addr>().is_ok() => address.len() + 2,
                _ => return Err("between the brackets of an address there is an IPv6 address"),
            },
            None => text.find(':').unwrap_or(text.len()),
        };
        let (host, port) = text.split_at(end);
        if !host.starts_with('[') && domain(host).is_err() {
            return Err(
                "the host in the address is a host name, an IPv4 address, or an IPv6 address in brackets",
            );
        }
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            // A number's own reading takes a plus sign.
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|port| *port > 0)
            }
            _ => None,
        };
        if port.is_none() && text.len() > end {
            return Err("the port in the address is a number from 1 to 65535");
        }
        Ok(Self { host, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        for (text, host, port) in [
            ("a.example", "a.example", None),
            ("a.example:80", "a.example", Some(80)),
            ("192.0.2.1:65535", "192.0.2.1", Some(65535)),
            ("[2001:db8::1]", "[2001:db8::1]", None),
            ("[2001:db8::1]:1", "[2001:db8::1]", Some(1)),
        ] {
            assert_eq!(Authority::parse(text), Ok(Authority { host, port }), "{text}");
        }
        for text in [
            "",
            ":80",
            "a.example:",
            "a.example:0",
            "a.example:+80",
            "a.example:65536",
            "a.example:80:80",
            "2001:db8::1",
            "[2001:db8::1",
            "[a.example]:80",
            "[2001:db8::1]80",
            "a_b.example",
            "me@a.example:80",
        ] {
            assert!(Authority::parse(text).is_err(), "{text}");
        }
    }
}
