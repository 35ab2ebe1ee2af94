//! What is tested: the configuration's own store and its own write path, without bus, service and effects.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_config::document::Document;
use fleet_config::offline::Offline;
use fleet_config::store::Store;
use fleet_config::value::Uuid;

/// The folder of keyfiles, on both partitions.
pub const KEYFILES: &str = "system-connections";
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
    /// Keyfiles: the names of their files, and what is in them.
    pub keyfiles: Keyfiles,
}

/// Keyfiles: the names of their files, and what is in them.
pub type Keyfiles = BTreeMap<String, Vec<u8>>;

impl fmt::Debug for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let document = self
            .document
            .as_deref()
            .map(|text| text.split_whitespace().collect::<String>());
        write!(
            f,
            "revision {} {:.200} of {:.4}… with {}",
            self.revision,
            document.unwrap_or_else(|| "nothing".to_owned()),
            self.identity.as_deref().unwrap_or("nobody"),
            listed(&self.keyfiles)
        )
    }
}

/// Keyfiles as a test says them.
#[must_use]
pub fn listed(keyfiles: &Keyfiles) -> String {
    let one = |(name, bytes): (&String, &Vec<u8>)| {
        let text = String::from_utf8_lossy(bytes).replace('\n', " ");
        format!("{name} of {} bytes ({:.32})", bytes.len(), text)
    };
    let all: Vec<String> = keyfiles.iter().map(one).collect();
    format!("[{}]", all.join(", "))
}

/// The keyfiles in a folder. What was to be renamed is none yet.
pub fn keyfiles_in(folder: &Path) -> Result<Keyfiles, String> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Keyfiles::new()),
        entries => entries.map_err(said)?,
    };
    let mut keyfiles = Keyfiles::new();
    for entry in entries {
        let entry = entry.map_err(said)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".new") {
            keyfiles.insert(name, fs::read(entry.path()).map_err(said)?);
        }
    }
    Ok(keyfiles)
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
        keyfiles: keyfiles_in(&state.join(KEYFILES))?,
    })
}

/// The document that bytes hold, in the one form of all documents.
#[must_use]
pub fn document(bytes: &[u8]) -> Option<String> {
    Some(Document::parse(bytes).ok()?.to_text())
}

/// The configuration of a device that runs.
pub struct Running {
    offline: Offline,
    keyfiles: Keyfiles,
    boot: PathBuf,
}

impl Running {
    /// Starts as the service does.
    pub fn start(state: &Path, boot: &Path) -> Result<Self, String> {
        let mut offline = Offline::open(state, boot).map_err(said)?;
        Ok(Self {
            keyfiles: offline.keyfiles(),
            offline,
            boot: boot.to_owned(),
        })
    }

    /// Does a step, in words: `set KEY JSON`, `fill KEY BYTES` (sets it to a string of that length), `unset KEY`,
    /// `patch PATCH`, `revert REVISION`, `import` (takes up an edit of the boot partition's copy), `settle` (the same
    /// when the editor has been quiet for long enough to put a broken file aside), `drop NAME` (a person removes this
    /// keyfile from the boot partition), `drop` (moves the whole folder of them away). After each the keyfiles are looked at.
    pub fn step(&mut self, words: &[&str]) -> Result<(), String> {
        self.take(words)?;
        self.keyfiles = self.offline.keyfiles();
        Ok(())
    }

    fn take(&mut self, words: &[&str]) -> Result<(), String> {
        let running = &mut self.offline;
        let folder = self.boot.join(KEYFILES);
        match *words {
            ["drop", name] => fs::remove_file(folder.join(name)).map_err(said),
            ["drop"] => fs::rename(folder, self.boot.join("aside")).map_err(said),
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
            document: (self.offline.revision() > 0).then(|| self.offline.document().to_text()),
            revision: self.offline.revision(),
            identity: Some(self.offline.identity().to_string()),
            keyfiles: self.keyfiles.clone(),
        }
    }
}

fn said(error: impl fmt::Display) -> String {
    error.to_string()
}
