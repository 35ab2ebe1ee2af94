//! The directives that are taken: those of a client (openvpn(8)) that neither run a program nor name a file, a user or
//! a socket of the device. What is not on the list is refused.

/// Where a directive stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Everywhere,
    /// In a block `<connection>`.
    Connection,
}

/// What becomes of a directive that is not refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judged {
    Taken,
    /// Without an effect here, or decided by the product: left out.
    Left,
    /// The server wants a name and a password.
    Login,
    /// The interface is of this kind; its name is the product's.
    Device(&'static str),
}

/// Directives and how many words may follow: the least and the most.
const TAKEN: &[(&str, usize, usize)] = &[
    ("allow-compression", 1, 1),
    ("allow-recursive-routing", 0, 0),
    ("auth", 1, 1),
    ("auth-nocache", 0, 0),
    ("block-ipv6", 0, 0),
    ("cipher", 1, 1),
    ("client", 0, 0),
    ("comp-lzo", 0, 1),
    ("comp-noadapt", 0, 0),
    ("compress", 0, 1),
    ("data-ciphers", 1, 1),
    ("data-ciphers-fallback", 1, 1),
    ("fast-io", 0, 0),
    ("hand-window", 1, 1),
    ("ifconfig", 2, 2),
    ("ifconfig-ipv6", 2, 2),
    ("ifconfig-nowarn", 0, 0),
    ("keepalive", 2, 2),
    ("key-direction", 1, 1),
    ("mute-replay-warnings", 0, 0),
    ("ncp-ciphers", 1, 1),
    ("persist-key", 0, 0),
    ("persist-tun", 0, 0),
    ("ping", 1, 1),
    ("ping-restart", 1, 1),
    ("ping-timer-rem", 0, 0),
    ("pull", 0, 0),
    ("pull-filter", 2, 2),
    ("push-peer-info", 0, 0),
    ("rcvbuf", 1, 1),
    ("redirect-gateway", 0, 8),
    ("redirect-private", 0, 8),
    ("remote-cert-eku", 1, 1),
    ("remote-cert-ku", 0, 8),
    ("remote-cert-tls", 1, 1),
    ("remote-random", 0, 0),
    ("remote-random-hostname", 0, 0),
    ("reneg-bytes", 1, 1),
    ("reneg-pkts", 1, 1),
    ("reneg-sec", 1, 2),
    ("replay-window", 1, 2),
    ("route", 1, 4),
    ("route-delay", 0, 2),
    ("route-gateway", 1, 1),
    ("route-ipv6", 1, 3),
    ("route-ipv6-gateway", 1, 1),
    ("route-metric", 1, 1),
    ("route-nopull", 0, 0),
    ("sndbuf", 1, 1),
    ("tls-cert-profile", 1, 1),
    ("tls-cipher", 1, 1),
    ("tls-ciphersuites", 1, 1),
    ("tls-client", 0, 0),
    ("tls-groups", 1, 1),
    ("tls-timeout", 1, 1),
    ("tls-version-max", 1, 1),
    ("tls-version-min", 1, 2),
    ("topology", 1, 1),
    ("tran-window", 1, 1),
    ("tun-mtu-max", 1, 1),
    ("txqueuelen", 1, 1),
    ("verify-x509-name", 1, 2),
];

/// Those that may also stand in a block `<connection>`.
const OF_CONNECTION: &[(&str, usize, usize)] = &[
    ("connect-retry", 1, 2),
    ("connect-timeout", 1, 1),
    ("explicit-exit-notify", 0, 1),
    ("float", 0, 0),
    ("fragment", 1, 2),
    // Without a file of credentials: a proxy's password in a file of the device is none of OpenVPN's.
    ("http-proxy", 2, 2),
    ("http-proxy-option", 2, 3),
    ("link-mtu", 1, 1),
    ("mssfix", 0, 2),
    ("mtu-disc", 1, 1),
    ("port", 1, 1),
    ("proto", 1, 1),
    ("remote", 1, 3),
    ("rport", 1, 1),
    ("server-poll-timeout", 1, 1),
    ("socks-proxy", 1, 2),
    ("tun-mtu", 1, 2),
    ("tun-mtu-extra", 1, 1),
];

/// Left out: of Windows, of a desktop, or decided by the product.
const LEFT: &[&str] = &[
    "auth-retry",
    "block-outside-dns",
    "dev-type",
    "dhcp-renew",
    "disable-occ",
    "ignore-unknown-option",
    "ip-win32",
    "mute",
    "nobind",
    "register-dns",
    "resolv-retry",
    "route-method",
    "tap-sleep",
    "verb",
    "win-sys",
];

/// Those that people have in their files, and why they are refused.
const REFUSED: &[(&[&str], &str)] = &[
    (
        &[
            "ca",
            "cert",
            "extra-certs",
            "key",
            "tls-auth",
            "tls-crypt",
            "tls-crypt-v2",
            "crl-verify",
            "peer-fingerprint",
        ],
        "it names a file of another machine; put the file's content into a block of this name, <NAME> and </NAME> on lines of their own",
    ),
    (
        &[
            "up",
            "down",
            "up-delay",
            "up-restart",
            "down-pre",
            "route-up",
            "route-pre-down",
            "ipchange",
            "tls-verify",
            "tls-export-cert",
            "auth-user-pass-verify",
            "client-connect",
            "client-disconnect",
            "client-crresponse",
            "learn-address",
            "iproute",
            "dns-updown",
            "script-security",
            "plugin",
        ],
        "it runs a program",
    ),
    (
        &[
            "engine",
            "providers",
            "pkcs11-providers",
            "pkcs11-id",
            "pkcs11-id-management",
            "cryptoapicert",
            "tpm2",
        ],
        "it loads code into OpenVPN, or needs a key store",
    ),
    (
        &[
            "pkcs12",
            "secret",
            "dh",
            "capath",
            "askpass",
            "http-proxy-user-pass",
            "auth-gen-token-secret",
            "tls-crypt-v2-verify",
        ],
        "it names a file of another machine, or a secret that cannot stand here",
    ),
    (
        &[
            "config",
            "cd",
            "chroot",
            "log",
            "log-append",
            "status",
            "writepid",
            "tmp-dir",
            "ifconfig-pool-persist",
            "replay-persist",
            "client-config-dir",
            "setcon",
            "dev-node",
            "lladdr",
        ],
        "it reads or writes files of the device, or changes where OpenVPN lives",
    ),
    (
        &[
            "user",
            "group",
            "daemon",
            "inetd",
            "nice",
            "mlock",
            "syslog",
            "mktun",
            "rmtun",
            "persist-local-ip",
        ],
        "how OpenVPN runs is the product's",
    ),
    (
        &[
            "management",
            "management-client",
            "management-client-user",
            "management-client-group",
            "management-hold",
            "management-query-passwords",
            "management-query-proxy",
            "management-query-remote",
            "management-signal",
            "management-forget-disconnect",
            "management-up-down",
            "management-external-key",
            "management-external-cert",
            "management-client-auth",
            "management-log-cache",
            "echo",
        ],
        "the management interface is the product's",
    ),
    (
        &[
            "server",
            "server-ipv6",
            "server-bridge",
            "mode",
            "tls-server",
            "push",
            "push-reset",
            "local",
            "lport",
            "bind",
            "multihome",
            "port-share",
            "ifconfig-pool",
            "client-to-client",
            "duplicate-cn",
            "bind-dev",
            "mark",
        ],
        "it is of a server, or binds the tunnel to an address of the device",
    ),
    (
        &[
            "single-session",
            "tls-exit",
            "ping-exit",
            "inactive",
            "session-timeout",
            "connect-retry-max",
            "static-challenge",
        ],
        "it ends the tunnel, or asks somebody, and nobody is there to start it again",
    ),
    (
        &["setenv", "setenv-safe"],
        "only setenv opt, UV_…, FORWARD_COMPATIBLE and CLIENT_CERT are taken",
    ),
    (
        &[
            "no-replay",
            "no-iv",
            "keysize",
            "prng",
            "ns-cert-type",
            "key-method",
        ],
        "it is gone from OpenVPN, or takes protection away",
    ),
];

/// Judges a directive: its words, the first of which is its name. The error is the rule.
pub(super) fn judge(words: &[&str], scope: Scope) -> Result<Judged, String> {
    let (name, values) = (words[0], &words[1..]);
    if name.starts_with("--") {
        return Err("a directive in a configuration has no -- before it".to_owned());
    }
    match (name, values) {
        ("auth-user-pass", []) => return everywhere(scope, Judged::Login),
        ("auth-user-pass", _) => {
            return Err(
                "auth-user-pass names a file; leave the file out, and set os.vpn.openvpn.username and .password".to_owned(),
            );
        }
        ("dev", [kind]) => {
            let kind = ["tun", "tap"].into_iter().find(|known| {
                kind.strip_prefix(known)
                    .is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
            });
            let kind = kind.ok_or("dev is tun or tap; the name of the interface is the product's")?;
            return everywhere(scope, Judged::Device(kind));
        }
        ("setenv", [variable, ..])
            if variable.starts_with("UV_") || ["FORWARD_COMPATIBLE", "CLIENT_CERT"].contains(variable) =>
        {
            return Ok(Judged::Left);
        }
        // They have no effect without a script; dns-updown is one. What a server pushes of them is without one too.
        ("dhcp-option" | "dns", _) => return Ok(Judged::Left),
        ("remote", [_, port, ..]) if port.parse::<u16>().map_or(true, |port| port == 0) => {
            return Err("the port of remote is a number from 1 to 65535".to_owned());
        }
        _ => {}
    }
    if LEFT.contains(&name) {
        return Ok(Judged::Left);
    }
    let mut taken = OF_CONNECTION.iter().chain(TAKEN);
    if let Some((_, least, most)) = taken.find(|(taken, ..)| *taken == name) {
        if scope == Scope::Connection && !OF_CONNECTION.iter().any(|(taken, ..)| *taken == name) {
            return Err(format!("{name} does not stand in a block <connection>"));
        }
        if !(*least..=*most).contains(&values.len()) {
            return Err(format!(
                "{name} has {} words behind it (openvpn(8))",
                span(*least, *most)
            ));
        }
        return Ok(Judged::Taken);
    }
    let refused = REFUSED.iter().find(|(names, _)| names.contains(&name));
    Err(match refused {
        Some((_, why)) => format!("{name} is not taken: {why}"),
        // Not repeated: it may be a secret that slipped in.
        None => "its first word is not a directive that is taken (docs/config.md has the list)".to_owned(),
    })
}

fn everywhere(scope: Scope, judged: Judged) -> Result<Judged, String> {
    match scope {
        Scope::Everywhere => Ok(judged),
        Scope::Connection => Err("it does not stand in a block <connection>".to_owned()),
    }
}

/// Whether this is a directive that is judged by name.
pub(super) fn is_known(name: &str) -> bool {
    let mut taken = OF_CONNECTION.iter().chain(TAKEN).map(|(taken, ..)| *taken);
    let mut refused = REFUSED.iter().flat_map(|(names, _)| names.iter());
    ["auth-user-pass", "dev", "dhcp-option", "dns"].contains(&name)
        || taken.any(|taken| taken == name)
        || LEFT.contains(&name)
        || refused.any(|refused| *refused == name)
}

fn span(least: usize, most: usize) -> String {
    if least == most {
        least.to_string()
    } else {
        format!("{least} to {most}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_documented_and_do_not_overlap() {
        let document = include_str!("../../../../../docs/config.md");
        let mut names: Vec<&str> = TAKEN
            .iter()
            .chain(OF_CONNECTION)
            .map(|(name, ..)| *name)
            .collect();
        names.extend(LEFT);
        for name in &names {
            assert!(
                document.contains(&format!("`{name}`")),
                "docs/config.md does not name {name}"
            );
        }
        names.extend(REFUSED.iter().flat_map(|(refused, _)| refused.iter()));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
