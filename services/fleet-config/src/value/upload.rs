//! The collector that the journal is uploaded to (systemd-journal-upload.service(8)).

use std::fmt;

use fleet_base::secret::Secret;

use super::authority::Authority;
use super::{Refusal, RootCa, base64};

/// A collector: `http://HOST[:PORT][/PATH]` or `https://…`, without user and password.
///
/// As text it always has its port: systemd-journal-upload puts its own (19532) and `/upload` behind an address without a
/// colon, also behind a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorUrl(String);

impl CollectorUrl {
    const MAX: usize = 512;
    /// systemd-journal-remote.service(8).
    const PORT: u16 = 19532;

    /// The address as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is reached by TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }
}

impl TryFrom<&str> for CollectorUrl {
    type Error = Refusal;

    fn try_from(text: &str) -> Result<Self, Refusal> {
        // The input is not repeated: it may carry a password.
        let refuse = |rule| Err(Refusal::unnamed(rule));
        let lower = text.to_ascii_lowercase();
        let schemes = ["http://", "https://"];
        let Some(scheme) = schemes.iter().find(|scheme| lower.starts_with(**scheme)) else {
            return refuse("the address of a collector begins with http:// or https://");
        };
        if text.len() > Self::MAX {
            return refuse("the address is longer than 512 characters");
        }
        let rest = &text[scheme.len()..];
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if rest.contains('@') {
            return refuse(
                "the address of a collector has no user and password: everybody on the device can read it; a client \
                 certificate says who this is (os.journal.upload.certificate)",
            );
        }
        // RFC 3986 §2.3, and what parts a path.
        if !path
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte))
        {
            return refuse(
                "the path of a collector has letters, digits and - . _ ~ / only; /upload is added to it",
            );
        }
        match Authority::parse(authority) {
            Ok(Authority { host, port }) => Ok(Self(format!(
                "{scheme}{}:{}{}",
                host.to_ascii_lowercase(),
                port.unwrap_or(Self::PORT),
                path.trim_end_matches('/')
            ))),
            Err(rule) => refuse(rule),
        }
    }
}

impl fmt::Display for CollectorUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who this device is to the collector: a certificate and what leads from it to an authority, in PEM, taken out of base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate(RootCa);

impl ClientCertificate {
    /// The certificates, one block after the other and nothing else.
    #[must_use]
    pub fn pem(&self) -> &str {
        self.0.pem()
    }
}

impl TryFrom<&str> for ClientCertificate {
    type Error = Refusal;

    fn try_from(text: &str) -> Result<Self, Refusal> {
        // The same frame; whose certificate it is, the collector judges.
        RootCa::try_from(text).map(Self)
    }
}

/// The private key of a [`ClientCertificate`], in PEM (RFC 7468), taken out of base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientKey(Secret<String>);

impl ClientKey {
    /// Bytes of PEM: an RSA key of 16384 bits has 13 KB.
    const MAX: usize = 16 * 1024;

    /// The key.
    #[must_use]
    pub fn pem(&self) -> &str {
        self.0.expose()
    }
}

impl TryFrom<&str> for ClientKey {
    type Error = Refusal;

    // No refusal repeats the input.
    fn try_from(text: &str) -> Result<Self, Refusal> {
        let refuse = |rule| Err(Refusal::unnamed(rule));
        if text.contains("-----BEGIN ") {
            return refuse("this is PEM itself: encode it once more (base64 -w0 key.pem)");
        }
        if text.len() > Self::MAX * 2 {
            return refuse("it is longer than 16 KiB of PEM");
        }
        let text: String = text.split_ascii_whitespace().collect();
        let pem = base64::decode(&text).filter(|pem| pem.len() <= Self::MAX);
        let Some(pem) = pem.and_then(|pem| String::from_utf8(pem).ok()) else {
            return refuse("base64 of a PEM file was expected; encode it again (base64 -w0 key.pem)");
        };
        if pem.contains("ENCRYPTED") {
            return refuse(
                "the key is encrypted, and nobody is there to type a password: decrypt it (openssl pkey)",
            );
        }
        let is_kind = |line: &str, word: &str| {
            ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"]
                .iter()
                .any(|kind| line == format!("-----{word} {kind}-----"))
        };
        let mut lines = pem.lines().map(str::trim).filter(|line| !line.is_empty());
        let begin = lines.find(|line| is_kind(line, "BEGIN"));
        let Some(begin) = begin else {
            return refuse("there is no private key in it (BEGIN PRIVATE KEY)");
        };
        let body: String = lines.by_ref().take_while(|line| !is_kind(line, "END")).collect();
        // A SEQUENCE (X.690): 0x30.
        if base64::decode(&body).is_none_or(|der| der.first() != Some(&0x30)) {
            return refuse("the key is not whole: copy the PEM file again");
        }
        if lines.any(|line| is_kind(line, "BEGIN")) {
            return refuse("there is more than one private key in it");
        }
        let mut key = format!("{begin}\n");
        for line in body.as_bytes().chunks(64) {
            key.push_str(&String::from_utf8_lossy(line));
            key.push('\n');
        }
        key.push_str(&begin.replace("BEGIN", "END"));
        key.push('\n');
        Ok(Self(Secret::new(key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collectors() {
        for (ok, text) in [
            ("https://logs.example", "https://logs.example:19532"),
            ("HTTP://Logs.example:80/", "http://logs.example:80"),
            ("http://10.0.0.1:8080/in/here//", "http://10.0.0.1:8080/in/here"),
            ("https://[2001:DB8::1]/x", "https://[2001:db8::1]:19532/x"),
        ] {
            assert_eq!(CollectorUrl::try_from(ok).unwrap().as_str(), text);
        }
        for bad in [
            "",
            "logs.example",
            "ftp://logs.example",
            "http://",
            "http:///x",
            "http://a:0",
            "http://a:65536",
            "http://a:+1",
            "http://a:",
            "http://a b",
            "http://a/x?y",
            "http://a/x#y",
            "http://a/%20",
            "http://a\nServerKeyFile=/x",
            "http://a/\nx",
            "http://[::1",
            "http://[1.2.3.4]",
            "http://::1",
            "http://$(id)",
        ] {
            assert!(CollectorUrl::try_from(bad).is_err(), "{bad:?}");
        }
        let refusal = CollectorUrl::try_from("http://me:hunter2@a")
            .unwrap_err()
            .to_string();
        assert!(
            refusal.contains("certificate") && !refusal.contains("hunter2"),
            "{refusal}"
        );
    }

    // MAAwADAA: no key, but whole DER; LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0t… is its PEM.
    const KEY: &str = "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCk1BQXdBREFBCi0tLS0tRU5EIFBSSVZBVEUgS0VZLS0tLS0K";

    #[test]
    fn keys() {
        let key = ClientKey::try_from(KEY).unwrap();
        assert_eq!(
            key.pem(),
            "-----BEGIN PRIVATE KEY-----\nMAAwADAA\n-----END PRIVATE KEY-----\n"
        );
        assert_eq!(format!("{key:?}"), "ClientKey(…)");
        for (bad, why) in [
            ("", "base64"),
            ("-----BEGIN PRIVATE KEY-----", "PEM itself"),
            ("aGVsbG8=", "no private key"),
            // openssl ecparam's, cut off; an encrypted one.
            ("LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCk1BQQ==", "not whole"),
            (
                "LS0tLS1CRUdJTiBFTkNSWVBURUQgUFJJVkFURSBLRVktLS0tLQo=",
                "encrypted",
            ),
        ] {
            let refusal = ClientKey::try_from(bad).unwrap_err().to_string();
            assert!(refusal.contains(why), "{bad}: {refusal}");
        }
    }
}
