//! The whole service on a private `dbus-daemon`, with its peers played by objects that write down what they are
//! told.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fleet_base::proxy::config::ConfigProxy;
use tempfile::TempDir;
use zbus::{Variant, interface};

use super::*;

mod system;

mod board;

/// What the peers were told, and what they answer.
#[derive(Clone, Default)]
struct Peers(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    told: Vec<String>,
    hostname: String,
    check_uri: String,
    network_manager_conf: PathBuf,
    helper_fails: bool,
    manager: Manager,
    folder: PathBuf,
}

impl Peers {
    fn tell(&self, what: impl Into<String>) {
        self.0.lock().unwrap().told.push(what.into());
    }

    /// What was told since this was asked last.
    fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().told)
    }
}

struct Helper(Peers);

#[interface(name = "org.fleetos.Helper1")]
impl Helper {
    fn set_hostname(&self, name: &str) -> bus::Result<()> {
        if self.0.0.lock().unwrap().helper_fails {
            return Err(bus::Error::Failed("out of order".to_owned()));
        }
        self.0.tell(format!("host name {name}"));
        name.clone_into(&mut self.0.0.lock().unwrap().hostname);
        Ok(())
    }

    fn reload_time_sources(&self) -> Vec<String> {
        self.0.tell("time sources");
        let conf = &self.0.0.lock().unwrap().network_manager_conf;
        let sources = std::fs::read_to_string(conf.with_file_name("chrony/fleet.sources")).unwrap();
        let lines = sources.lines().filter(|line| !line.starts_with('#'));
        lines
            .filter_map(|line| line.split(' ').nth(1))
            .map(str::to_owned)
            .collect()
    }

    fn set_connection_profiles(&self, profiles: Vec<(String, Vec<u8>)>) -> Vec<String> {
        let paths: Vec<String> = profiles.iter().map(|(name, _)| format!("/run/{name}")).collect();
        self.0.tell(format!("profiles {paths:?}"));
        paths
    }

    fn set_development_mode(&self, on: bool) {
        self.0.tell(format!("development mode {on}"));
    }

    fn set_kernel_parameters(&self, parameters: BTreeMap<String, i64>) -> BTreeMap<String, i64> {
        self.0.tell(format!("kernel parameters {parameters:?}"));
        parameters
    }

    fn set_proxy(&self, http: &str, https: &str, no_proxy: &str) {
        self.0.tell(format!("proxy {http:?} {https:?} {no_proxy:?}"));
        let variables = [
            ("http_proxy", http),
            ("https_proxy", https),
            ("no_proxy", no_proxy),
        ];
        let set = variables.iter().filter(|(_, value)| !value.is_empty());
        self.0.0.lock().unwrap().manager.environment =
            set.map(|(name, value)| format!("{name}={value}")).collect();
    }

    fn set_watchdog(&self, runtime: u64, reboot: u64) {
        self.0.tell(format!(
            "watchdog {} {}",
            runtime.cast_signed(),
            reboot.cast_signed()
        ));
        let span = |limit: u64| if limit == u64::MAX { 0 } else { limit * 1_000_000 };
        self.0.0.lock().unwrap().manager.watchdog = [span(runtime), span(reboot)];
    }

    fn reload_journal(&self) -> bool {
        self.0.tell("reload journal");
        self.0.0.lock().unwrap().manager.can_reload_journal
    }

    fn set_open_vpn(&self, on: bool, again: bool) {
        self.0.tell(format!("OpenVPN {on} {again}"));
    }

    fn set_journal_sync(&self, on: bool) {
        self.0.tell(format!("journal sync {on}"));
        let manager = &mut self.0.0.lock().unwrap().manager;
        manager.journal_sync = on && !manager.journal_sync_fails;
    }

    fn set_udev_rules(&self, rules: Vec<(String, String)>, development: bool) -> Vec<String> {
        let names: Vec<&str> = rules.iter().map(|(name, _)| name.as_str()).collect();
        self.0.tell(format!("udev rules {names:?} {development}"));
        let refused =
            |(_, text): &(String, String)| text.contains("nobody").then(|| "no such group".to_owned());
        rules
            .iter()
            .map(|rule| refused(rule).unwrap_or_default())
            .collect()
    }

    fn set_journal_upload(&self, on: bool, again: bool) -> String {
        self.0.tell(format!("upload {on} {again}"));
        String::new()
    }

    /// "Mounts" by a link.
    fn set_trust_store(&self, extended: bool) {
        self.0.tell(format!("trust store {extended}"));
        let folder = self.0.0.lock().unwrap().folder.clone();
        let (shown, image) = (folder.join("certificates"), folder.join("image"));
        let target = if extended { folder.join("run/ca") } else { image };
        let _ = std::fs::remove_file(&shown);
        std::os::unix::fs::symlink(target, shown).unwrap();
    }

    fn set_regulatory_domain(&self) {
        let folder = self.0.0.lock().unwrap().folder.clone();
        let country = std::fs::read_to_string(folder.join("run/country")).unwrap();
        self.0.tell(format!("country {}", country.trim()));
        let status = if country == "AQ\n" {
            "00 the kernel keeps 00\n"
        } else {
            &country
        };
        std::fs::write(folder.join("regdomain"), status).unwrap();
    }
}

#[derive(Default)]
struct Manager {
    environment: Vec<String>,
    watchdog: [u64; 2],
    can_reload_journal: bool,
    journal_sync: bool,
    /// The unit ends as soon as it has begun.
    journal_sync_fails: bool,
}

struct Hostnamed(Peers);

#[interface(name = "org.freedesktop.hostname1")]
impl Hostnamed {
    #[zbus(property)]
    fn hostname(&self) -> String {
        self.0.0.lock().unwrap().hostname.clone()
    }
}

struct Journal(Peers);

#[interface(name = "org.fleetos.Journal1")]
impl Journal {
    fn configure(&self, persistent: bool) {
        self.0.tell(match persistent {
            true => "journal persistent",
            false => "journal volatile",
        });
    }
}

struct Systemd(Peers);

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl Systemd {
    #[zbus(property)]
    fn environment(&self) -> Vec<String> {
        self.0.0.lock().unwrap().manager.environment.clone()
    }

    #[zbus(property, name = "RuntimeWatchdogUSec")]
    fn runtime_watchdog(&self) -> u64 {
        self.0.0.lock().unwrap().manager.watchdog[0]
    }

    #[zbus(property, name = "RebootWatchdogUSec")]
    fn reboot_watchdog(&self) -> u64 {
        self.0.0.lock().unwrap().manager.watchdog[1]
    }

    #[zbus(property)]
    fn watchdog_device(&self) -> &str {
        ""
    }
}

struct Chronyd;

#[interface(name = "org.freedesktop.systemd1.Unit")]
impl Chronyd {
    #[zbus(property)]
    fn active_state(&self) -> &str {
        "active"
    }
}

struct JournalSync(Peers);

#[interface(name = "org.freedesktop.systemd1.Unit")]
impl JournalSync {
    #[zbus(property(emits_changed_signal = "false"))]
    fn active_state(&self) -> &str {
        match self.0.0.lock().unwrap().manager.journal_sync {
            true => "active",
            false => "inactive",
        }
    }
}

struct NetworkManager(Peers);

#[interface(name = "org.freedesktop.NetworkManager")]
impl NetworkManager {
    fn reload(&self, flags: u32) {
        self.0.tell(format!("reload {flags}"));
        let mut state = self.0.0.lock().unwrap();
        let conf = std::fs::read_to_string(&state.network_manager_conf).unwrap();
        let uri = conf
            .lines()
            .find_map(|line| line.strip_prefix("uri="))
            .unwrap_or_default();
        uri.clone_into(&mut state.check_uri);
    }

    #[zbus(property)]
    fn global_dns_configuration(&self) -> HashMap<String, Variant<'static>> {
        let conf =
            std::fs::read_to_string(&self.0.0.lock().unwrap().network_manager_conf).unwrap_or_default();
        let servers = conf.lines().find_map(|line| line.strip_prefix("servers="));
        let Some(servers) = servers else {
            return HashMap::new();
        };
        let servers: Vec<String> = servers.split(',').map(str::to_owned).collect();
        let within = |name: &str, value: Variant<'static>| HashMap::from([(name.to_owned(), value)]);
        let all_names = within("*", within("servers", servers.into()).into());
        within("domains", all_names.into())
    }

    #[zbus(property)]
    fn connectivity_check_enabled(&self) -> bool {
        !self.0.0.lock().unwrap().check_uri.is_empty()
    }

    #[zbus(property)]
    fn connectivity_check_available(&self) -> bool {
        !self.0.0.lock().unwrap().check_uri.is_empty()
    }

    #[zbus(property)]
    fn connectivity_check_uri(&self) -> String {
        self.0.0.lock().unwrap().check_uri.clone()
    }
}

struct Settings(Peers);

#[interface(name = "org.freedesktop.NetworkManager.Settings")]
impl Settings {
    fn load_connections(&self, files: Vec<String>) -> (bool, Vec<String>) {
        self.0.tell(format!("load {files:?}"));
        let bad: Vec<String> = files.into_iter().filter(|file| file.ends_with("bad")).collect();
        (bad.is_empty(), bad)
    }

    fn reload_connections(&self) -> bool {
        self.0.tell("reload connections");
        true
    }
}

/// A bus of the test's own.
struct Bus {
    daemon: Child,
    address: String,
}

impl Bus {
    /// `None` where there is no `dbus-daemon`.
    fn start(folder: &Path) -> Self {
        let config = folder.join("bus.conf");
        let text = format!(
            "<busconfig><listen>unix:path={}/bus</listen><auth>EXTERNAL</auth>\
             <policy context=\"default\"><allow send_destination=\"*\"/><allow eavesdrop=\"true\"/><allow own=\"*\"/>\
             </policy></busconfig>",
            folder.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut daemon = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", config.display()))
            .args(["--nofork", "--print-address"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("these tests need dbus-daemon (Debian: apt-get install dbus-daemon)");
        let mut address = String::new();
        BufReader::new(daemon.stdout.take().unwrap())
            .read_line(&mut address)
            .unwrap();
        Self {
            daemon,
            address: address.trim().to_owned(),
        }
    }

    fn builder(&self) -> Builder<'static> {
        Builder::address(self.address.as_str()).method_timeout(Duration::from_secs(5))
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

struct Test {
    folder: TempDir,
    peers: Peers,
    bus: Bus,
    /// Keeps the names of the peers.
    _connection: Connection,
}

impl Test {
    async fn new(document: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["boot", "state", "run"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        std::fs::write(folder.path().join("boot/config.json"), document).unwrap();
        std::fs::write(
            folder.path().join("fleet.toml"),
            "[time]\npool = [\"pool.example\"]\n[connectivity]\nuri = \"http://check.example/\"\n",
        )
        .unwrap();
        Self::at(folder).await
    }

    /// A boot of the device that is in this folder.
    async fn at(folder: TempDir) -> Self {
        let bus = Bus::start(folder.path());
        let peers = Peers::default();
        peers.0.lock().unwrap().folder = folder.path().to_owned();
        peers.0.lock().unwrap().network_manager_conf = folder.path().join("run/NetworkManager.conf");
        let connection = bus
            .builder()
            .serve_at("/org/fleetos/Helper1", Helper(peers.clone()))
            .serve_at("/org/freedesktop/hostname1", Hostnamed(peers.clone()))
            .serve_at("/org/fleetos/Journal1", Journal(peers.clone()))
            .serve_at("/org/freedesktop/systemd1", Systemd(peers.clone()))
            .serve_at("/org/freedesktop/systemd1/unit/chronyd_2eservice", Chronyd)
            .serve_at(
                "/org/freedesktop/systemd1/unit/fleet_2djournal_2dsync_2eservice",
                JournalSync(peers.clone()),
            )
            .name("org.fleetos.Helper1")
            .name("org.freedesktop.hostname1")
            .name("org.fleetos.Journal1")
            .name("org.freedesktop.systemd1")
            .build()
            .await
            .unwrap();
        let test = Self {
            folder,
            peers,
            bus,
            _connection: connection,
        };
        test.supply_journal_limits();
        test
    }

    /// What the step before systemd does at each boot.
    fn supply_journal_limits(&self) {
        let [state, product, run, journald] =
            ["state", "fleet.toml", "run", "journald"].map(|name| self.path(name));
        crate::journal_limits::supply(&state, &product, &run, &journald).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn places(&self) -> Places {
        Places {
            boot: self.path("boot"),
            state: self.path("state"),
            run: self.path("run"),
            board: self.path("board"),
            defaults: self.path("fleet.toml"),
            helper: self.path("run/helper"),
            journal: ["flag", "call", "flushed"].map(|name| self.path(name)),
            journal_keeper: None,
            certificates: self.path("certificates"),
            certificate_checker: self.path("fleet-certificate").display().to_string(),
            udev_rules: self.path("rules.d"),
            udev_control: self.path("udev-control"),
            regulatory_domain: self.path("regdomain"),
        }
    }

    /// Starts the service and waits for its first apply.
    async fn start(&self) -> (tokio::task::JoinHandle<()>, ConfigProxy) {
        let (places, bus) = (self.places(), self.bus.builder());
        let service = tokio::spawn(async move {
            let _ = run(places, bus).await;
        });
        let client = self.bus.builder().build().await.unwrap();
        let config = ConfigProxy::new(&client);
        eventually(async || config.read().await.is_ok_and(|now| now.applied_at > 0)).await;
        (service, config)
    }

    /// NetworkManager comes.
    async fn network_manager(&self) -> Connection {
        self.bus
            .builder()
            .serve_at(
                "/org/freedesktop/NetworkManager",
                NetworkManager(self.peers.clone()),
            )
            .serve_at(
                "/org/freedesktop/NetworkManager/Settings",
                Settings(self.peers.clone()),
            )
            .name(network_manager::NAME)
            .build()
            .await
            .unwrap()
    }
}

async fn eventually(mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..200 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it did not come about within four seconds");
}

async fn row(config: &ConfigProxy, key: &str) -> (String, String, String) {
    let rows = config.read().await.unwrap().keys;
    let row = rows.into_iter().find(|row| row.0 == key);
    row.map(|(_, state, value, detail)| (state, value, detail))
        .unwrap_or_else(|| panic!("no row for {key}"))
}

#[tokio::test]
async fn scripts_on_the_boot_partition_are_told_and_not_run() {
    let test = Test::new("{}").await;
    let (service, config) = test.start().await;
    let folder = test.path("boot/dispatcher.d");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("90-route"), "#!/bin/sh\ntouch /tmp/ran\n").unwrap();
    let told = async || {
        let rows = config.read().await.unwrap().keys;
        rows.into_iter().find(|row| row.0 == "dispatcher.d/90-route")
    };
    eventually(async || told().await.is_some()).await;
    let row = told().await.unwrap();
    assert!(
        row.1 == "unsupported" && row.3.contains("a layer of the product"),
        "{row:?}"
    );
    std::fs::remove_file(folder.join("90-route")).unwrap();
    eventually(async || told().await.is_none()).await;
    service.abort();
}

#[tokio::test]
async fn a_device_boots_is_edited_and_network_manager_comes_and_goes() {
    let test = Test::new(r#"{"hostname":"kitchen","apiKey":"hunter2","ntpServers":7}"#).await;
    let keyfiles = test.path("boot/system-connections");
    std::fs::create_dir(&keyfiles).unwrap();
    std::fs::write(keyfiles.join("office"), "[connection]\npsk=hunter2\n").unwrap();
    std::fs::write(keyfiles.join("bad"), "[connection]\n").unwrap();
    let (service, config) = test.start().await;

    assert_eq!(
        test.peers.told(),
        [
            "host name kitchen",
            "profiles [\"/run/bad\", \"/run/office\"]",
            "time sources"
        ],
        "NetworkManager is not called, the journal is as wanted"
    );
    let sources = std::fs::read_to_string(test.path("run/chrony/fleet.sources")).unwrap();
    assert!(sources.ends_with("pool pool.example iburst trust\n"), "{sources}");
    assert_eq!(row(&config, "hostname").await.0, "applied");
    assert_eq!(row(&config, "ntpServers").await.0, "refused");
    let waiting = row(&config, "os.network.connectivity.uri").await;
    assert!(
        waiting.0 == "applied" && waiting.2.starts_with("NetworkManager does not run"),
        "{waiting:?}"
    );

    // NetworkManager comes: it is told again, and what it says is read back.
    let manager = test.network_manager().await;
    eventually(async || {
        row(&config, "os.network.connectivity.uri").await.2 == "not set; this is the default"
    })
    .await;
    let told = test.peers.told();
    assert!(
        told.contains(&"reload 1".to_owned()) && told.contains(&"reload connections".to_owned()),
        "{told:?}"
    );
    let refused = row(&config, "system-connections/bad").await;
    assert!(
        refused.0 == "refused" && refused.2.starts_with("NetworkManager does not accept"),
        "{refused:?}"
    );
    assert_eq!(row(&config, "system-connections/office").await.0, "applied");

    // An edit of the host name touches the host name only.
    let edited = r#"{"hostname":"cellar","apiKey":"hunter2","ntpServers":7}"#;
    std::fs::write(test.path("boot/config.json"), edited).unwrap();
    eventually(async || config.read().await.unwrap().hostname == "cellar").await;
    assert_eq!(test.peers.told(), ["host name cellar"]);

    // So does a call.
    config
        .set("os.network.connectivity.uri", "\"http://mine.example/\"")
        .await
        .unwrap();
    assert_eq!(test.peers.told(), ["reload 1"]);
    assert_eq!(
        row(&config, "os.network.connectivity.uri").await.1,
        "\"http://mine.example/\""
    );
    assert!(
        std::fs::read_to_string(test.path("boot/config.json"))
            .unwrap()
            .contains("hunter2")
    );
    let error = config.set("hostname", "\"a_b\"").await.unwrap_err();
    assert!(
        error.to_string().contains("org.fleetos.Error.InvalidArgument"),
        "{error}"
    );
    assert_eq!(config.get("hostname").await.unwrap(), "\"cellar\"");
    assert_eq!(config.get("apiKey").await.unwrap(), "\"…\"");
    config.set("persistentLogging", "true").await.unwrap();
    assert_eq!(test.peers.told(), ["journal persistent"]);

    // NetworkManager restarts.
    manager.close().await.unwrap();
    eventually(async || {
        row(&config, "os.network.connectivity.uri")
            .await
            .2
            .starts_with("NetworkManager does not")
    })
    .await;
    test.peers.told();
    let _manager = test.network_manager().await;
    eventually(async || test.peers.0.lock().unwrap().told.contains(&"reload 1".to_owned())).await;

    // A broken document changes nothing.
    std::fs::write(test.path("boot/config.json"), "{\n\"hostname\": \"x\",\n}").unwrap();
    eventually(async || config.read().await.unwrap().problem.contains("line 2, column 16")).await;
    assert_eq!(config.read().await.unwrap().hostname, "cellar");

    let report = std::fs::read_to_string(test.path("run/report.json")).unwrap();
    let published = format!(
        "{:?}{}{}",
        config.read().await.map(|now| now.keys),
        config.get("").await.unwrap(),
        report
    );
    assert!(!published.contains("hunter2"), "a secret is shown");
    assert!(!service.is_finished());
}

#[tokio::test]
async fn calls_are_all_or_nothing_and_are_remembered() {
    let test = Test::new(r#"{"hostname":"kitchen","apiKey":"hunter2"}"#).await;
    let (_service, config) = test.start().await;
    let user = match nix::unistd::getuid().as_raw() {
        0 => "root".to_owned(),
        user => format!("user {user}"),
    };
    assert_eq!(config.set("hostname", "\"cellar\"").await.unwrap(), 2);
    assert_eq!(config.set("hostname", "\"cellar\"").await.unwrap(), 2);
    assert_eq!(config.unset("mine").await.unwrap(), 2);
    let patch = r#"{"hostname":"attic","apiKey":"hunter3"}"#;
    assert_eq!(config.patch(2, patch).await.unwrap(), 3);
    assert_eq!(config.read().await.unwrap().revision, 3);
    let error = config.patch(2, patch).await.unwrap_err().to_string();
    assert!(
        error.contains("org.fleetos.Error.Conflict") && error.contains("at revision 3, not 2"),
        "{error}"
    );
    let bad = r#"{"hostname":"a_b","ntpServers":7,"apiKey":"hunter4"}"#;
    let error = config.patch(0, bad).await.unwrap_err().to_string();
    assert!(
        error.contains("InvalidArgument") && error.contains("ntpServers: "),
        "{error}"
    );
    assert_eq!(config.get("hostname").await.unwrap(), "\"attic\"");
    assert_eq!(config.revert(1).await.unwrap(), 4);
    assert_eq!(config.get("hostname").await.unwrap(), "\"kitchen\"");
    let missing = config.revert(77).await.unwrap_err().to_string();
    assert!(missing.contains("org.fleetos.Error.NotFound"), "{missing}");
    let rows = config
        .check(r#"{"hostname":"a_b","apiKey":"hunter5"}"#)
        .await
        .unwrap();
    assert_eq!((rows[0].0.as_str(), rows[0].1.as_str()), ("hostname", "refused"));

    let history = config.history().await.unwrap();
    let told: Vec<_> = history
        .iter()
        .map(|(revision, _, who, how, keys)| (*revision, who.as_str(), how.as_str(), keys.join(" ")))
        .collect();
    let user = user.as_str();
    let both = || "hostname apiKey".to_owned();
    assert_eq!(
        told,
        [
            (4, user, "revert", both()),
            (3, user, "patch", both()),
            (2, user, "set", "hostname".to_owned()),
            (1, "config.json", "first", both()),
        ]
    );
    let said = format!("{history:?}{rows:?}{error}{}", config.get("").await.unwrap());
    let report = std::fs::read_to_string(test.path("run/report.json")).unwrap();
    assert!(
        !said.contains("hunter") && !report.contains("hunter"),
        "a secret is shown"
    );
}

#[tokio::test]
async fn a_broken_file_is_put_aside_without_another_edit() {
    let test = Test::new(r#"{"hostname":"kitchen"}"#).await;
    let (_service, config) = test.start().await;
    std::fs::write(test.path("boot/config.json"), "{\"hostname\":\"cellar\",}").unwrap();
    eventually(async || test.path("boot/config.json.rejected.txt").exists()).await;
    eventually(async || {
        config
            .read()
            .await
            .unwrap()
            .problem
            .contains("config.json.rejected")
    })
    .await;
    let good = std::fs::read_to_string(test.path("boot/config.json")).unwrap();
    assert_eq!(good, r#"{"hostname":"kitchen"}"#);
    std::fs::write(test.path("boot/config.json"), "{\"hostname\":\"cellar\"}").unwrap();
    eventually(async || config.read().await.unwrap().hostname == "cellar").await;
    assert_eq!(config.read().await.unwrap().problem, "");
}

#[tokio::test]
async fn a_peer_that_fails_costs_its_own_key_only() {
    let test = Test::new(r#"{"hostname":"kitchen"}"#).await;
    test.peers.0.lock().unwrap().helper_fails = true;
    let (_service, config) = test.start().await;
    assert_eq!(
        row(&config, "hostname").await,
        ("refused".into(), String::new(), "out of order".into())
    );
    assert_eq!(row(&config, "ntpServers").await.0, "applied");
    test.peers.0.lock().unwrap().helper_fails = false;
    config.apply().await.unwrap();
    assert_eq!(
        row(&config, "hostname").await,
        ("applied".into(), "\"kitchen\"".into(), String::new())
    );
}

#[tokio::test]
async fn a_hundred_edits_converge_to_the_last() {
    let test = Test::new("{}").await;
    let (_service, config) = test.start().await;
    test.peers.told();
    for number in 0..100 {
        std::fs::write(
            test.path("boot/config.json"),
            format!(r#"{{"hostname":"host-{number}"}}"#),
        )
        .unwrap();
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    eventually(async || config.read().await.unwrap().hostname == "host-99").await;
    assert_eq!(test.peers.told(), ["host name host-99"]);
}

#[tokio::test]
async fn a_store_that_fails_is_told_and_tried_again() {
    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINrEGH2ofxVbbHY9RGew4bkVvleiMbzvvc94SXKuIZlv me";
    let test = Test::new(r#"{"hostname":"kitchen"}"#).await;
    let (_service, config) = test.start().await;
    // The first start wrote one generation; the other one is next.
    std::fs::remove_file(test.path("state/generation-1")).unwrap();
    std::fs::create_dir(test.path("state/generation-1")).unwrap();
    let edit = format!(r#"{{"hostname":"cellar","os":{{"sshKeys":["{KEY}"]}}}}"#);
    std::fs::write(test.path("boot/config.json"), edit).unwrap();
    eventually(async || config.read().await.unwrap().hostname == "cellar").await;
    let problem = config.read().await.unwrap().problem;
    assert!(problem.contains("lost at power-off"), "{problem}");
    assert_eq!(row(&config, "hostname").await.0, "applied");
    assert_eq!(
        row(&config, "os.sshKeys").await,
        ("refused".into(), "[]".into(), problem),
        "sshd reads the store"
    );
    std::fs::remove_dir(test.path("state/generation-1")).unwrap();
    eventually(async || config.read().await.unwrap().problem.is_empty()).await;
    assert_eq!(row(&config, "os.sshKeys").await.0, "applied");
}

#[tokio::test]
async fn without_a_fallback_the_report_says_so() {
    let test = Test::new(r#"{"dnsServers":"null"}"#).await;
    let (_service, config) = test.start().await;
    let manager = test.network_manager().await;
    eventually(async || {
        row(&config, "dnsServers")
            .await
            .2
            .contains("there is no fallback")
    })
    .await;
    drop(manager);
}

#[tokio::test]
async fn the_service_ends_when_the_bus_does() {
    let mut test = Test::new("{}").await;
    let (service, _config) = test.start().await;
    test.bus.daemon.kill().unwrap();
    tokio::time::timeout(Duration::from_secs(4), service)
        .await
        .unwrap()
        .unwrap();
}
