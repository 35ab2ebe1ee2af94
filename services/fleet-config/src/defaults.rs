//! Product defaults: `/usr/lib/fleet/fleet.toml`, changed by drop-ins in `fleet.toml.d/`.
//!
//! They belong to the image and not to the device. A file that is wrong is skipped with its reason: a product
//! layer's slip must not cost the device its network.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use fleet_base::file;
use serde::Deserialize;

use crate::config::CheckTarget;
use crate::value::{CheckResponse, CheckUri, Refusal, Seconds, TimeServer};

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

/// A file as it is written. Tables that are not named here belong to other services.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Fragment {
    time: Time,
    dns: Dns,
    connectivity: Connectivity,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Time {
    pool: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Dns {
    fallback: Option<Vec<IpAddr>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Connectivity {
    uri: Option<String>,
    interval: Option<u64>,
    response: Option<String>,
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
        let fragment: Fragment = toml::from_str(&text).map_err(|error| {
            let line = error
                .span()
                .map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            syntax(format!("{place}{}", error.message()))
        })?;
        let value = |key| move |refusal| Error::Value(path.to_owned(), key, refusal);
        let mut changed = self.clone();
        if let Some(pools) = fragment.time.pool {
            let pools: Result<_, _> = pools
                .iter()
                .map(|pool| TimeServer::try_from(pool.as_str()))
                .collect();
            changed.pools = pools.map_err(value("time.pool"))?;
        }
        if let Some(fallback) = fragment.dns.fallback {
            changed.fallback = fallback;
        }
        if let Some(uri) = fragment.connectivity.uri {
            changed.check_uri = Some(if uri.is_empty() {
                CheckTarget::Off
            } else {
                CheckTarget::At(CheckUri::try_from(uri.as_str()).map_err(value("connectivity.uri"))?)
            });
        }
        if let Some(interval) = fragment.connectivity.interval {
            changed.check_interval =
                Some(Seconds::try_from(interval).map_err(value("connectivity.interval"))?);
        }
        if let Some(response) = fragment.connectivity.response {
            let response = CheckResponse::try_from(response.as_str());
            changed.check_response = Some(response.map_err(value("connectivity.response"))?);
        }
        *self = changed;
        Ok(())
    }
}

/// The drop-ins of a file, by name.
fn drop_ins(path: &Path) -> Vec<PathBuf> {
    let mut folder = path.as_os_str().to_owned();
    folder.push(".d");
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    paths.sort();
    paths
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
            errors[1].contains("20-bad.toml: connectivity.uri: "),
            "{errors:?}"
        );
    }

    #[test]
    fn without_files_nothing_is_asked_for() {
        let (defaults, errors) = Defaults::load(Path::new("/nonexistent/fleet.toml"));
        assert_eq!(defaults, Defaults::default());
        assert_eq!(errors.len(), 1);
    }
}
