//! What NetworkManager's connectivity check asks and expects.

use std::fmt;

use super::Refusal;
use super::authority::Authority;

/// An `http` or `https` address: scheme, host, optional port, path and query, no user or password, of the characters that RFC 3986
/// allows in it. So it is one value of one line in NetworkManager's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckUri(String);

impl CheckUri {
    const MAX: usize = 1024;

    /// The address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for CheckUri {
    type Error = Refusal;

    fn try_from(text: &str) -> Result<Self, Refusal> {
        // The input is not repeated: an address may carry a password.
        let refuse = |rule| Err(Refusal::unnamed(rule));
        let lower = text.to_ascii_lowercase();
        let Some(rest) = ["http://", "https://"]
            .iter()
            .find_map(|scheme| lower.strip_prefix(scheme))
        else {
            return refuse("an address that begins with http:// or https:// was expected");
        };
        if text.len() > Self::MAX {
            return refuse("the address is longer than 1024 characters");
        }
        // RFC 3986 §2: unreserved, reserved and percent; a fragment never reaches the server.
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?[]@!$&'()*+,;=%".contains(&byte);
        if !text.bytes().all(allowed) {
            return refuse("an address has no spaces, quotes, backslashes, # or characters beyond ASCII");
        }
        let authority = rest.split(['/', '?']).next().unwrap_or(rest);
        if authority.contains('@') {
            return refuse(
                "an address has no user and password: they cannot be kept secret, because NetworkManager publishes it",
            );
        }
        match Authority::parse(authority) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(rule) => refuse(rule),
        }
    }
}

impl fmt::Display for CheckUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the body of the answer begins with. Empty: the answer is status 204, or has no body
/// (NetworkManager.conf(5), `response`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckResponse(String);

impl CheckResponse {
    const MAX: usize = 256;

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for CheckResponse {
    type Error = Refusal;

    fn try_from(text: &str) -> Result<Self, Refusal> {
        if text.chars().any(char::is_control) {
            return Err(Refusal::of(
                text,
                "the expected answer is one line without control characters",
            ));
        }
        if text.len() > Self::MAX {
            return Err(Refusal::of(text, "the expected answer has at most 256 bytes"));
        }
        // NetworkManager strips white space around a value, so keeping it here would only seem to work.
        Ok(Self(text.trim().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for ok in [
            "http://a",
            "HTTP://a.example/check",
            "https://a.example:8443/c?x=1&y=%20",
            "http://10.0.0.1",
            "http://[2001:db8::1]:80/",
            "http://a/x@y?z@",
        ] {
            assert!(CheckUri::try_from(ok).is_ok(), "{ok}");
        }
        for bad in [
            "",
            "null",
            "a.example",
            "ftp://a",
            "http://",
            "http:///x",
            "http://a b",
            "http://a\nenabled=false",
            "http://a:0",
            "http://a:x",
            "http://a:70000",
            "http://[1.2.3.4]/",
            "http://[::1",
            "http://a_b/",
            "http://a/#x",
            "http://a/\\n",
            "http://ä.example",
            "http://user:password@a.example/",
            "http://user@a.example",
            "http://@a.example?x",
        ] {
            assert!(CheckUri::try_from(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_password_in_a_refused_address_is_not_repeated() {
        let error = CheckUri::try_from("http://me:hunter2@a b").unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
        let error = CheckUri::try_from("http://me:hunter2@a/")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("cannot be kept secret") && !error.contains("hunter2"),
            "{error}"
        );
    }

    #[test]
    fn responses() {
        assert_eq!(
            CheckResponse::try_from(" NetworkManager is online ")
                .unwrap()
                .as_str(),
            "NetworkManager is online"
        );
        assert!(CheckResponse::try_from("a\n[main]").is_err());
        assert!(CheckResponse::try_from("a\u{85}b").is_err());
        assert!(CheckResponse::try_from("x".repeat(257).as_str()).is_err());
    }
}
