//! The blocks of a configuration: files that stand in it.

use super::{Refusal, checked, on_line};

/// Blocks of PEM, of a static key, or of fingerprints; and what has to be in each.
const TAKEN: &[(&str, &str)] = &[
    ("ca", "-----BEGIN CERTIFICATE-----"),
    ("cert", "-----BEGIN CERTIFICATE-----"),
    ("extra-certs", "-----BEGIN CERTIFICATE-----"),
    ("key", "PRIVATE KEY-----"),
    ("tls-auth", "-----BEGIN OpenVPN Static key V1-----"),
    ("tls-crypt", "-----BEGIN OpenVPN Static key V1-----"),
    ("tls-crypt-v2", "-----BEGIN OpenVPN tls-crypt-v2 client key-----"),
    ("crl-verify", "-----BEGIN X509 CRL-----"),
    ("peer-fingerprint", ":"),
];
const LOGIN: &str = "auth-user-pass";
const MAX_LOGIN: usize = 1024;

/// Which blocks there are.
#[derive(Default)]
pub(super) struct Blocks {
    names: Vec<&'static str>,
    /// Of the block `<auth-user-pass>`: name and password, a line each.
    pub(super) login: Option<String>,
}

impl Blocks {
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains(&name)
    }

    /// Reads the block `name` that begins on line `first`, and writes it to `text`.
    pub(super) fn read<'t>(
        &mut self,
        text: &mut String,
        first: usize,
        name: &str,
        lines: &mut impl Iterator<Item = (usize, &'t str)>,
    ) -> Result<(), Refusal> {
        let taken = TAKEN
            .iter()
            .chain(&[(LOGIN, "")])
            .find(|(taken, _)| *taken == name);
        let Some(&(name, holds)) = taken else {
            return Err(on_line(
                first,
                "this block is not taken; there are <ca>, <cert>, <extra-certs>, <key>, <tls-auth>, <tls-crypt>, \
                 <tls-crypt-v2>, <crl-verify>, <peer-fingerprint>, <auth-user-pass> and <connection>",
            ));
        };
        if self.has(name) {
            return Err(on_line(first, &format!("there is a block <{name}> already")));
        }
        self.names.push(name);
        let end = format!("</{name}>");
        let mut body = String::new();
        for (number, line) in lines {
            let line = checked(number, line)?;
            if line == end {
                return self.take(text, first, name, holds, &body);
            }
            // OpenVPN looks at the beginning of the line only.
            if line.starts_with(&end) {
                return Err(on_line(number, &format!("{end} stands on a line of its own")));
            }
            body.push_str(line);
            body.push('\n');
        }
        Err(on_line(first, &format!("the block <{name}> has no end")))
    }

    fn take(
        &mut self,
        text: &mut String,
        first: usize,
        name: &str,
        holds: &str,
        body: &str,
    ) -> Result<(), Refusal> {
        if name == LOGIN {
            let lines: Vec<&str> = body.lines().collect();
            if !matches!(lines[..], [user, _] if !user.is_empty()) || body.len() > MAX_LOGIN {
                return Err(on_line(
                    first,
                    "the block <auth-user-pass> has two lines: the name and the password",
                ));
            }
            self.login = Some(body.to_owned());
            return Ok(());
        }
        if !body.contains(holds) {
            return Err(on_line(
                first,
                &format!("the block <{name}> does not hold what it should: {holds} is not in it"),
            ));
        }
        if name == "key" && body.contains("ENCRYPTED") {
            return Err(on_line(
                first,
                "the key is encrypted, and nobody is there to type a password: decrypt it (openssl pkey)",
            ));
        }
        text.push_str(&format!("<{name}>\n{body}</{name}>\n"));
        Ok(())
    }
}
