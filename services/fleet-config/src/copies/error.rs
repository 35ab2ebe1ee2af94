//! Why a change of the configuration is not made.

use std::fmt;

use crate::document;
use crate::finding::Verdict;
use crate::store;
use crate::strict::SyntaxError;

/// Why a change is not made. Nothing is changed then.
#[derive(Debug)]
pub(crate) enum Error {
    /// The key cannot be reached.
    Document(document::Error),
    /// The value is no JSON.
    Syntax(SyntaxError),
    /// A key breaks its rule: name and rule.
    Rule(String, String),
    /// The identity does not change.
    Identity,
    /// The document would become too large or too deep.
    Limit(SyntaxError),
    /// It cannot be stored.
    Store(store::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document(error) => error.fmt(f),
            Self::Syntax(error) => write!(f, "the value is no JSON: {error}"),
            Self::Rule(key, rule) => write!(f, "{key}: {rule}"),
            Self::Identity => write!(f, "uuid: {}", Verdict::OtherIdentity),
            Self::Limit(error) => write!(f, "the configuration would be too large: {error}"),
            Self::Store(error) => write!(f, "the change is not made: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Document(error) => Some(error),
            Self::Syntax(error) | Self::Limit(error) => Some(error),
            Self::Store(error) => Some(error),
            Self::Rule(..) | Self::Identity => None,
        }
    }
}
