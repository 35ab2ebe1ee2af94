//! Certificates, udev rules and the country.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

/// Two blocks that have the form of certificates, and base64 of them.
const BLOCK: &str = "-----BEGIN CERTIFICATE-----\nMAAwADAA\n-----END CERTIFICATE-----\n";
const ENCODED: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1BQXdBREFBCi0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS0K";

/// What takes the place of fleet-certificate.
fn checker(test: &Test, script: &str) {
    let path = test.path("fleet-certificate");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

/// The image's certificates, and a bus with nothing told yet.
async fn started(document: &str) -> (Test, tokio::task::JoinHandle<()>, ConfigProxy) {
    let test = Test::new(document).await;
    std::fs::create_dir(test.path("image")).unwrap();
    std::fs::write(test.path("image/ca-certificates.crt"), "all\n").unwrap();
    symlink(test.path("image"), test.path("certificates")).unwrap();
    checker(&test, "echo 0123abcd 0 4000000000 CN=An authority");
    let (service, config) = test.start().await;
    (test, service, config)
}

#[tokio::test]
async fn certificates_come_and_go_and_a_bad_one_changes_nothing() {
    let (test, service, config) = started(&format!(r#"{{"balenaRootCA":"{ENCODED}"}}"#)).await;
    assert!(test.peers.told().contains(&"trust store true".to_owned()));
    let (state, value, detail) = row(&config, "balenaRootCA").await;
    assert_eq!(
        (state.as_str(), value.as_str(), detail.as_str()),
        ("applied", r#"["CN=An authority"]"#, "")
    );
    let bundle = std::fs::read_to_string(test.path("certificates/ca-certificates.crt")).unwrap();
    assert!(bundle.starts_with("all\n") && bundle.ends_with(BLOCK), "{bundle}");
    assert_eq!(
        std::fs::read_to_string(test.path("certificates/0123abcd.0")).unwrap(),
        BLOCK
    );

    checker(&test, "echo '\"CN=x\" expired' >&2; exit 65");
    // The same certificate twice: another value.
    let other = ENCODED.replace("S0K", "S0KCg==");
    config.set("balenaRootCA", &format!("\"{other}\"")).await.unwrap();
    let same = row(&config, "balenaRootCA").await;
    assert_eq!(
        same.0, "applied",
        "the certificates are the same, nothing was asked: {same:?}"
    );
    config.set("hostname", "\"hall\"").await.unwrap();
    config.apply().await.unwrap();
    let (state, value, detail) = row(&config, "balenaRootCA").await;
    assert_eq!(
        (state.as_str(), value.as_str(), detail.as_str()),
        ("refused", r#"["CN=An authority"]"#, "\"CN=x\" expired")
    );
    assert_eq!(row(&config, "hostname").await.0, "applied");
    assert!(test.path("certificates/0123abcd.0").exists());

    test.peers.told();
    config.unset("balenaRootCA").await.unwrap();
    assert_eq!(test.peers.told(), ["trust store false"]);
    assert!(!test.path("run/ca").exists());
    assert!(!test.path("certificates/0123abcd.0").exists());
    service.abort();
}

#[tokio::test]
async fn a_bad_certificate_leaves_the_one_before_over_a_restart() {
    let (test, service, config) = started(&format!(r#"{{"balenaRootCA":"{ENCODED}"}}"#)).await;
    let other = ENCODED.replace(
        "S0K",
        "S0KLS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1BQXdBREFCCi0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS0K",
    );
    let good = "if grep -q MAAwADAB; then echo '\"CN=x\" is no authority' >&2; exit 65; fi; \
                echo 0123abcd 0 4000000000 CN=An authority";
    checker(&test, good);

    // By a call: it is not made, and the caller hears why.
    let refused = config
        .set("balenaRootCA", &format!("\"{other}\""))
        .await
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("balenaRootCA: \"CN=x\" is no authority"),
        "{refused}"
    );
    assert_eq!(row(&config, "balenaRootCA").await.0, "applied");

    // By an edit, with another key.
    let edit = format!(r#"{{"balenaRootCA":"{other}","hostname":"hall"}}"#);
    std::fs::write(test.path("boot/config.json"), edit).unwrap();
    eventually(async || row(&config, "hostname").await.1 == r#""hall""#).await;
    let refused = (
        "refused".to_owned(),
        r#"["CN=An authority"]"#.to_owned(),
        "\"CN=x\" is no authority".to_owned(),
    );
    assert_eq!(row(&config, "balenaRootCA").await, refused);
    let revision = config.read().await.unwrap().revision;
    service.abort();
    let _ = service.await;

    // The next boot: nothing is mounted, and the one before is trusted again.
    std::fs::remove_dir_all(test.path("run/ca")).unwrap();
    std::fs::remove_file(test.path("certificates")).unwrap();
    symlink(test.path("image"), test.path("certificates")).unwrap();
    let Test { folder, .. } = test;
    let test = Test::at(folder).await;
    let (service, config) = test.start().await;
    assert_eq!(row(&config, "balenaRootCA").await, refused);
    assert!(test.path("certificates/0123abcd.0").exists());
    assert_eq!(config.read().await.unwrap().revision, revision);

    // Nobody can look: what was refused stays so, anything else is taken by its form and judged when it is applied.
    checker(&test, "exit 1");
    config.apply().await.unwrap();
    let cannot = async || {
        let (state, _, detail) = row(&config, "balenaRootCA").await;
        assert!(
            state == "refused" && detail.contains("cannot be looked at"),
            "{detail}"
        );
    };
    cannot().await;
    assert_eq!(config.read().await.unwrap().revision, revision);
    let twice = format!("\"{ENCODED}{ENCODED}\"");
    assert_eq!(config.set("balenaRootCA", &twice).await.unwrap(), revision + 1);
    cannot().await;
    service.abort();
}

#[tokio::test]
async fn an_expired_certificate_is_left_out_and_named() {
    // Two blocks that differ: the second has another body.
    const TWO: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1BQXdBREFBCi0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS0KLS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1BQXdBREFCCi0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS0K";
    let (test, service, config) = started("{}").await;
    checker(
        &test,
        "echo expired 0 1 CN=Old, O=x; echo 0123abcd 0 4000000000 CN=New",
    );
    config.set("balenaRootCA", &format!("\"{TWO}\"")).await.unwrap();
    let (state, value, detail) = row(&config, "balenaRootCA").await;
    assert_eq!(
        (state.as_str(), value.as_str(), detail.as_str()),
        ("applied", r#"["CN=New"]"#, r#"left out: expired "CN=Old, O=x""#)
    );
    let bundle = std::fs::read_to_string(test.path("certificates/ca-certificates.crt")).unwrap();
    let new = BLOCK.replace("MAAwADAA", "MAAwADAB");
    assert!(bundle.ends_with(&new) && !bundle.contains(BLOCK), "{bundle}");
    assert_eq!(
        std::fs::read_to_string(test.path("certificates/0123abcd.0")).unwrap(),
        new
    );
    assert!(!test.path("certificates/fleet-ca-1.pem").exists());
    test.peers.told();
    config.set("hostname", "\"hall\"").await.unwrap();
    let told = test.peers.told();
    assert!(
        !told.iter().any(|told| told.starts_with("trust store")),
        "{told:?}"
    );

    config.unset("balenaRootCA").await.unwrap();
    assert!(!row(&config, "balenaRootCA").await.2.contains("left out"));
    service.abort();
}

#[tokio::test]
async fn udev_refuses_a_file_and_takes_the_others() {
    let rules =
        r#"{"os":{"udevRules":{"b":"SUBSYSTEM==\"usb\", GROUP=\"nobody-here\"","a":"","c":"RUN+=\"x\""}}}"#;
    let (test, service, config) = started(rules).await;
    assert_eq!(
        row(&config, "os.udevRules").await.0,
        "unsupported",
        "there is no udevd"
    );
    assert!(!test.peers.told().iter().any(|told| told.starts_with("udev")));

    std::fs::write(test.path("udev-control"), "").unwrap();
    config.apply().await.unwrap();
    assert!(
        test.peers
            .told()
            .contains(&r#"udev rules ["a", "b"] false"#.to_owned())
    );
    let (state, value, _) = row(&config, "os.udevRules").await;
    assert_eq!((state.as_str(), value.as_str()), ("applied", r#"["a"]"#));
    let (state, _, detail) = row(&config, r#"os.udevRules["b"]"#).await;
    assert_eq!(
        (state.as_str(), detail.as_str()),
        ("refused", "udev does not take it: no such group")
    );
    assert_eq!(row(&config, r#"os.udevRules["c"]"#).await.0, "refused");

    config.set("developmentMode", "true").await.unwrap();
    assert!(
        test.peers
            .told()
            .contains(&r#"udev rules ["a", "b", "c"] true"#.to_owned())
    );
    config.set("developmentMode", "true").await.unwrap();
    assert_eq!(test.peers.told(), [""; 0], "nothing differs");
    config.unset("os.udevRules").await.unwrap();
    assert_eq!(test.peers.told(), ["udev rules [] true"]);
    service.abort();
}

#[tokio::test]
async fn the_country_is_read_back() {
    let (test, service, config) = started(r#"{"country":"de"}"#).await;
    assert!(test.peers.told().contains(&"country DE".to_owned()));
    let (state, value, _) = row(&config, "country").await;
    assert_eq!((state.as_str(), value.as_str()), ("applied", r#""DE""#));
    config.set("country", "\"AQ\"").await.unwrap();
    let (state, value, detail) = row(&config, "country").await;
    assert_eq!(
        (state.as_str(), value.as_str(), detail.as_str()),
        ("refused", r#""00""#, "the kernel keeps 00")
    );
    test.peers.told();
    config.unset("country").await.unwrap();
    assert_eq!(test.peers.told(), ["country 00"]);
    assert_eq!(row(&config, "country").await.0, "applied");
    service.abort();
}
