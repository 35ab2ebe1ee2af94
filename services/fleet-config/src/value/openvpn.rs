//! A client's configuration of OpenVPN (openvpn(8)): what it may hold, and what is made of it.
//!
//! The text comes from outside and is read by a program that configures the network. So it is taken apart here, only
//! directives of the list are taken, and what OpenVPN reads is put together anew from the parts. No refusal repeats a
//! value: there are keys in it.

use std::fmt::Write;

use fleet_base::secret::Secret;

use super::Refusal;

mod blocks;
mod directives;
mod words;

use blocks::Blocks;
use directives::{Judged, Scope, judge};

/// A configuration with its keys inline is a few KiB.
const MAX: usize = 256 * 1024;
/// OpenVPN reads lines into 256 bytes (`OPTION_LINE_SIZE`), with the line's end and a zero, and what is longer as
/// another line.
const MAX_LINE: usize = 254;
/// The interface of the tunnel.
pub(crate) const INTERFACE: &str = "fleet-vpn";

/// A client's configuration, whole and without anything that could run a program, read or write a file, or listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenVpnConfig {
    /// Directives and blocks, a line each, as OpenVPN reads them.
    text: Secret<String>,
    asks_for_login: bool,
    /// Name and password that it brings along, a line each.
    login: Option<Secret<String>>,
    /// Whether it says by itself how a silent server is noticed.
    has_ping: bool,
    has_connect_retry: bool,
    has_timeout: bool,
    checks_server: bool,
}

impl OpenVpnConfig {
    /// Whether the server wants a name and a password, and the configuration does not have them.
    #[must_use]
    pub const fn asks_for_login(&self) -> bool {
        self.asks_for_login
    }

    /// Name and password that are in it, a line each.
    #[must_use]
    pub const fn login(&self) -> Option<&Secret<String>> {
        self.login.as_ref()
    }

    /// What OpenVPN reads: the configuration, and what the product adds where it says nothing. `device` is a number that
    /// differs between devices: ten thousand that lose their server at once come back over a quarter of a minute.
    #[must_use]
    pub fn render(&self, device: u32) -> Secret<String> {
        let mut text = self.text.expose().clone();
        if !self.has_ping {
            // A server's own (keepalive) is pushed, and wins.
            text.push_str("ping 25\nping-restart 60\n");
        }
        if !self.has_connect_retry {
            // After five tries a remote, the pause doubles up to the second number.
            let _ = writeln!(text, "connect-retry {} {}", 5 + device % 16, 300 + device % 120);
        }
        if !self.has_timeout {
            // An address that does not answer costs ten seconds, not minutes: there may be IPv6 that leads nowhere.
            text.push_str("server-poll-timeout 10\n");
        }
        if !self.checks_server {
            // Otherwise every client's certificate of the same authority would do for a server's.
            text.push_str("remote-cert-tls server\n");
        }
        Secret::new(text)
    }
}

/// Refuses line `number`, counted from 1.
fn on_line(number: usize, rule: &str) -> Refusal {
    Refusal::unnamed_owned(format!("line {number}: {rule}"))
}

impl TryFrom<&str> for OpenVpnConfig {
    type Error = Refusal;

    fn try_from(text: &str) -> Result<Self, Refusal> {
        if text.len() > MAX {
            return Err(Refusal::unnamed("the configuration has more than 256 KiB"));
        }
        let mut reader = Reader::default();
        let mut lines = (1..).zip(text.lines());
        while let Some((number, line)) = lines.next() {
            reader.line(number, checked(number, line)?, &mut lines)?;
        }
        reader.finish()
    }
}

/// A line without what is around it; refused if OpenVPN would read another one.
fn checked(number: usize, line: &str) -> Result<&str, Refusal> {
    if line.len() > MAX_LINE {
        return Err(on_line(
            number,
            "it has more than 254 bytes, and OpenVPN reads 254 of them",
        ));
    }
    if line.chars().any(|c| c.is_control() && c != '\t') {
        return Err(on_line(
            number,
            "the configuration is text, without control characters",
        ));
    }
    Ok(line.trim())
}

/// What has been read so far.
#[derive(Default)]
struct Reader {
    text: String,
    has_remote: bool,
    has_device: bool,
    wants_login: bool,
    has_ping: bool,
    has_connect_retry: bool,
    has_timeout: bool,
    checks_server: bool,
    blocks: Blocks,
}

impl Reader {
    fn line<'t>(
        &mut self,
        number: usize,
        line: &str,
        lines: &mut impl Iterator<Item = (usize, &'t str)>,
    ) -> Result<(), Refusal> {
        let words = words::split(number, line)?;
        let Some(first) = words.first() else { return Ok(()) };
        if first.starts_with('<') {
            let name = first.strip_prefix('<').and_then(|name| name.strip_suffix('>'));
            let name = name.filter(|_| words.len() == 1);
            let name =
                name.ok_or_else(|| on_line(number, "a block begins with <NAME> on a line of its own"))?;
            return match name {
                "connection" => self.connection(number, lines),
                name => self.blocks.read(&mut self.text, number, name, lines),
            };
        }
        self.directive(number, &words, Scope::Everywhere)
    }

    /// A block `<connection>`: directives about one server.
    fn connection<'t>(
        &mut self,
        first: usize,
        lines: &mut impl Iterator<Item = (usize, &'t str)>,
    ) -> Result<(), Refusal> {
        self.text.push_str("<connection>\n");
        self.has_remote = false;
        for (number, line) in lines {
            let line = checked(number, line)?;
            if line == "</connection>" {
                if !self.has_remote {
                    return Err(on_line(
                        first,
                        "the block <connection> has no line \"remote HOST PORT\"",
                    ));
                }
                self.text.push_str("</connection>\n");
                return Ok(());
            }
            let words = words::split(number, line)?;
            if !words.is_empty() {
                self.directive(number, &words, Scope::Connection)?;
            }
        }
        Err(on_line(first, "the block <connection> has no end"))
    }

    fn directive(&mut self, number: usize, words: &[&str], scope: Scope) -> Result<(), Refusal> {
        // Taken by a release that knows the directive, and left out by others.
        if let ["setenv", "opt", name, ..] = words {
            return match directives::is_known(name) {
                true => self.directive(number, &words[2..], scope),
                false => Ok(()),
            };
        }
        match judge(words, scope).map_err(|rule| on_line(number, &rule))? {
            Judged::Left => return Ok(()),
            Judged::Login => {
                self.wants_login = true;
                return Ok(());
            }
            Judged::Device(kind) => {
                let _ = writeln!(self.text, "dev {INTERFACE}\ndev-type {kind}");
                self.has_device = true;
                return Ok(());
            }
            Judged::Taken => {}
        }
        // What stands in a block <connection> holds for that server; the others still need ours.
        let everywhere = scope == Scope::Everywhere;
        match words[0] {
            "remote" => self.has_remote = true,
            "ping" | "ping-restart" | "keepalive" => self.has_ping = true,
            "connect-retry" => self.has_connect_retry |= everywhere,
            "server-poll-timeout" | "connect-timeout" => self.has_timeout |= everywhere,
            "remote-cert-tls" | "remote-cert-eku" | "verify-x509-name" => self.checks_server = true,
            _ => {}
        }
        let start = self.text.len();
        for (index, word) in words.iter().enumerate() {
            if index > 0 {
                self.text.push(' ');
            }
            words::quote(&mut self.text, word);
        }
        if self.text.len() - start > MAX_LINE {
            return Err(on_line(
                number,
                "it has more than 254 bytes once its words are in quotes, and OpenVPN reads 254 of them",
            ));
        }
        self.text.push('\n');
        Ok(())
    }

    /// What is missing is said before OpenVPN ends over it.
    fn finish(self) -> Result<OpenVpnConfig, Refusal> {
        let Self { blocks, .. } = self;
        let missing = if !self.has_remote {
            Some("this is no client's configuration: it has no line \"remote HOST PORT\" (openvpn(8))")
        } else if !self.has_device {
            Some("it has no line \"dev tun\"")
        } else if !blocks.has("ca") && !blocks.has("peer-fingerprint") {
            Some("it does not say by whom the server's certificate is issued: put a block <ca> in it")
        } else if blocks.has("cert") != blocks.has("key") {
            Some("the blocks <cert> and <key> go together, and one of them is missing")
        } else if !blocks.has("cert") && !self.wants_login && blocks.login.is_none() {
            Some("it does not say who the device is: put blocks <cert> and <key> in it, or auth-user-pass")
        } else {
            None
        };
        if let Some(missing) = missing {
            return Err(Refusal::unnamed(missing));
        }
        Ok(OpenVpnConfig {
            asks_for_login: self.wants_login && blocks.login.is_none(),
            has_ping: self.has_ping,
            has_connect_retry: self.has_connect_retry,
            has_timeout: self.has_timeout,
            checks_server: self.checks_server || blocks.has("peer-fingerprint"),
            login: blocks.login.map(Secret::new),
            text: Secret::new(self.text),
        })
    }
}

#[cfg(test)]
mod tests;
