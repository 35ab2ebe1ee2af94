//! The source: what `keys/*.toml` say about each key.

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Map, Value};

/// The files, in the order of the page.
const FILES: &[(&str, &str)] = &[
    ("device.toml", include_str!("../keys/device.toml")),
    ("time.toml", include_str!("../keys/time.toml")),
    ("network.toml", include_str!("../keys/network.toml")),
    ("access.toml", include_str!("../keys/access.toml")),
    ("system.toml", include_str!("../keys/system.toml")),
    ("board.toml", include_str!("../keys/board.toml")),
    ("vpn.toml", include_str!("../keys/vpn.toml")),
    ("other.toml", include_str!("../keys/other.toml")),
];

/// A file: keys that belong together.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topic {
    /// The heading.
    pub title: String,
    /// Markdown below the heading.
    #[serde(default)]
    pub text: String,
    /// The objects around keys.
    #[serde(default, rename = "group")]
    pub groups: Vec<Group>,
    /// The keys, in the order of the page.
    #[serde(rename = "key")]
    pub keys: Vec<Entry>,
}

/// An object around keys.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Dotted path.
    pub path: String,
    /// One sentence.
    pub text: String,
}

/// Who had the key first.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum Since {
    /// balenaOS has it, and a file of such a device works as it is.
    #[serde(rename = "balenaOS")]
    Balena,
    /// It is of Fleet OS.
    #[serde(rename = "Fleet OS")]
    Fleet,
}

impl Since {
    /// The name for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Balena => "balenaOS",
            Self::Fleet => "Fleet OS",
        }
    }
}

/// A key. All texts are Markdown of whole sentences but `rule` and `default`, which are cells of a table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Dotted path.
    pub path: String,
    /// Who had it first.
    pub since: Since,
    /// What it is for.
    pub text: String,
    /// What it may hold; empty where it is not looked at and nothing is known.
    #[serde(default)]
    pub rule: String,
    /// What holds without it.
    #[serde(default)]
    pub default: String,
    /// The same as a value, where it is one and the same on every device.
    pub default_value: Option<Value>,
    /// Values that a device accepts.
    #[serde(default)]
    pub examples: Vec<Value>,
    /// What happens when it changes.
    #[serde(default)]
    pub effect: String,
    /// From when on.
    #[serde(default)]
    pub in_force: String,
    /// How to see what is in force.
    #[serde(default)]
    pub read_back: String,
    /// JSON Schema of the value, without `null`, which every key may be.
    #[serde(default)]
    pub schema: Map<String, Value>,
}

/// Reads the source.
///
/// # Errors
/// A file is not TOML, or not of this shape.
pub fn topics() -> anyhow::Result<Vec<Topic>> {
    FILES
        .iter()
        .map(|(name, text)| toml::from_str(text).with_context(|| format!("keys/{name}")))
        .collect()
}
