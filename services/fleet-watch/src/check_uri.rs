//! What the connectivity check asks, taken apart.

use std::net::IpAddr;

/// The check's URI: `http` or `https`, without user and password (`fleet-config` sees to that; another one reads as none).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CheckUri {
    pub(crate) tls: bool,
    /// A name, or an address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// From the slash on, with the query.
    pub(crate) path: String,
    /// Host and port as the URI has them, for HTTP's `Host`.
    pub(crate) authority: String,
}

impl CheckUri {
    /// Takes it apart (RFC 3986 section 3).
    pub(crate) fn parse(uri: &str) -> Option<Self> {
        let (scheme, rest) = uri.split_once("://")?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = path.split('#').next().unwrap_or_default();
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
            _ => (authority, if tls { 443 } else { 80 }),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if host.is_empty() || host.contains('@') || !is_plain(authority) || !is_plain(path) {
            return None;
        }
        Some(Self {
            tls,
            host: host.to_owned(),
            port,
            path: if path.starts_with('/') {
                path.to_owned()
            } else {
                format!("/{path}")
            },
            authority: authority.to_owned(),
        })
    }

    /// The address in place of a name.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_apart() {
        for (uri, host, port, path) in [
            ("http://check.example/", "check.example", 80, "/"),
            ("https://check.example", "check.example", 443, "/"),
            ("HTTP://a:8080/x?y#z", "a", 8080, "/x?y"),
            ("http://a?y", "a", 80, "/?y"),
            ("http://[2001:db8::1]:81/", "2001:db8::1", 81, "/"),
            ("http://[2001:db8::1]/", "2001:db8::1", 80, "/"),
            ("http://192.0.2.1", "192.0.2.1", 80, "/"),
        ] {
            let parsed = CheckUri::parse(uri).unwrap();
            assert_eq!(
                (&*parsed.host, parsed.port, &*parsed.path),
                (host, port, path),
                "{uri}"
            );
        }
        for bad in [
            "",
            "http://",
            "ftp://a/",
            "http://a:x/",
            "http://a b/",
            "http://a/\r\nX: y",
            "http://u@a/",
        ] {
            assert_eq!(CheckUri::parse(bad), None, "{bad:?}");
        }
    }
}
