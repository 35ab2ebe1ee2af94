//! ssh public keys.

use std::fmt;

use super::Refusal;
use super::base64;

/// One line of `authorized_keys` (sshd(8)): options, type, key, comment. The key itself is taken apart and has
/// to be whole, so that a key that lost its end in copying is refused here and not silently by sshd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshKey(String);

/// The fields that follow the type's name in the key (RFC 4253 §6.6, RFC 5656 §3.1, RFC 8709 §4, OpenSSH's
/// PROTOCOL.u2f), and how long the interesting one is.
const TYPES: &[(&str, usize)] = &[
    ("ssh-ed25519", 1),
    ("ssh-rsa", 2),
    ("ecdsa-sha2-nistp256", 2),
    ("ecdsa-sha2-nistp384", 2),
    ("ecdsa-sha2-nistp521", 2),
    ("sk-ssh-ed25519@openssh.com", 2),
    ("sk-ecdsa-sha2-nistp256@openssh.com", 3),
];

/// The options that may stand before the type (sshd(8), AUTHORIZED_KEYS FILE FORMAT), in any case; with `=` those
/// that have a value in double quotes.
const OPTIONS: &[&str] = &[
    "agent-forwarding",
    "cert-authority",
    "command=",
    "environment=",
    "expiry-time=",
    "from=",
    "no-agent-forwarding",
    "no-port-forwarding",
    "no-pty",
    "no-touch-required",
    "no-user-rc",
    "no-X11-forwarding",
    "permitlisten=",
    "permitopen=",
    "port-forwarding",
    "principals=",
    "pty",
    "restrict",
    "tunnel=",
    "user-rc",
    "verify-required",
    "X11-forwarding",
];

impl SshKey {
    /// Longer than any real one: RSA with 16384 bits takes 2.8 KB.
    const MAX: usize = 8192;

    /// The line.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for SshKey {
    type Error = Refusal;

    // No refusal repeats the input: people paste private keys.
    fn try_from(text: &str) -> Result<Self, Refusal> {
        let refuse = |rule| Err(Refusal::unnamed(rule));
        let text = text.trim();
        if text.contains("PRIVATE KEY") {
            return refuse(
                "this is a private key: the public one was expected (the .pub file); make a new pair, this one is no longer secret",
            );
        }
        if text.len() > Self::MAX {
            return refuse("the key is longer than 8192 characters");
        }
        if text.chars().any(char::is_control) {
            return refuse("a public key is one line");
        }
        let known = |word: &str| TYPES.iter().find(|(name, _)| *name == word);
        let keyed = match known(word(text)) {
            Some(_) => text,
            None => after_options(text).unwrap_or(""),
        };
        let Some(kind) = known(word(keyed)) else {
            return refuse(if word(text).starts_with("ssh-dss") {
                "DSA keys are no longer accepted by sshd"
            } else if text.split(' ').any(|word| known(word).is_some()) {
                "what stands before the type of the key is no list of options of sshd(8)"
            } else {
                "a public key begins with its type, such as ssh-ed25519 or ssh-rsa"
            });
        };
        let encoded = word(keyed[kind.0.len()..].trim_start_matches(' '));
        let Some(blob) = base64::decode(encoded) else {
            return refuse("the key after its type is not whole (base64): copy it again");
        };
        if !is_key(&blob, kind.0, kind.1) {
            return refuse("the key is cut off or does not belong to its type: copy it again");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for SshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The first word. Of the blanks only this one gets here: a tab is a control character.
fn word(text: &str) -> &str {
    text.split(' ').next().unwrap_or("")
}

/// What follows a list of options; `None` if the text does not begin with one.
fn after_options(mut text: &str) -> Option<&str> {
    loop {
        let name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let mut end = text.bytes().take_while(|byte| name(*byte)).count();
        let has_value = text[end..].starts_with('=');
        end += usize::from(has_value);
        let (option, rest) = text.split_at(end);
        OPTIONS.iter().find(|known| known.eq_ignore_ascii_case(option))?;
        text = rest;
        if has_value {
            text = after_quoted(text)?;
        }
        match text.split_at_checked(1)? {
            (",", rest) => text = rest,
            (" ", rest) => return Some(rest.trim_start_matches(' ')),
            _ => return None,
        }
    }
}

/// What follows a value in double quotes. `\"` is the only escape (OpenSSH's auth-options.c).
fn after_quoted(text: &str) -> Option<&str> {
    let text = text.strip_prefix('"')?;
    let mut before = 0;
    let ends = |byte: u8| {
        let ends = byte == b'"' && before != b'\\';
        before = byte;
        ends
    };
    text.get(text.bytes().position(ends)? + 1..)
}

/// Whether the blob is exactly the type's name and that many more fields, the key among them of a plausible size.
fn is_key(blob: &[u8], kind: &str, fields: usize) -> bool {
    let mut rest = blob;
    let Some(name) = field(&mut rest) else {
        return false;
    };
    let found: Option<Vec<&[u8]>> = (0..fields).map(|_| field(&mut rest)).collect();
    let Some(found) = found else { return false };
    let plausible = match kind {
        "ssh-ed25519" | "sk-ssh-ed25519@openssh.com" => found.first().is_some_and(|key| key.len() == 32),
        // sshd refuses RSA below 1024 bits (sshd_config(5), RequiredRSASize).
        "ssh-rsa" => found.get(1).is_some_and(|modulus| modulus.len() >= 128),
        // Curve, then an uncompressed point.
        _ => found.get(1).is_some_and(|point| point.first() == Some(&4)),
    };
    name == kind.as_bytes() && rest.is_empty() && plausible
}

/// Takes one length-prefixed field (RFC 4251 §5, `string`).
fn field<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let (field, after) = after.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    *rest = after;
    Some(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINrEGH2ofxVbbHY9RGew4bkVvleiMbzvvc94SXKuIZlv somebody@example";

    const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC9x0FnuBJhHCwfexzpc2S17fFz82xUhViRDDJChjv0GbPF5WS/XlpO9iRM8gcmbZcyWuCo5kownCNeAzaFe0wiHgjqrYKpKxpAMXPVuaK7jAlb9pvksWwnbjCcv9TbRKsivcx6qnUPBrdRgw4QrfrkGQ9LV6NDn1ZN5MbbJBnNjHWqlCDNyeVlQVavNZB/cyEjFUynqDaCOuq7KrK+Q9zaBg8coIYAzGWIpw8r4PYPVASQ3fom5pKHRV8louF58jBZd0FisoYE/ErTgLfGDTYvixqzAmXgxShpnYAe+6Vs71u0RP9wUG6tdZ5bdDIuTqmoE7OuZuCcxE0SkFEvIxgN";
    const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBCNZOE6Y7UiNyszJDq2Aol1tEXyA6uRAZp7K1hAeVrp1P3VPtI6HKy+4+n/BQ+SlHPy5li4bA2AZzEEeCc5+Wvc= ec";

    #[test]
    fn takes_whole_keys() {
        for ok in [
            ED25519.to_owned(),
            RSA.to_owned(),
            ECDSA.to_owned(),
            format!("  {ED25519}\n"),
            ED25519.replace(" somebody@example", ""),
            format!("from=\"10.0.0.0/8\",no-agent-forwarding {ED25519}"),
            format!("command=\"echo \\\"a b\\\"\" {ED25519}"),
            format!("No-PTY,restrict,Command=\"id, # x\",permitopen=\"[::1]:22\"   {ED25519}"),
        ] {
            assert!(SshKey::try_from(ok.as_str()).is_ok(), "{ok}");
        }
    }

    #[test]
    fn refuses_what_is_none() {
        let cut = ED25519.replace("IZlv", "");
        let torn = ED25519.replace("IZlv", "IZl");
        let wrong_type = ED25519.replace("ssh-ed25519", "ssh-rsa");
        let two_lines = format!("{ED25519}\ncommand=\"id\" {ED25519}");
        for bad in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 AAAA",
            "hunter2",
            &cut,
            &torn,
            &wrong_type,
            &two_lines,
        ] {
            assert!(SshKey::try_from(bad).is_err(), "{bad}");
        }
        let private = SshKey::try_from("-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2")
            .unwrap_err()
            .to_string();
        assert!(
            private.contains("private key") && !private.contains("hunter2"),
            "{private}"
        );
    }

    #[test]
    fn refuses_what_sshd_would_not_take_as_options() {
        for bad in [
            "#",
            "# ",
            "#restrict ",
            "no-ptty ",
            "hunter2 ",
            "restrict,hunter2 ",
            "restrict, ",
            ",restrict ",
            "restrict=\"yes\" ",
            "command ",
            "command=id ",
            "command=\"id ",
            "command=\"id\\\" ",
            "command=\"id\"x ",
            "from=\"a\" , restrict ",
        ] {
            let line = format!("{bad}{ED25519}");
            assert!(SshKey::try_from(line.as_str()).is_err(), "{line}");
        }
        let error = SshKey::try_from(format!("no-ptty {ED25519}").as_str()).unwrap_err();
        assert!(
            error.to_string().contains("no list of options of sshd(8)"),
            "{error}"
        );
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in ".{0,80}") {
            let _ = SshKey::try_from(text.as_str());
        }
    }
}
