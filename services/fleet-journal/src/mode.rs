//! The two ways of the journal.

use std::fmt;

/// Where journald stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// In RAM: gone at the next boot.
    Volatile,
    /// On the data partition.
    Persistent,
}

impl Mode {
    /// Its name on the bus and in files.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Volatile => "volatile",
            Self::Persistent => "persistent",
        }
    }

    /// The mode of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Volatile, Self::Persistent]
            .into_iter()
            .find(|mode| mode.as_str() == name)
    }
}

impl From<bool> for Mode {
    /// As the key `persistentLogging` says it.
    fn from(persistent: bool) -> Self {
        if persistent {
            Self::Persistent
        } else {
            Self::Volatile
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
