//! `fleet config set`, `unset`, `apply` and `revert`.

use std::ffi::OsStr;
use std::time::Duration;

use fleet_base::exit::Exit;
use fleet_base::proxy::config::{Config, ConfigProxy, KeyRow};
use serde_json::{Value, json};

use super::patch::{self, Patch};
use super::{failed, keys_json, standard_input, table};
use crate::cli::connection;
use crate::cli::failure::Failure;
use crate::cli::output;

/// How long a change may take: it is answered when it is in force, and each daemon that has a part in it may take its
/// time.
const TIMEOUT: Duration = Duration::from_secs(60);

/// `fleet config set KEY VALUE`. `-` reads the value from standard input, so that a secret is in no process list.
pub(in crate::cli) async fn set(key: &str, value: &str, json: bool) -> Result<Exit, Failure> {
    refuse_entry(key)?;
    let value = if value == "-" {
        let given = standard_input()?;
        if given.is_empty() {
            // What was to write it has failed, more often than not.
            return Err(Failure::new(
                Exit::InvalidData,
                format!(
                    "standard input is empty; `fleet config unset {key}` removes a key, and '\"\"' is an empty text"
                ),
            ));
        }
        given
    } else {
        value.to_owned()
    };
    // As it was given: the device is strict, no name twice.
    let value = match serde_json::from_str::<Value>(&value) {
        Ok(_) => value,
        Err(_) => Value::String(value).to_string(),
    };
    if value.trim() == "null" {
        eprintln!("fleet: null means that the key is not set; the word is '\"null\"', with both quotes");
    }
    let change = Change::open().await?;
    let revision = change.config.set(key, &value).await.map_err(failed)?;
    change.tell_key(key, revision, json).await
}

/// Refuses what the report calls an entry of a key: it is not the name of one.
fn refuse_entry(key: &str) -> Result<(), Failure> {
    let Some((whole, _)) = key.split_once('[') else {
        return Ok(());
    };
    Err(Failure::new(
        Exit::Usage,
        format!(
            "{key} is an entry of {whole}, and no key: set {whole} as a whole, or an entry that has a name as {whole}.NAME"
        ),
    ))
}

/// `fleet config unset KEY`.
pub(in crate::cli) async fn unset(key: &str, json: bool) -> Result<Exit, Failure> {
    refuse_entry(key)?;
    let change = Change::open().await?;
    let revision = change.config.unset(key).await.map_err(failed)?;
    change.tell_key(key, revision, json).await
}

/// `fleet config revert REVISION`.
pub(in crate::cli) async fn revert(to: u64, json: bool) -> Result<Exit, Failure> {
    let change = Change::open().await?;
    let keys = change.keys_since(to).await;
    let revision = change.config.revert(to).await.map_err(failed)?;
    let concerns = |row: &str| keys.iter().any(|key| patch::concerns(key, row));
    change.tell(revision, json, &concerns).await
}

/// `fleet config apply FILE`: sets the keys of a file. `expected` is the revision that it is meant for, 0 is any.
pub(in crate::cli) async fn apply_file(file: &OsStr, expected: u64, json: bool) -> Result<Exit, Failure> {
    let patch = Patch::read(file)?;
    let change = Change::open().await?;
    let revision = change
        .config
        .patch(expected, patch.text())
        .await
        .map_err(failed)?;
    change.tell(revision, json, &|row| patch.concerns(row)).await
}

/// `fleet config apply`: everything, again.
pub(in crate::cli) async fn apply_again(json: bool) -> Result<Exit, Failure> {
    let change = Change::open().await?;
    change.config.apply().await.map_err(failed)?;
    let found = change.config.read().await.map_err(failed)?;
    change.tell(found.revision, json, &|_| true).await
}

/// A change that is being made.
struct Change {
    config: ConfigProxy,
    /// The revision before; what changes nothing makes no new one.
    before: u64,
}

impl Change {
    async fn open() -> Result<Self, Failure> {
        let config = ConfigProxy::new(&connection::open_for(TIMEOUT).await?);
        let before = config.read().await.map_err(failed)?.revision;
        Ok(Self { config, before })
    }

    /// The keys that changed after a revision.
    async fn keys_since(&self, revision: u64) -> Vec<String> {
        let rows = self.config.history().await.unwrap_or_default();
        rows.into_iter()
            .filter(|row| row.0 > revision)
            .flat_map(|row| row.4)
            .collect()
    }

    async fn tell_key(&self, key: &str, revision: u64, json: bool) -> Result<Exit, Failure> {
        self.tell(revision, json, &|row| patch::concerns(key, row)).await
    }

    /// Tells the revision, and what became of the keys. A change that was stored but could not be applied is a failure.
    async fn tell(
        &self,
        revision: u64,
        json: bool,
        concerns: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<Exit, Failure> {
        let mut found = self.config.read().await.map_err(failed)?;
        found.keys.retain(|row| concerns(&row.0));
        self.print(revision, json, &found)
    }

    /// Out of the futures, each of which would have its own copy.
    #[inline(never)]
    fn print(&self, revision: u64, json: bool, found: &Config) -> Result<Exit, Failure> {
        let rows: &[KeyRow] = &found.keys;
        let refused = rows.iter().any(|(_, state, ..)| state == "refused");
        let changed = revision != self.before;
        if json {
            output::json(&json!({
                "revision": revision,
                "revision_before": self.before,
                "changed": changed,
                "problem": found.problem,
                "keys": keys_json(rows),
            }))?;
        } else {
            table(rows)?;
            output::line(&match changed {
                true => format!("Revision {revision}; before, {}.", self.before),
                false => format!("Nothing changed; still revision {revision}."),
            })?;
        }
        Ok(if refused { Exit::Failure } else { Exit::Done })
    }
}
