//! Product defaults: `/usr/lib/fleet/fleet.toml`, changed by drop-ins in `fleet.toml.d/`.
//!
//! They belong to the image and not to the device. A file that is wrong is skipped with its reason: a product
//! layer's slip must not cost the device its network.

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use fleet_base::file;
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::{CheckTarget, JournalLimits, Probes, Proxy, Watchdog};
use crate::value::{
    CheckResponse, CheckUri, NoProxy, ProxyUrl, Refusal, Seconds, SyncLevel, TimeServer, Timezone,
    WatchdogTimeout,
};

/// What holds where a document says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// `[time] pool`: pools of time servers, by DNS name.
    pub pools: Vec<TimeServer>,
    /// `[dns] fallback`: resolvers for when no configured and no leased one answers.
    pub fallback: Vec<IpAddr>,
    /// `[connectivity] uri`; "" is off.
    pub check_uri: Option<CheckTarget>,
    /// `[connectivity] interval`, seconds.
    pub check_interval: Option<Seconds>,
    /// `[connectivity] response`.
    pub check_response: Option<CheckResponse>,
    /// `[probe]`.
    pub probes: Probes,
    /// `[time] zone`; "" is UTC.
    pub timezone: Option<Timezone>,
    /// `[proxy]`; "" is none.
    pub proxy: Proxy,
    /// `[watchdog]`; what is not there is systemd's.
    pub watchdog: Watchdog,
    /// `[journal]`.
    pub journal: JournalLimits,
    /// `[journal] sync_level`.
    pub sync_level: Option<SyncLevel>,
}

/// Why a file of defaults is skipped.
#[derive(Debug)]
pub enum Error {
    /// It could not be read.
    Read(file::Error),
    /// It is not TOML, or not of the documented shape.
    Syntax(PathBuf, String),
    /// A value breaks its rule.
    Value(PathBuf, &'static str, Refusal),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => write!(f, "{error}; skipped"),
            Self::Syntax(path, error) => write!(f, "{}: {error}; skipped", path.display()),
            Self::Value(path, key, refusal) => write!(f, "{}: {key}: {refusal}; skipped", path.display()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read(error) => Some(error),
            Self::Syntax(..) => None,
            Self::Value(_, _, refusal) => Some(refusal),
        }
    }
}

/// A file as it is written.
#[derive(Default)]
struct Fragment {
    pool: Option<Vec<String>>,
    fallback: Option<Vec<IpAddr>>,
    uri: Option<String>,
    interval: Option<u64>,
    response: Option<String>,
    zone: Option<String>,
    http: Option<String>,
    https: Option<String>,
    no_proxy: Option<Vec<String>>,
    runtime: Option<u64>,
    reboot: Option<u64>,
    /// The keys of `[probe]` and their values, as the keys of `config.json` have them.
    probe: Vec<(&'static str, Value)>,
    /// The keys of `[journal]` and their values, as the keys of `config.json` have them.
    journal: Vec<(&'static str, Value)>,
}

/// The keys of `[journal]`.
const JOURNAL: [&str; 7] = [
    "max_use",
    "keep_free",
    "retention",
    "rate_limit_interval",
    "rate_limit_burst",
    "sync_interval",
    "sync_level",
];

/// The keys of `[probe]`.
const PROBE: [&str; 3] = ["interval", "metered_interval", "monthly_budget"];

/// Where in the text (bytes), and what is wrong there.
type Wrong = (Option<Range<usize>>, String);

impl Fragment {
    /// Reads the tables of this service by hand: derived deserializers of these few keys take 40 KiB of code.
    fn parse(text: &str) -> Result<Self, Wrong> {
        let file = DeTable::parse(text).map_err(|error| (error.span(), error.message().to_owned()))?;
        let mut fragment = Self::default();
        for (name, table) in file.get_ref() {
            let table_name = name.get_ref().as_ref();
            let known = match table_name {
                "time" => "one of `pool`, `zone`",
                "dns" => "`fallback`",
                "connectivity" => "one of `uri`, `interval`, `response`",
                "probe" => "one of `interval`, `metered_interval`, `monthly_budget`",
                "proxy" => "one of `http`, `https`, `no_proxy`",
                "watchdog" => "one of `runtime`, `reboot`",
                "journal" => {
                    "one of `max_use`, `keep_free`, `retention`, `rate_limit_interval`, `rate_limit_burst`, \
                     `sync_interval`, `sync_level`"
                }
                // Another service's.
                _ => continue,
            };
            let DeValue::Table(entries) = table.get_ref() else {
                return Err((Some(table.span()), format!("`{table_name}` is not a table")));
            };
            for (name, value) in entries {
                let key = name.get_ref().as_ref();
                match (table_name, key) {
                    ("time", "pool") => fragment.pool = Some(texts(key, value)?),
                    ("time", "zone") => fragment.zone = Some(text_of(key, value)?),
                    ("proxy", "http") => fragment.http = Some(text_of(key, value)?),
                    ("proxy", "https") => fragment.https = Some(text_of(key, value)?),
                    ("proxy", "no_proxy") => fragment.no_proxy = Some(texts(key, value)?),
                    ("watchdog", "runtime") => fragment.runtime = Some(integer(key, value)?),
                    ("watchdog", "reboot") => fragment.reboot = Some(integer(key, value)?),
                    ("dns", "fallback") => fragment.fallback = Some(addresses(key, value)?),
                    ("connectivity", "uri") => fragment.uri = Some(text_of(key, value)?),
                    ("connectivity", "interval") => fragment.interval = Some(integer(key, value)?),
                    ("connectivity", "response") => fragment.response = Some(text_of(key, value)?),
                    ("probe", key) if let Some(listed) = PROBE.iter().find(|listed| **listed == key) => {
                        fragment.probe.push((listed, number_or_text(key, value)?));
                    }
                    ("journal", key) if let Some(listed) = JOURNAL.iter().find(|listed| **listed == key) => {
                        fragment.journal.push((listed, number_or_text(key, value)?));
                    }
                    _ => {
                        let unknown = format!("unknown field `{key}`, expected {known}");
                        return Err((Some(name.span()), unknown));
                    }
                }
            }
        }
        Ok(fragment)
    }
}

fn wrong<T>(key: &str, value: &Spanned<DeValue<'_>>, what: &str) -> Result<T, Wrong> {
    Err((Some(value.span()), format!("`{key}` is not {what}")))
}

fn text_of(key: &str, value: &Spanned<DeValue<'_>>) -> Result<String, Wrong> {
    match value.get_ref() {
        DeValue::String(text) => Ok(text.to_string()),
        _ => wrong(key, value, "a string"),
    }
}

fn integer(key: &str, value: &Spanned<DeValue<'_>>) -> Result<u64, Wrong> {
    let number = match value.get_ref() {
        DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
        _ => None,
    };
    number.map_or_else(|| wrong(key, value, "a whole number"), Ok)
}

fn number_or_text(key: &str, value: &Spanned<DeValue<'_>>) -> Result<Value, Wrong> {
    match value.get_ref() {
        DeValue::String(text) => Ok(Value::from(text.as_ref())),
        DeValue::Integer(_) => integer(key, value).map(Value::from),
        _ => wrong(key, value, "a whole number or a string"),
    }
}

fn texts(key: &str, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, Wrong> {
    match value.get_ref() {
        DeValue::Array(values) => values.iter().map(|value| text_of(key, value)).collect(),
        _ => wrong(key, value, "an array of strings"),
    }
}

fn addresses(key: &str, value: &Spanned<DeValue<'_>>) -> Result<Vec<IpAddr>, Wrong> {
    let texts = texts(key, value)?;
    let address = |text: &String| {
        text.parse()
            .map_err(|error| (Some(value.span()), format!("`{key}`: \"{text}\": {error}")))
    };
    texts.iter().map(address).collect()
}

/// The largest file of defaults, in bytes.
const MAX_BYTES: u64 = 256 * 1024;

impl Defaults {
    /// Reads a file and the drop-ins beside it (`<file>.d/*.toml`, by name, later ones win key by key).
    ///
    /// Returns what could be read, and an error for each file that was skipped.
    #[must_use]
    pub fn load(path: &Path) -> (Self, Vec<Error>) {
        let mut defaults = Self::default();
        let mut errors = Vec::new();
        for path in std::iter::once(path.to_owned()).chain(drop_ins(path)) {
            if let Err(error) = defaults.add(&path) {
                errors.push(error);
            }
        }
        (defaults, errors)
    }

    /// Adds one file, all of it or nothing.
    fn add(&mut self, path: &Path) -> Result<(), Error> {
        let bytes = file::read(path, MAX_BYTES).map_err(Error::Read)?;
        let syntax = |error: String| Error::Syntax(path.to_owned(), error.trim().replace('\n', " "));
        let text = String::from_utf8(bytes).map_err(|_| syntax("it is not UTF-8".to_owned()))?;
        let fragment = Fragment::parse(&text).map_err(|(span, error)| {
            let line = span.map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            syntax(format!("{place}{error}"))
        })?;
        let value = |key| move |refusal| Error::Value(path.to_owned(), key, refusal);
        let mut changed = self.clone();
        changed
            .add_system(&fragment)
            .map_err(|(key, refusal)| Error::Value(path.to_owned(), key, refusal))?;
        if let Some(pools) = fragment.pool {
            let pools: Result<_, _> = pools
                .iter()
                .map(|pool| TimeServer::try_from(pool.as_str()))
                .collect();
            changed.pools = pools.map_err(value("time.pool"))?;
        }
        if let Some(fallback) = fragment.fallback {
            changed.fallback = fallback;
        }
        if let Some(uri) = fragment.uri {
            changed.check_uri = Some(if uri.is_empty() {
                CheckTarget::Off
            } else {
                CheckTarget::At(CheckUri::try_from(uri.as_str()).map_err(value("connectivity.uri"))?)
            });
        }
        if let Some(interval) = fragment.interval {
            changed.check_interval =
                Some(Seconds::try_from(interval).map_err(value("connectivity.interval"))?);
        }
        if let Some(response) = fragment.response {
            let response = CheckResponse::try_from(response.as_str());
            changed.check_response = Some(response.map_err(value("connectivity.response"))?);
        }
        *self = changed;
        Ok(())
    }
}

impl Defaults {
    /// Adds what is the system's: zone, proxy, watchdog.
    fn add_system(&mut self, fragment: &Fragment) -> Result<(), (&'static str, Refusal)> {
        let refused = |key| move |refusal| (key, refusal);
        if let Some(zone) = &fragment.zone {
            self.timezone = match zone.as_str() {
                "" => None,
                zone => Some(Timezone::try_from(zone).map_err(refused("time.zone"))?),
            };
        }
        let proxy = |address: &str| match address {
            "" => Ok(None),
            address => ProxyUrl::try_from(address).map(Some),
        };
        if let Some(http) = &fragment.http {
            self.proxy.http = proxy(http).map_err(refused("proxy.http"))?;
        }
        if let Some(https) = &fragment.https {
            self.proxy.https = proxy(https).map_err(refused("proxy.https"))?;
        }
        if let Some(list) = &fragment.no_proxy {
            self.proxy.no_proxy =
                NoProxy::read(&list.as_slice().into()).map_err(refused("proxy.no_proxy"))?;
        }
        if let Some(seconds) = fragment.runtime {
            let limit = WatchdogTimeout::try_from(seconds).map_err(refused("watchdog.runtime"))?;
            self.watchdog.runtime = Some(limit);
        }
        for (key, value) in &fragment.probe {
            self.add_probe(key, value)?;
        }
        for (key, value) in &fragment.journal {
            self.add_journal(key, value)?;
        }
        if let Some(seconds) = fragment.reboot {
            let limit = WatchdogTimeout::try_from(seconds).map_err(refused("watchdog.reboot"))?;
            self.watchdog.reboot = Some(limit);
        }
        Ok(())
    }
}

impl Defaults {
    /// Adds one key of `[probe]`: the same values and rules as in `config.json`.
    fn add_probe(&mut self, key: &str, value: &Value) -> Result<(), (&'static str, Refusal)> {
        let probes = &mut self.probes;
        match key {
            "interval" => read("probe.interval", value, &mut probes.interval),
            "metered_interval" => read("probe.metered_interval", value, &mut probes.metered_interval),
            _ => read("probe.monthly_budget", value, &mut probes.monthly_budget),
        }
    }

    /// Adds one key of `[journal]`: the same values and rules as in `config.json`.
    fn add_journal(&mut self, key: &str, value: &Value) -> Result<(), (&'static str, Refusal)> {
        let journal = &mut self.journal;
        match key {
            "max_use" => read("journal.max_use", value, &mut journal.max_use),
            "keep_free" => read("journal.keep_free", value, &mut journal.keep_free),
            "retention" => read("journal.retention", value, &mut journal.retention),
            "rate_limit_interval" => read("journal.rate_limit_interval", value, &mut journal.rate_interval),
            "rate_limit_burst" => read("journal.rate_limit_burst", value, &mut journal.rate_burst),
            "sync_interval" => read("journal.sync_interval", value, &mut journal.sync_interval),
            _ => read("journal.sync_level", value, &mut self.sync_level),
        }
    }
}

/// Sets a default to a value that keeps the rule of its key.
fn read<'v, T: TryFrom<&'v Value, Error = Refusal>>(
    name: &'static str,
    value: &'v Value,
    place: &mut Option<T>,
) -> Result<(), (&'static str, Refusal)> {
    *place = Some(T::try_from(value).map_err(|refusal| (name, refusal))?);
    Ok(())
}

/// The drop-ins of a file, by name.
fn drop_ins(path: &Path) -> Vec<PathBuf> {
    let mut folder = path.as_os_str().to_owned();
    folder.push(".d");
    let folder = PathBuf::from(folder);
    let names = file::names(&folder).unwrap_or_default();
    let paths = names.into_iter().map(|name| folder.join(name));
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_drop_in_is_skipped_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fleet.toml");
        let drop_ins = folder.path().join("fleet.toml.d");
        std::fs::create_dir(&drop_ins).unwrap();
        std::fs::write(
            &path,
            "[time]\npool = [\"pool.example\"]\n[connectivity]\nuri = \"http://a.example/\"\ninterval = 60\n[watch]\nx = 1\n",
        )
        .unwrap();
        std::fs::write(drop_ins.join("10-broken.toml"), "[time]\npool = [\n").unwrap();
        std::fs::write(
            drop_ins.join("20-bad.toml"),
            "[connectivity]\ninterval = 7\nuri = \"a b\"\n",
        )
        .unwrap();
        std::fs::write(drop_ins.join("30-typo.toml"), "[time]\npools = []\n").unwrap();
        std::fs::write(
            drop_ins.join("40-good.toml"),
            "[dns]\nfallback = [\"10.0.0.1\"]\n",
        )
        .unwrap();
        std::fs::write(drop_ins.join("50-not.txt"), "x").unwrap();
        let (defaults, errors) = Defaults::load(&path);
        assert_eq!(defaults.pools.len(), 1);
        assert_eq!(defaults.check_interval.map(Seconds::get), Some(60));
        assert_eq!(defaults.fallback, ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(errors.len(), 3, "{errors:?}");
        assert!(
            errors[2].contains("30-typo.toml: line 2: unknown field `pools`, expected one of `pool`, `zone`"),
            "{errors:?}"
        );
        assert!(
            errors[1].contains("20-bad.toml: connectivity.uri: "),
            "{errors:?}"
        );
    }

    #[test]
    fn the_example_of_a_product_changes_what_it_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fleet.toml");
        let drop_ins = folder.path().join("fleet.toml.d");
        std::fs::create_dir(&drop_ins).unwrap();
        std::fs::write(&path, include_str!("../../../dist/usr/lib/fleet/fleet.toml")).unwrap();
        let (before, errors) = Defaults::load(&path);
        assert_eq!(errors.len(), 0, "{errors:?}");
        std::fs::write(
            drop_ins.join("50-pump.toml"),
            include_str!("../../../docs/example/meta-example-product/recipes-pump/pump/files/50-pump.toml"),
        )
        .unwrap();
        let (after, errors) = Defaults::load(&path);
        assert_eq!(errors.len(), 0, "{errors:?}");
        assert_ne!(after.pools, before.pools);
        assert_ne!(after.check_uri, before.check_uri);
        assert_eq!(after.fallback, before.fallback);
    }

    #[test]
    fn a_limit_of_the_journal_keeps_the_rule_of_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fleet.toml");
        let load = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let (defaults, errors) = Defaults::load(&path);
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            (defaults, errors.join("; "))
        };
        let (defaults, errors) =
            load("[journal]\nmax_use = \"64M\"\nretention = 3600\nsync_level = \"err\"\n");
        assert_eq!(errors, "");
        assert_eq!(
            defaults.journal.max_use.map(crate::value::MaxUse::get),
            Some(64 << 20)
        );
        assert_eq!(defaults.sync_level, Some(SyncLevel::Err));
        for (text, wanted) in [
            ("max_use = \"1M\"", "journal.max_use: \"1M\": 8M to 64G"),
            ("sync_level = \"all\"", "journal.sync_level: \"all\": "),
            ("sync_interval = 0", "journal.sync_interval: \"0\": 1 to 3600"),
            (
                "keep_free = true",
                "line 2: `keep_free` is not a whole number or a string",
            ),
            (
                "maxUse = 1",
                "line 2: unknown field `maxUse`, expected one of `max_use`",
            ),
        ] {
            let (defaults, errors) = load(&format!("[journal]\n{text}\n"));
            assert!(errors.contains(wanted), "{text}: {errors}");
            assert_eq!(defaults, Defaults::default());
        }
    }

    #[test]
    fn without_files_nothing_is_asked_for() {
        let (defaults, errors) = Defaults::load(Path::new("/nonexistent/fleet.toml"));
        assert_eq!(defaults, Defaults::default());
        assert_eq!(errors.len(), 1);
    }
}
