//! What is tested: the configuration's own store and its own write path, without bus, service and effects.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use fleet_config::document::Document;
use fleet_config::offline::Offline;
use fleet_config::store::Store;
use fleet_config::value::Uuid;

/// Longer than an editor has to be quiet.
const QUIET: Duration = Duration::from_millis(260);

/// A configuration as somebody sees it. Its `Debug` is short: it stands in what a test says.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Configuration {
    /// The accepted document, in the one form that all documents are written in; `None` before the first.
    pub document: Option<String>,
    /// Counts accepted configurations.
    pub revision: u64,
    /// The identity.
    pub identity: Option<String>,
}

impl fmt::Debug for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let document = self
            .document
            .as_deref()
            .map(|text| text.split_whitespace().collect::<String>());
        write!(
            f,
            "revision {} {:.200} of {:.4}…",
            self.revision,
            document.unwrap_or_else(|| "nothing".to_owned()),
            self.identity.as_deref().unwrap_or("nobody")
        )
    }
}

/// What a reader finds in the store, without a running service. The identity has a file of its own beside.
pub fn load(state: &Path) -> Result<Configuration, String> {
    let stored = Store::at(state.to_owned())
        .load()
        .map_err(said)?
        .unwrap_or_default();
    let beside = || {
        let text = std::fs::read_to_string(state.join("uuid")).ok()?;
        Uuid::try_from(text.trim_end()).ok()
    };
    Ok(Configuration {
        document: stored.document.map(|document| document.to_text()),
        revision: stored.revision,
        identity: stored
            .identity
            .or_else(beside)
            .map(|identity| identity.to_string()),
    })
}

/// The document that bytes hold, in the one form of all documents.
#[must_use]
pub fn document(bytes: &[u8]) -> Option<String> {
    Some(Document::parse(bytes).ok()?.to_text())
}

/// The configuration of a device that runs.
pub struct Running(Offline);

impl Running {
    /// Starts as the service does.
    pub fn start(state: &Path, boot: &Path) -> Result<Self, String> {
        Offline::open(state, boot).map(Self).map_err(said)
    }

    /// Does a step, in words: `set KEY JSON`, `fill KEY BYTES` (sets it to a string of that length), `unset KEY`,
    /// `patch PATCH`, `revert REVISION`, `import` (takes up an edit of the boot partition's copy), `settle` (the same
    /// when the editor has been quiet for long enough to put a broken file aside).
    pub fn step(&mut self, words: &[&str]) -> Result<(), String> {
        let running = &mut self.0;
        match *words {
            ["set", key, json] => running.set(key, json).map(drop).map_err(said),
            ["fill", key, bytes] => {
                let filler = "0123456789abcdef".chars().cycle();
                let text: String = filler.take(bytes.parse().map_err(said)?).collect();
                running.set(key, &format!("\"{text}\"")).map(drop).map_err(said)
            }
            ["unset", key] => running.unset(key).map(drop).map_err(said),
            ["patch", patch] => running.patch(patch).map(drop).map_err(said),
            ["revert", revision] => {
                let revision = revision.parse().map_err(said)?;
                running.revert(revision).map(drop).map_err(said)
            }
            ["import"] => {
                running.import();
                Ok(())
            }
            ["settle"] => {
                running.import();
                std::thread::sleep(QUIET);
                running.import();
                Ok(())
            }
            _ => Err(format!("there is no step {words:?}")),
        }
    }

    /// What is in force.
    #[must_use]
    pub fn now(&self) -> Configuration {
        Configuration {
            document: (self.0.revision() > 0).then(|| self.0.document().to_text()),
            revision: self.0.revision(),
            identity: Some(self.0.identity().to_string()),
        }
    }
}

fn said(error: impl fmt::Display) -> String {
    error.to_string()
}
