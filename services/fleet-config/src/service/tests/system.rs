//! The keys of the system itself.

use super::*;

#[tokio::test]
async fn each_is_set_once_read_back_and_taken_back() {
    let test = Test::new(r#"{"hostname":"kitchen"}"#).await;
    let (service, config) = test.start().await;
    let link = test.path("run/localtime");
    assert_eq!(
        std::fs::read_link(&link).unwrap(),
        Path::new("/usr/share/zoneinfo/UTC")
    );
    test.peers.told();

    for (key, value, told) in [
        (
            "os.sysctl.vm.swappiness",
            "10",
            "kernel parameters {\"vm.swappiness\": 10}",
        ),
        (
            "os.sysctl.kernel.panic",
            "5",
            "kernel parameters {\"kernel.panic\": 5, \"vm.swappiness\": 10}",
        ),
        ("os.proxy.http", r#""http://p:1""#, r#"proxy "http://p:1" "" """#),
        ("os.watchdog.reboot", "60", "watchdog -1 60"),
        ("os.watchdog.runtime", "30", "watchdog 30 60"),
        ("os.journal.maxUse", r#""64M""#, "reload journal"),
        ("os.journal.syncInterval", "10", "reload journal"),
        ("os.journal.syncLevel", r#""err""#, "journal sync true"),
    ] {
        config.set(key, value).await.unwrap();
        assert_eq!(test.peers.told(), [told], "{key}");
        // Equal: nothing is touched.
        config.set(key, value).await.unwrap();
        assert_eq!(test.peers.told(), [""; 0], "{key}");
    }
    let state = async |key| {
        let (state, value, _) = row(&config, key).await;
        format!("{state} {value}")
    };
    assert_eq!(
        state("os.sysctl").await,
        r#"applied {"kernel.panic":5,"vm.swappiness":10}"#
    );
    assert_eq!(state("os.proxy.http").await, r#"applied "http://p:1""#);
    assert_eq!(state("os.watchdog.runtime").await, "unsupported 30");
    // What journald has read is the product's.
    assert_eq!(state("os.journal.maxUse").await, "pending-reboot 134217728");
    assert_eq!(state("os.journal.syncInterval").await, "pending-reboot 300");
    assert_eq!(state("os.journal.syncLevel").await, r#"applied "err""#);
    let env = std::fs::read_to_string(test.path("run/proxy.env")).unwrap();
    assert!(
        env.ends_with("\nhttp_proxy=http://p:1\nHTTP_PROXY=http://p:1\n"),
        "{env}"
    );

    // A refused entry keeps its value, and the call that brings it changes nothing.
    assert!(config.set("os.sysctl.kernel.panic", "0").await.is_err());
    assert!(config.set("os.timezone", r#""Europe/Nowhere""#).await.is_err());
    assert_eq!(test.peers.told(), [""; 0]);

    for (key, told) in [
        (
            "os.sysctl.vm.swappiness",
            "kernel parameters {\"kernel.panic\": 5}",
        ),
        ("os.sysctl", "kernel parameters {}"),
        ("os.proxy", r#"proxy "" "" """#),
        ("os.watchdog", "watchdog -1 -1"),
    ] {
        config.unset(key).await.unwrap();
        assert_eq!(test.peers.told(), [told], "{key}");
    }
    // Back to what journald has read: it is not asked.
    config.unset("os.journal").await.unwrap();
    assert_eq!(test.peers.told(), ["journal sync false"]);
    assert_eq!(state("os.journal.maxUse").await, "applied 134217728");
    assert_eq!(state("os.journal.syncInterval").await, "applied 300");
    assert_eq!(state("os.journal.syncLevel").await, r#"applied "crit""#);
    service.abort();
}

#[tokio::test]
async fn what_does_not_sync_is_not_called_applied() {
    let test = Test::new(r#"{"os":{"journal":{"syncLevel":"err"}}}"#).await;
    test.peers.0.lock().unwrap().manager.journal_sync_fails = true;
    let (service, config) = test.start().await;
    let (state, value, detail) = row(&config, "os.journal.syncLevel").await;
    assert_eq!((state.as_str(), value.as_str()), ("refused", r#""crit""#));
    assert!(detail.contains("fleet-journal-sync.service"), "{detail}");
    // Tried again by the next apply; and one that runs by then is left alone.
    let manager = |journal_sync| {
        let mut peers = test.peers.0.lock().unwrap();
        peers.manager.journal_sync_fails = false;
        peers.manager.journal_sync = journal_sync;
    };
    manager(true);
    test.peers.told();
    config.set("hostname", r#""cellar""#).await.unwrap();
    assert_eq!(row(&config, "os.journal.syncLevel").await.0, "applied");
    assert_eq!(test.peers.told(), ["host name cellar"]);
    service.abort();
}

#[tokio::test]
async fn journald_that_can_reload_has_the_limits_at_once() {
    let test = Test::new(r#"{"os":{"journal":{"maxUse":"64M"}}}"#).await;
    test.peers.0.lock().unwrap().manager.can_reload_journal = true;
    let (service, config) = test.start().await;
    let (state, value, detail) = row(&config, "os.journal.maxUse").await;
    assert_eq!(
        (state.as_str(), value.as_str(), detail.as_str()),
        ("applied", "67108864", "")
    );
    service.abort();
    // Another run of the service knows it.
    test.peers.told();
    let (service, config) = test.start().await;
    assert!(!test.peers.told().contains(&"reload journal".to_owned()));
    assert_eq!(row(&config, "os.journal.maxUse").await.1, "67108864");
    service.abort();
}

#[tokio::test]
async fn a_boot_with_the_limits_in_place_asks_nobody() {
    let test = Test::new("{}").await;
    let store = test.path("state");
    std::fs::write(
        store.join("config.json"),
        r#"{"os":{"journal":{"maxUse":"64M"}}}"#,
    )
    .unwrap();
    std::fs::copy(store.join("config.json"), test.path("boot/config.json")).unwrap();
    test.supply_journal_limits();
    let (service, config) = test.start().await;
    assert!(!test.peers.told().contains(&"reload journal".to_owned()));
    let (state, value, _) = row(&config, "os.journal.maxUse").await;
    assert_eq!((state.as_str(), value.as_str()), ("applied", "67108864"));
    service.abort();
}
