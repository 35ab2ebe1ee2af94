//! Servers for time and names.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use serde_json::Value;

use super::hostname::domain;
use super::{NONE, Refusal, words};

/// A time server: a host name (RFC 1123) or an IP address. Nothing else, so that it is one word of one line in
/// chrony's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeServer(String);

impl TryFrom<&str> for TimeServer {
    type Error = Refusal;

    fn try_from(text: &str) -> Result<Self, Refusal> {
        if text.parse::<Ipv6Addr>().is_err() {
            if text.contains(':') {
                return Err(Refusal::of(
                    text,
                    "a time server is a host name or an address, without a port",
                ));
            }
            // IPv4 addresses have the form of host names.
            domain(text)?;
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for TimeServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The time servers of `ntpServers`: these in place of the product's pool. Empty: none at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeServers(pub Vec<TimeServer>);

impl TimeServers {
    /// Reads the key's value. `Ok(None)`: nothing in it, as if the key was not there.
    ///
    /// # Errors
    /// [`Refusal`]: of the first entry that is neither host name nor address.
    pub fn read(value: &Value) -> Result<Option<Self>, Refusal> {
        let words = words(value)?;
        let servers = words
            .iter()
            .filter(|word| **word != NONE)
            .map(|word| TimeServer::try_from(*word));
        let servers: Vec<_> = servers.collect::<Result<_, _>>()?;
        Ok((!words.is_empty()).then_some(Self(servers)))
    }
}

/// The resolvers of `dnsServers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameServers {
    /// The string `"null"`: none of ours, and no fallback either.
    NoFallback,
    /// These.
    Servers(Vec<IpAddr>),
}

impl NameServers {
    const RULE: &'static str = "a resolver is an IPv4 or IPv6 address; other ports than 53 are not supported";

    /// Reads the key's value. `Ok(None)`: nothing in it, as if the key was not there.
    ///
    /// # Errors
    /// [`Refusal`]: of the first entry that is not an address.
    pub fn read(value: &Value) -> Result<Option<Self>, Refusal> {
        let words = words(value)?;
        if words.contains(&NONE) {
            return match words.as_slice() {
                [_] => Ok(Some(Self::NoFallback)),
                _ => Err(Refusal::unnamed(
                    "\"null\" stands alone, addresses beside it have no meaning",
                )),
            };
        }
        let servers: Vec<_> = words.iter().map(|word| address(word)).collect::<Result<_, _>>()?;
        Ok((!servers.is_empty()).then_some(Self::Servers(servers)))
    }
}

/// An address; dnsmasq's `address#53`, which balenaOS takes, says nothing more than the address.
fn address(word: &str) -> Result<IpAddr, Refusal> {
    let refuse = || Refusal::of(word, NameServers::RULE);
    let address: IpAddr = word
        .strip_suffix("#53")
        .unwrap_or(word)
        .parse()
        .map_err(|_| refuse())?;
    if address.is_unspecified() || address.is_multicast() {
        return Err(Refusal::of(word, "this is not the address of one host"));
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn time_servers_are_names_or_addresses() {
        let read = |value| TimeServers::read(&value).map(|servers| servers.map(|servers| servers.0.len()));
        assert_eq!(read(json!("a.example  10.0.0.1\t2001:db8::1")), Ok(Some(3)));
        assert_eq!(read(json!(["a.example", "b.example c.example"])), Ok(Some(3)));
        assert_eq!(read(json!("null")), Ok(Some(0)));
        assert_eq!(read(json!("")), Ok(None));
        assert_eq!(read(json!([])), Ok(None));
        for bad in [
            json!("a; id"),
            json!(["$(id)"]),
            json!(1),
            json!({}),
            json!([1]),
            json!("a:123"),
            json!("a\u{0}"),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_time_server_spans_lines_or_words() {
        // `id` is a host name like any other here; on balenaOS it was run as a command.
        assert!(TimeServers::read(&json!(["a", "id"])).is_ok());
        for bad in [
            "a\nserver b",
            "a b",
            "a #c",
            "a\u{a0}b",
            "!a",
            "[::1]",
            "fe80::1%eth0",
        ] {
            assert!(TimeServer::try_from(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn name_servers_are_addresses() {
        let read = |value| NameServers::read(&value);
        assert_eq!(
            read(json!("10.0.0.1#53 2001:db8::1")),
            Ok(Some(NameServers::Servers(vec![
                "10.0.0.1".parse().unwrap(),
                "2001:db8::1".parse().unwrap()
            ])))
        );
        assert_eq!(read(json!("null")), Ok(Some(NameServers::NoFallback)));
        assert_eq!(read(json!(" ")), Ok(None));
        for bad in [
            json!("dns.example"),
            json!("10.0.0.1#5353"),
            json!("10.0.0"),
            json!("0.0.0.0"),
            json!("null 10.0.0.1"),
            json!(true),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }
}
