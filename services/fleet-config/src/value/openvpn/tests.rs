use proptest::prelude::*;

use super::*;

const CA: &str = "<ca>\n-----BEGIN CERTIFICATE-----\nMAAwADAA\n-----END CERTIFICATE-----\n</ca>\n";
const CERT: &str = "<cert>\n-----BEGIN CERTIFICATE-----\nMAAwADAA\n-----END CERTIFICATE-----\n</cert>\n";
const KEY: &str = "<key>\n-----BEGIN PRIVATE KEY-----\nMAAwADAA\n-----END PRIVATE KEY-----\n</key>\n";

fn whole() -> String {
    format!("client\ndev tun\nremote vpn.example 1194 udp\n{CA}{CERT}{KEY}")
}

fn read(text: &str) -> Result<OpenVpnConfig, String> {
    OpenVpnConfig::try_from(text).map_err(|refusal| refusal.to_string())
}

#[test]
fn is_put_together_anew() {
    let text = format!(
        "# of the provider\nclient\r\n\n; old\ndev tun3\nremote  vpn.example\t1194 udp # near\nverb 9\nnobind\nblock-outside-dns\n\
         ignore-unknown-option block-outside-dns\nsetenv opt tls-version-min 1.2\nsetenv opt of-the-future 1\n\
         verify-x509-name \"C=DE, CN=vpn server\" subject\nreneg-sec 0\ndhcp-option DNS 10.0.0.1\n<connection>\nremote b.example 443 \
         tcp\nconnect-retry 2 9\n</connection>\n{CA}{CERT}{KEY}"
    );
    let config = read(&text).unwrap();
    assert_eq!(
        *config.render(7).expose(),
        format!(
            "client\ndev fleet-vpn\ndev-type tun\nremote vpn.example 1194 udp\ntls-version-min 1.2\n\
             verify-x509-name \"C=DE, CN=vpn server\" subject\nreneg-sec 0\n<connection>\nremote b.example 443 tcp\n\
             connect-retry 2 9\n</connection>\n{CA}{CERT}{KEY}ping 25\nping-restart 60\nconnect-retry 12 307\n\
             server-poll-timeout 10\n"
        )
    );
    assert!(!config.asks_for_login() && config.login().is_none());
    assert!(!format!("{config:?}").contains("PRIVATE"));
}

#[test]
fn what_it_says_by_itself_stays() {
    let text = format!("{}keepalive 5 20\nconnect-retry 1\nconnect-timeout 3\n", whole());
    let rendered = read(&text).unwrap().render(0);
    let added = rendered
        .expose()
        .strip_prefix(&text.replace("dev tun\n", "dev fleet-vpn\ndev-type tun\n"));
    assert_eq!(added, Some("remote-cert-tls server\n"));
}

#[test]
fn a_login_is_asked_for_or_brought_along() {
    let text = format!("client\ndev tun\nremote a 1\nauth-user-pass\n{CA}");
    let config = read(&text).unwrap();
    assert!(config.asks_for_login() && !config.render(0).expose().contains("auth-user-pass"));
    let config = read(&format!(
        "{text}<auth-user-pass>\nme\nhunter2\n</auth-user-pass>\n"
    ))
    .unwrap();
    assert!(!config.asks_for_login() && !config.render(0).expose().contains("hunter2"));
    assert_eq!(config.login().unwrap().expose(), "me\nhunter2\n");
}

/// Each directive that would reach out of the tunnel, with the line and why.
#[test]
fn refused_directives() {
    for (bad, why) in [
        ("up /bin/sh", "runs a program"),
        ("down x", "runs a program"),
        ("script-security 2", "runs a program"),
        ("plugin /usr/lib/x.so", "runs a program"),
        ("tls-verify x", "runs a program"),
        ("route-up x", "runs a program"),
        ("ipchange x", "runs a program"),
        ("learn-address x", "runs a program"),
        ("client-connect x", "runs a program"),
        ("setenv opt up /bin/sh", "runs a program"),
        ("setenv opt setenv opt up /bin/sh", "runs a program"),
        ("setenv LD_PRELOAD /x.so", "setenv is not taken"),
        ("setenv PATH /x", "setenv is not taken"),
        ("setenv-safe A b", "setenv-safe is not taken"),
        ("engine dynamic", "loads code"),
        ("pkcs11-providers /x.so", "loads code"),
        ("providers legacy /x", "loads code"),
        ("management 127.0.0.1 7505", "the product's"),
        ("management-client", "the product's"),
        ("daemon", "the product's"),
        ("user root", "the product's"),
        ("log /etc/passwd", "files of the device"),
        ("status /x", "files of the device"),
        ("writepid /x", "files of the device"),
        ("chroot /", "files of the device"),
        ("cd /", "files of the device"),
        ("config /etc/passwd", "files of the device"),
        ("auth-user-pass /etc/shadow", "names a file"),
        ("askpass /x", "names a file"),
        ("ca /x", "into a block"),
        ("tls-auth ta.key 1", "into a block"),
        ("http-proxy a 1 /x", "2 words"),
        ("dev /dev/net/tun", "tun or tap"),
        ("dev tunx", "tun or tap"),
        ("remote a 0", "1 to 65535"),
        ("remote", "1 to 3 words"),
        ("server 10.0.0.0 255.0.0.0", "of a server"),
        ("--client", "no -- before it"),
        ("Client", "docs/config.md"),
        ("cipher \"a\"b", "no space"),
        ("cipher \"a", "no end"),
        ("cipher a\\nup", "backslash"),
        ("cipher a\"b", "backslash"),
        ("<ca>x", "of its own"),
        ("<ca> x", "of its own"),
        ("<secret>", "not taken"),
        ("</ca>", "not taken"),
        ("route 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16", "16 words"),
        (&"a".repeat(255), "254 bytes"),
        (&format!("cipher a{}", "#".repeat(246)), "in quotes"),
    ] {
        let refusal = read(&format!("client\n{bad}\n{}", whole())).unwrap_err();
        assert!(
            refusal.starts_with("line 2: ") && refusal.contains(why),
            "{bad}: {refusal}"
        );
    }
    for (bad, why) in [
        (
            "<connection>\nremote a 1\nredirect-gateway\n</connection>",
            "line 3",
        ),
        (
            "<connection>\nremote a 1\nauth-user-pass\n</connection>",
            "line 3",
        ),
        ("<connection>\nremote a 1\n<ca>\n</connection>", "line 3"),
        ("<connection>\nport 1\n</connection>", "line 1"),
        ("<connection>\nremote a 1", "line 1"),
        ("<ca>\n", "line 1"),
        ("<ca>\n</ca>", "line 1"),
        ("<ca>\n-----BEGIN CERTIFICATE-----\n</ca> up\n</ca>", "line 3"),
        ("<auth-user-pass>\nme\n</auth-user-pass>", "line 1"),
        ("<key>\n-----BEGIN ENCRYPTED PRIVATE KEY-----\n</key>", "decrypt"),
        ("a\u{1b}", "line 1"),
    ] {
        let refusal = read(bad).unwrap_err();
        assert!(refusal.contains(why), "{bad}: {refusal}");
    }
}

#[test]
fn what_is_missing_is_said() {
    let whole = whole();
    for (part, why) in [
        ("remote vpn.example 1194 udp\n", "remote HOST PORT"),
        ("dev tun\n", "dev tun"),
        (CA, "<ca>"),
        (CERT, "go together"),
        (KEY, "go together"),
    ] {
        let refusal = read(&whole.replace(part, "")).unwrap_err();
        assert!(refusal.contains(why), "{part}: {refusal}");
    }
    assert!(
        read(&whole.replace(CERT, "").replace(KEY, ""))
            .unwrap_err()
            .contains("who the device is")
    );
    assert!(read(&format!("{whole}{CA}")).unwrap_err().contains("already"));
}

#[test]
fn no_refusal_repeats_a_value() {
    for bad in [
        "hunter2",
        "hunter2 x",
        "up hunter2",
        "auth-user-pass hunter2",
        "<hunter2>",
        "setenv hunter2 x",
        "setenv A hunter2",
        "dev hunter2",
        "remote a hunter2",
        "remote a b c hunter2",
        "setenv opt up hunter2",
    ] {
        let refusal = read(bad).unwrap_err();
        assert!(!refusal.contains("hunter2"), "{refusal}");
    }
}

/// What a line of the result begins with, outside of blocks.
fn directives(text: &str) -> Vec<String> {
    let mut inside = None;
    let mut found = Vec::new();
    for line in text.lines() {
        match &inside {
            Some(end) if line == end => inside = None,
            Some(_) => {}
            None if line.starts_with('<') && !line.contains("connection>") => {
                inside = Some(line.replace('<', "</"));
            }
            None => found.push(line.split(' ').next().unwrap().to_owned()),
        }
    }
    found
}

proptest! {
    /// Whatever is read, no line of the result is a directive that is not on the list.
    #[test]
    fn nothing_else_gets_through(lines in proptest::collection::vec(prop_oneof![
        "[a-z-]{1,12}( [ -~]{0,12}){0,3}",
        "[ -~\\t\\r]{0,40}",
        proptest::sample::select(vec!["<ca>", "</ca>", "<connection>", "</connection>", "remote a 1", "dev tun", "up x",
            "setenv opt up x", "cipher 'a b'", "-----BEGIN CERTIFICATE-----", "<auth-user-pass>", "</auth-user-pass>",
            "verify-x509-name \"</ca>\"", "auth-user-pass"]).prop_map(str::to_owned),
    ], 0..12), at in 0_usize..6) {
        let mut all: Vec<&str> = lines.iter().map(String::as_str).collect();
        let whole = whole();
        all.insert(at.min(lines.len()), &whole);
        if let Ok(config) = read(&all.join("\n")) {
            for directive in directives(config.render(1).expose()) {
                let is_block = directive.contains("connection>");
                prop_assert!(is_block || directive == "dev-type" || super::directives::is_known(&directive), "{directive:?}");
                let left = matches!(judge(&[&directive, "tun"], Scope::Everywhere), Err(why) if why.contains("is not taken"));
                prop_assert!(!left, "{directive}");
            }
        }
    }
}
