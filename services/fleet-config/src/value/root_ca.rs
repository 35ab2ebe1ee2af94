//! Certificates of additional certificate authorities.

use super::Refusal;
use super::base64;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";
const CERTIFICATE: &str = "CERTIFICATE";

/// Certificates in PEM (RFC 7468), taken out of base64.
///
/// Only the frame is looked at here, which any computer can; whether each is a certificate, of an authority, and in
/// its time is decided with OpenSSL, in a process of its own (`fleet-certificate`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootCa(String);

impl RootCa {
    /// Bytes of PEM. Some twenty certificates; all public ones together have 220 KiB.
    const MAX: usize = 32 * 1024;
    const MAX_CERTIFICATES: usize = 16;

    /// The certificates, one block after the other and nothing else.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for RootCa {
    type Error = Refusal;

    // No refusal repeats the input: people paste private keys.
    fn try_from(text: &str) -> Result<Self, Refusal> {
        let refuse = |rule| Err(Refusal::unnamed(rule));
        if text.contains(BEGIN) {
            return refuse("this is PEM itself: encode it once more (base64 -w0 ca.pem)");
        }
        if text.len() > Self::MAX / 3 * 4 + Self::MAX / 40 {
            return refuse("it is longer than 32 KiB of PEM");
        }
        // base64(1) breaks its lines.
        let text: String = text.split_ascii_whitespace().collect();
        let Some(pem) = base64::decode(&text) else {
            return refuse(
                "base64 of a PEM file was expected; it is not whole: encode it again (base64 -w0 ca.pem)",
            );
        };
        if pem.len() > Self::MAX {
            return refuse("it is longer than 32 KiB of PEM");
        }
        let Ok(pem) = String::from_utf8(pem) else {
            return refuse(
                "what is in the base64 is no PEM file: convert it (openssl x509 -inform der -in ca.der)",
            );
        };
        if pem.contains("PRIVATE KEY") {
            return refuse(
                "there is a private key in it: certificates only; what that key signed is no longer to be trusted",
            );
        }
        blocks(&pem).map(Self).map_err(Refusal::unnamed)
    }
}

/// The blocks of a PEM file without what stands between them (openssl x509 -text writes there).
fn blocks(pem: &str) -> Result<String, &'static str> {
    let mut blocks = String::new();
    let mut count = 0;
    let mut lines = pem.lines().map(str::trim_end);
    while let Some(line) = lines.next() {
        let Some(label) = label(line, BEGIN) else { continue };
        if label != CERTIFICATE {
            return Err("a PEM block in it is no certificate (BEGIN CERTIFICATE)");
        }
        let mut body = String::new();
        let end = loop {
            match lines.next() {
                None => return Err("a certificate has no end: the PEM file is cut off"),
                Some(line) if line.starts_with(DASHES) => break line,
                Some(line) => body.push_str(line.trim()),
            }
        };
        // A certificate is a SEQUENCE (X.690): 0x30.
        let whole = base64::decode(&body).is_some_and(|der| der.first() == Some(&0x30));
        if self::label(end, END) != Some(CERTIFICATE) || !whole {
            return Err("a certificate is not whole: copy the PEM file again");
        }
        count += 1;
        blocks.push_str("-----BEGIN CERTIFICATE-----\n");
        // RFC 7468: lines of 64 characters. What was decoded is ASCII.
        for line in body.as_bytes().chunks(64) {
            blocks.push_str(&String::from_utf8_lossy(line));
            blocks.push('\n');
        }
        blocks.push_str("-----END CERTIFICATE-----\n");
    }
    match count {
        0 => Err("there is no certificate in it (BEGIN CERTIFICATE)"),
        1..=RootCa::MAX_CERTIFICATES => Ok(blocks),
        _ => Err("at most 16 certificates are taken"),
    }
}

fn label<'a>(line: &'a str, begin: &str) -> Option<&'a str> {
    line.strip_prefix(begin)?.strip_suffix(DASHES)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As base64(1) makes it.
    fn encode(text: &str) -> String {
        const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut encoded = String::new();
        for chunk in text.as_bytes().chunks(3) {
            let bits = chunk
                .iter()
                .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
                << (8 * (3 - chunk.len()));
            for digit in 0..=chunk.len() {
                encoded.push(char::from(
                    DIGITS[usize::try_from(bits >> (18 - 6 * digit) & 63).unwrap()],
                ));
            }
            encoded.push_str(&"=".repeat(3 - chunk.len()));
        }
        encoded
    }

    fn read(pem: &str) -> Result<RootCa, Refusal> {
        RootCa::try_from(encode(pem).as_str())
    }

    const BLOCK: &str = "-----BEGIN CERTIFICATE-----\nMAAwADAA\n-----END CERTIFICATE-----\n";

    #[test]
    fn takes_certificates_and_nothing_else_of_a_file() {
        assert_eq!(read(BLOCK).unwrap().pem(), BLOCK);
        let noisy = format!(
            "subject=CN = a\r\n\n{}\nissuer=b\n{BLOCK}",
            BLOCK.replace('\n', "\r\n")
        );
        assert_eq!(read(&noisy).unwrap().pem(), format!("{BLOCK}{BLOCK}"));
        let broken: String = encode(BLOCK)
            .as_bytes()
            .chunks(20)
            .fold(String::new(), |mut text, line| {
                text.push_str(std::str::from_utf8(line).unwrap());
                text.push('\n');
                text
            });
        assert_eq!(RootCa::try_from(broken.as_str()).unwrap().pem(), BLOCK);
        assert!(read(&BLOCK.repeat(16)).is_ok());
    }

    #[test]
    fn refuses_what_is_none() {
        let key = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
        for (bad, why) in [
            (String::new(), "not whole"),
            (BLOCK.to_owned(), "PEM itself"),
            ("LS0t".to_owned(), "no certificate"),
            ("LS0".to_owned(), "not whole"),
            (encode("hello"), "no certificate"),
            (encode(&BLOCK[..40]), "cut off"),
            (encode(&BLOCK.replace("MAAw", "AAAw")), "not whole"),
            (encode(&BLOCK.replace("MAAw", "MAA")), "not whole"),
            (encode(&BLOCK.replace("END CERT", "END X509 CERT")), "not whole"),
            (
                encode(&BLOCK.replace("CERTIFICATE", "CERTIFICATE REQUEST")),
                "no certificate",
            ),
            (encode(&format!("{BLOCK}{key}")), "private key"),
            (encode(&BLOCK.repeat(17)), "at most 16"),
            (encode(&" ".repeat(40_000)), "32 KiB"),
            ("A".repeat(100_000), "32 KiB"),
        ] {
            let refusal = RootCa::try_from(bad.as_str()).unwrap_err().to_string();
            assert!(
                refusal.contains(why) && !refusal.contains("c2VjcmV0"),
                "{bad}: {refusal}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in ".{0,200}", pem in ".{0,200}") {
            let _ = RootCa::try_from(text.as_str());
            let _ = read(&format!("-----BEGIN CERTIFICATE-----{pem}"));
        }
    }
}
