//! Finds secrets in what was logged, and writes [`MARK`] over them.
//!
//! A secret is looked for as it is, as JSON and as an address escape it (RFC 8259, RFC 3986), and in base64 at each of the
//! three places that it can have in a longer text (RFC 4648; so also in `Authorization: Basic`, RFC 7617).
//!
//! The shorter a secret, the more of a log it is by chance. So one of [`ANYWHERE`] bytes or more is found anywhere, one
//! of [`SHORTEST`] or more where it stands as a word of its own, and a shorter one is not looked for.

use std::collections::BTreeSet;

/// What stands in place of a secret. Not `…`, which journalctl writes where it cuts a line short.
pub const MARK: &str = "[redacted]";
/// The least bytes of a secret that is found anywhere.
pub const ANYWHERE: usize = 6;
/// The least bytes of a secret that is found at all.
pub const SHORTEST: usize = 4;

/// How many bytes of a pattern are looked up.
const HEAD: usize = 4;

/// One form of a secret.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Pattern {
    bytes: Vec<u8>,
    /// Found only where neither a letter nor a digit is next to it.
    is_word: bool,
}

/// The secrets of a device, in all the forms that are looked for.
pub struct Redaction {
    /// In the order of their bytes, so that those with the same head stand together.
    patterns: Vec<Pattern>,
    /// A bit for each value that [`slot`] has of a head: most places of a log end here.
    heads: Box<[u64; 1024]>,
    too_short: usize,
}

impl Redaction {
    /// Looks for these secrets.
    pub fn of<'s>(secrets: impl IntoIterator<Item = &'s str>) -> Self {
        let mut patterns = BTreeSet::new();
        let mut too_short = 0;
        for secret in secrets {
            match secret.len() {
                0 => {}
                length if length < SHORTEST => too_short += 1,
                length => {
                    let is_word = length < ANYWHERE;
                    let forms = forms(secret, is_word).into_iter();
                    patterns.extend(forms.map(|bytes| Pattern { bytes, is_word }));
                }
            }
        }
        let mut heads = Box::new([0; 1024]);
        for pattern in &patterns {
            if let Some(head) = head(&pattern.bytes) {
                let (word, bit) = slot(head);
                heads[word] |= bit;
            }
        }
        Self {
            patterns: patterns.into_iter().collect(),
            heads,
            too_short,
        }
    }

    /// How many secrets are too short to be looked for.
    #[must_use]
    pub const fn too_short(&self) -> usize {
        self.too_short
    }

    /// The value without secrets; `None` if there is none in it.
    #[must_use]
    pub fn redact(&self, value: &[u8]) -> Option<Vec<u8>> {
        let mut redacted: Option<Vec<u8>> = None;
        // Where the secret ends that is being left out, and up to where the value is dealt with.
        let (mut secret_end, mut done) = (0, 0);
        for at in 0..value.len() {
            let Some(length) = self.longest(value, at) else {
                continue;
            };
            let redacted = redacted.get_or_insert_default();
            // Secrets that overlap are one.
            if at >= secret_end {
                redacted.extend_from_slice(&value[done..at]);
                redacted.extend_from_slice(MARK.as_bytes());
            }
            secret_end = secret_end.max(at + length);
            done = secret_end;
        }
        if let Some(redacted) = &mut redacted {
            redacted.extend_from_slice(&value[done..]);
        }
        redacted
    }

    /// The length of the longest form that begins here.
    fn longest(&self, value: &[u8], at: usize) -> Option<usize> {
        let rest = value.get(at..)?;
        let head = head(rest)?;
        let (word, bit) = slot(head);
        if self.heads[word] & bit == 0 {
            return None;
        }
        let first = self
            .patterns
            .partition_point(|pattern| pattern.bytes.as_slice() < head.as_slice());
        let same_head = self.patterns[first..]
            .iter()
            .take_while(|pattern| pattern.bytes.starts_with(&head));
        let found = same_head.filter(|pattern| {
            let length = pattern.bytes.len();
            rest.starts_with(&pattern.bytes)
                && !(pattern.is_word
                    && (at
                        .checked_sub(1)
                        .is_some_and(|before| value[before].is_ascii_alphanumeric())
                        || rest.get(length).is_some_and(u8::is_ascii_alphanumeric)))
        });
        found.map(|pattern| pattern.bytes.len()).max()
    }
}

fn head(bytes: &[u8]) -> Option<[u8; HEAD]> {
    bytes.get(..HEAD)?.try_into().ok()
}

/// Word and bit of a head (Fibonacci hashing: the high bits of the product are the well-mixed ones).
fn slot(head: [u8; HEAD]) -> (usize, u64) {
    let [high, low, ..] = u32::from_ne_bytes(head).wrapping_mul(2_654_435_769).to_be_bytes();
    let hash = usize::from(u16::from_be_bytes([high, low]));
    (hash / 64, 1 << (hash % 64))
}

/// All forms of a secret.
fn forms(secret: &str, as_it_is_only: bool) -> BTreeSet<Vec<u8>> {
    let mut forms = BTreeSet::from([secret.as_bytes().to_vec()]);
    if as_it_is_only {
        return forms;
    }
    forms.extend([false, true].map(|ascii| json(secret, ascii).into_bytes()));
    forms.extend([false, true].map(|lower| percent(secret, lower).into_bytes()));
    for digits in [STANDARD, FOR_ADDRESSES] {
        let whole = base64(secret.as_bytes(), 0, digits);
        forms.extend((0..3).map(|shift| inner_base64(secret.as_bytes(), shift, digits)));
        forms.insert(whole);
    }
    forms
}

/// As the inside of a JSON string; with `ascii`, what is beyond ASCII as `\u`.
fn json(text: &str, ascii: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\\' => escaped.extend(['\\', character]),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            control if control.is_ascii_control() => escaped += &format!("\\u{:04x}", u32::from(control)),
            beyond if ascii && !beyond.is_ascii() => {
                let mut units = [0; 2];
                for unit in beyond.encode_utf16(&mut units) {
                    escaped += &format!("\\u{unit:04x}");
                }
            }
            other => escaped.push(other),
        }
    }
    escaped
}

/// As a part of an address: all but what RFC 3986 §2.3 leaves as it is.
fn percent(text: &str, lower: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            byte if lower => escaped += &format!("%{byte:02x}"),
            byte => escaped += &format!("%{byte:02X}"),
        }
    }
    escaped
}

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const FOR_ADDRESSES: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The base64 of bytes after `shift` blank ones, padded.
fn base64(bytes: &[u8], shift: usize, digits: &[u8; 64]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(bytes.len() / 3 * 4 + 8);
    let shifted: Vec<u8> = std::iter::repeat_n(0, shift)
        .chain(bytes.iter().copied())
        .collect();
    for chunk in shifted.chunks(3) {
        let byte = |index| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4_usize {
            encoded.push(match digit <= chunk.len() {
                true => digits[usize::try_from(bits >> (18 - 6 * digit) & 63).unwrap_or(0)],
                false => b'=',
            });
        }
    }
    encoded
}

/// The digits that are the same whatever stands before and after, with `shift` bytes before it in its group of three.
fn inner_base64(bytes: &[u8], shift: usize, digits: &[u8; 64]) -> Vec<u8> {
    let mut encoded = base64(bytes, shift, digits);
    encoded.truncate((shift + bytes.len()) * 8 / 6);
    encoded.split_off((shift * 8).div_ceil(6))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redacted(secrets: &[&str], text: &str) -> String {
        let redaction = Redaction::of(secrets.iter().copied());
        redaction
            .redact(text.as_bytes())
            .map_or_else(|| text.to_owned(), |bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn finds_each_form() {
        let secret = "p\"ä ss\\word";
        for (logged, left) in [
            ("psk=p\"ä ss\\word;", "psk=[redacted];"),
            (r#"{"psk":"p\"ä ss\\word"}"#, r#"{"psk":"[redacted]"}"#),
            (r#"{"psk":"p\"\u00e4 ss\\word"}"#, r#"{"psk":"[redacted]"}"#),
            ("/?k=p%22%C3%A4%20ss%5Cword&", "/?k=[redacted]&"),
            ("/?k=p%22%c3%a4%20ss%5cword&", "/?k=[redacted]&"),
        ] {
            assert_eq!(redacted(&[secret], logged), left);
        }
        // printf '%s' hunter2 | base64; u:hunter2; user:hunter2!
        for (logged, left) in [
            ("aHVudGVyMg==", "[redacted]"),
            ("dTpodW50ZXIy", "dTp[redacted]"),
            ("dXNlcjpodW50ZXIyIQ==", "dXNlcjp[redacted]IQ=="),
        ] {
            let redacted = redacted(&["hunter2"], logged);
            assert!(redacted.contains(MARK), "{logged}: {redacted}");
            assert!(redacted.len() <= left.len() + 2, "{logged}: {redacted}");
        }
    }

    #[test]
    fn overlapping_secrets_are_one() {
        assert_eq!(
            redacted(&["abcdef", "defghi", "abcdefgh"], "xabcdefghiy"),
            "x[redacted]y"
        );
        assert_eq!(redacted(&["abcabc"], "abcabcabcabcab"), "[redacted]ab");
        assert_eq!(redacted(&["aaaaaa"], "aaaaaaaa"), "[redacted]");
        assert_eq!(redacted(&["abcdef"], "abcdefabcdef"), "[redacted][redacted]");
    }

    #[test]
    fn short_ones_are_words() {
        assert_eq!(
            redacted(&["1234", "abc", "x", ""], "pin 1234, 12345, a1234, [1234] abc x"),
            "pin [redacted], 12345, a1234, [[redacted]] abc x"
        );
        assert_eq!(Redaction::of(["1234", "abc", "x", ""]).too_short(), 2);
        assert_eq!(redacted(&["123456"], "0123456789"), "0[redacted]789");
        assert_eq!(redacted(&["1234"], "1234"), "[redacted]");
    }

    #[test]
    fn no_secrets_change_nothing() {
        assert!(Redaction::of([]).redact(b"anything \0\xff").is_none());
        assert!(Redaction::of(["secret"]).redact(b"").is_none());
        assert!(Redaction::of(["secret"]).redact(b"secre").is_none());
    }

    proptest! {
        /// Wherever it stands, between whatever bytes, it is gone; and what is between secrets stays.
        #[test]
        fn nothing_is_left(
            secret in "[a-zA-Z0-9\"\\\\äß /%]{6,40}",
            before in proptest::collection::vec(any::<u8>(), 0..70),
            after in proptest::collection::vec(any::<u8>(), 0..70),
            shift in 0..3_usize,
        ) {
            let redaction = Redaction::of([secret.as_str()]);
            let mut forms = forms(&secret, false);
            forms.insert(inner_base64(secret.as_bytes(), shift, STANDARD));
            for form in forms {
                let value = [&before[..], &form, &after].concat();
                let left = redaction.redact(&value).unwrap();
                prop_assert!(!left.windows(secret.len()).any(|window| window == secret.as_bytes()));
                prop_assert!(redaction.redact(&left).is_none() || left.windows(MARK.len()).any(|w| w == MARK.as_bytes()));
            }
        }

        /// Without it, nothing changes.
        #[test]
        fn nothing_else_is_taken(value in proptest::collection::vec(any::<u8>(), 0..300)) {
            let redaction = Redaction::of(["a secret that is in no log"]);
            prop_assert!(redaction.redact(&value).is_none());
        }

        /// base64 of a longer text has the inner digits in it.
        #[test]
        fn the_inner_digits_do_not_depend_on_the_outside(
            before in proptest::collection::vec(any::<u8>(), 0..10),
            secret in proptest::collection::vec(any::<u8>(), 6..30),
            after in proptest::collection::vec(any::<u8>(), 0..10),
        ) {
            let whole = base64(&[&before[..], &secret, &after].concat(), 0, STANDARD);
            let inner = inner_base64(&secret, before.len() % 3, STANDARD);
            prop_assert!(inner.len() >= ANYWHERE);
            prop_assert!(whole.windows(inner.len()).any(|window| window == inner));
        }
    }
}
