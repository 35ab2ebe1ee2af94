//! Host names.

use std::fmt;

use super::Refusal;

/// A host name: RFC 1123 §2.1 labels joined by dots, at most 63 bytes in all, which is what the kernel keeps
/// (`HOST_NAME_MAX` is 64, systemd refuses more than 63 usable ones).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hostname(String);

impl Hostname {
    const MAX: usize = 63;

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for Hostname {
    type Error = Refusal;

    fn try_from(text: &str) -> Result<Self, Refusal> {
        if text.len() > Self::MAX {
            return Err(Refusal::of(text, "a host name has at most 63 characters"));
        }
        domain(text)?;
        // Names of the local host that resolvers answer themselves (RFC 6761) cannot name a device.
        if text.eq_ignore_ascii_case("localhost") {
            return Err(Refusal::of(text, "this name means every device itself"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks a domain name as RFC 1123 §2.1 has host names: labels of letters, digits and inner hyphens, 1 to 63
/// long, 253 in all, joined by dots.
pub(super) fn domain(text: &str) -> Result<(), Refusal> {
    let refuse = |rule| Err(Refusal::of(text, rule));
    if text.is_empty() {
        return refuse("a host name is not empty");
    }
    if text.len() > 253 {
        return refuse("a domain name has at most 253 characters");
    }
    for label in text.split('.') {
        if label.is_empty() {
            return refuse("between two dots of a host name there is something");
        }
        if label.len() > 63 {
            return refuse("a part of a host name has at most 63 characters");
        }
        if label.starts_with('-') || label.ends_with('-') {
            return refuse("a part of a host name neither begins nor ends with a hyphen");
        }
        if !label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        {
            return refuse("a host name has letters a-z, digits, hyphens and dots only");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_rfc_1123() {
        let long = "a".repeat(63);
        for ok in [
            "kitchen",
            "Kitchen-2",
            "a",
            "7",
            "pump.site-3.example",
            long.as_str(),
        ] {
            assert!(Hostname::try_from(ok).is_ok(), "{ok}");
        }
        let long = "a".repeat(64);
        let bad = [
            "",
            " ",
            "a b",
            "a_b",
            "-a",
            "a-",
            "a.",
            ".a",
            "a..b",
            "é",
            "a\n",
            "a;id",
            "$(id)",
            "localhost",
        ];
        for bad in bad.into_iter().chain([long.as_str()]) {
            assert!(Hostname::try_from(bad).is_err(), "{bad}");
        }
    }
}
