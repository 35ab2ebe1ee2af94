//! The HTTP proxy.

use std::fmt;
use std::net::IpAddr;

use serde_json::Value;

use super::Refusal;
use super::authority::Authority;
use super::hostname::domain;

/// A proxy: `http://HOST:PORT`, in lower case. Programs reach `https` servers through one of these too, by CONNECT.
///
/// Without user and password: every program's environment can be read by its user, and the file is for everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyUrl(String);

impl ProxyUrl {
    /// The address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for ProxyUrl {
    type Error = Refusal;

    fn try_from(text: &str) -> Result<Self, Refusal> {
        // The input is not repeated: it may carry a password.
        let refuse = |rule| Err(Refusal::unnamed(rule));
        if text.contains('@') {
            return refuse(
                "a proxy has no user and password here: they cannot be kept secret, because every program's environment \
                 has the address",
            );
        }
        let lower = text.to_ascii_lowercase();
        let Some(rest) = lower.strip_prefix("http://") else {
            return refuse(
                "the address of a proxy begins with http:// (https servers are reached through it too)",
            );
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains('/') {
            return refuse("nothing comes after the port of a proxy");
        }
        match Authority::parse(authority) {
            Ok(Authority { port: Some(_), .. }) => Ok(Self(format!("http://{authority}"))),
            Ok(Authority { port: None, .. }) => {
                refuse("the address of a proxy names its port, as in http://proxy.example:3128")
            }
            Err(rule) => refuse(rule),
        }
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whom to reach without the proxy, as the variable `no_proxy` has it: joined by commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoProxy(String);

impl NoProxy {
    /// Bytes; an environment is copied into every program.
    const MAX: usize = 2048;

    /// The list as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads the key's value: a string with commas or spaces, or an array. `Ok(None)`: nothing in it.
    ///
    /// # Errors
    /// [`Refusal`]: of the first entry that is none, or there are too many.
    pub fn read(value: &Value) -> Result<Option<Self>, Refusal> {
        let texts: Vec<&str> = match value {
            Value::String(text) => vec![text],
            Value::Array(entries) => {
                let text = |entry: &'_ Value| match entry {
                    Value::String(_) => Ok(()),
                    other => Err(Refusal::of_type("a string in the array", other)),
                };
                entries.iter().try_for_each(text)?;
                entries.iter().filter_map(Value::as_str).collect()
            }
            other => {
                return Err(Refusal::of_type(
                    "a string with commas between the entries, or an array of strings,",
                    other,
                ));
            }
        };
        let separator = |c: char| c == ',' || c.is_ascii_whitespace();
        let mut list = String::new();
        for entry in texts
            .iter()
            .flat_map(|text| text.split(separator))
            .filter(|entry| !entry.is_empty())
        {
            check_entry(entry)?;
            if !list.is_empty() {
                list.push(',');
            }
            list.push_str(entry);
        }
        if list.len() > Self::MAX {
            return Err(Refusal::unnamed("the list is longer than 2048 characters"));
        }
        Ok((!list.is_empty()).then_some(Self(list)))
    }
}

/// A host, a domain (with or without a dot before it), an address, a network (RFC 4632), or `*` for everybody.
fn check_entry(entry: &str) -> Result<(), Refusal> {
    let network = || {
        let (address, length) = entry.split_once('/')?;
        let most = if address.parse::<IpAddr>().ok()?.is_ipv4() {
            32
        } else {
            128
        };
        let digits = length.bytes().all(|byte| byte.is_ascii_digit());
        (digits && length.parse::<u8>().ok()? <= most).then_some(())
    };
    let name = entry
        .strip_prefix("*.")
        .or_else(|| entry.strip_prefix('.'))
        .unwrap_or(entry);
    let good = entry == "*" || entry.parse::<IpAddr>().is_ok() || network().is_some() || domain(name).is_ok();
    if good {
        return Ok(());
    }
    Err(Refusal::of(
        entry,
        "a host name, a domain, an address or a network such as 10.0.0.0/8 was expected",
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn proxies() {
        for (ok, text) in [
            ("http://proxy.example:3128", "http://proxy.example:3128"),
            ("HTTP://Proxy.example:80/", "http://proxy.example:80"),
            ("http://10.0.0.1:8080", "http://10.0.0.1:8080"),
            ("http://[2001:db8::1]:8080", "http://[2001:db8::1]:8080"),
        ] {
            assert_eq!(ProxyUrl::try_from(ok).unwrap().as_str(), text);
        }
        for bad in [
            "",
            "proxy.example:3128",
            "https://proxy.example:3128",
            "socks5://a:1",
            "http://a",
            "http://a:",
            "http://a:0",
            "http://a:65536",
            "http://a:+1",
            "http://:80",
            "http://a:80/x",
            "http://a:80?x",
            "http://[::1:80",
            "http://::1:80",
            "http://a b:80",
            "http://a\nX=1:80",
            "http://a:80\n",
            "http://$(id):80",
            "http://a:80//",
            "http://a\":80",
        ] {
            assert!(ProxyUrl::try_from(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_password_is_refused_and_not_repeated() {
        let error = ProxyUrl::try_from("http://me:hunter2@a:80")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("cannot be kept secret") && !error.contains("hunter2"),
            "{error}"
        );
    }

    #[test]
    fn lists_of_exceptions() {
        let read = |value| NoProxy::read(&value).map(|list| list.map(|list| list.0));
        assert_eq!(
            read(json!("a.example, 10.0.0.0/8  ::1,,")),
            Ok(Some("a.example,10.0.0.0/8,::1".into()))
        );
        assert_eq!(
            read(json!(["localhost", ".b.example", "*.c.example", "*"])),
            Ok(Some("localhost,.b.example,*.c.example,*".into()))
        );
        assert_eq!(read(json!("")), Ok(None));
        assert_eq!(read(json!([])), Ok(None));
        for bad in [
            json!("a_b"),
            json!("$(id)"),
            json!("10.0.0.0/33"),
            json!("10.0.0.0/+8"),
            json!("a/8"),
            json!("a\"b"),
            json!("a;b"),
            json!(["a", 1]),
            json!(1),
            json!({}),
            json!("x.example ".repeat(300)),
            json!("..a"),
            json!("a\u{0}"),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }
}
