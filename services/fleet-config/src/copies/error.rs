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
    /// The merge patch is no JSON object.
    Patch(SyntaxError),
    /// Keys break their rules: names and rules.
    Rules(Vec<(String, String)>),
    /// The same, for values from before.
    OldRules(Vec<(String, String)>),
    /// The identity does not change.
    Identity,
    /// The configuration is another than the caller expected.
    Conflict {
        /// The revision that the caller expected.
        expected: u64,
        /// What it is.
        now: u64,
    },
    /// The history does not reach there.
    NoSuchRevision(u64),
    /// The document would become too large or too deep.
    Limit(SyntaxError),
    /// Its certificates are not judged yet.
    Unjudged,
    /// It cannot be stored.
    Store(store::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document(error) => error.fmt(f),
            Self::Syntax(error) => write!(f, "the value is no JSON: {error}"),
            Self::Patch(error) => write!(f, "the patch is no JSON object: {error}"),
            Self::Rules(rules) => list(f, rules),
            Self::OldRules(rules) => {
                f.write_str("a value of that revision is refused today: ")?;
                list(f, rules)
            }
            Self::Identity => write!(f, "uuid: {}", Verdict::OtherIdentity),
            Self::Conflict { expected, now } => write!(
                f,
                "the configuration is at revision {now}, not {expected}: read it again, and try again"
            ),
            Self::NoSuchRevision(revision) => write!(
                f,
                "revision {revision} is not in the history, or its values were too large to be kept (`fleet config history` shows \
                 what is)"
            ),
            Self::Limit(error) => write!(f, "the configuration would be too large: {error}"),
            Self::Unjudged => f.write_str("the certificates of balenaRootCA are not judged yet; try again"),
            Self::Store(error) => write!(f, "the change is not made: {error}"),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, rules: &[(String, String)]) -> fmt::Result {
    for (number, (key, rule)) in rules.iter().enumerate() {
        let separator = if number == 0 { "" } else { "; " };
        write!(f, "{separator}{key}: {rule}")?;
    }
    Ok(())
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Document(error) => Some(error),
            Self::Syntax(error) | Self::Patch(error) | Self::Limit(error) => Some(error),
            Self::Store(error) => Some(error),
            Self::Rules(_)
            | Self::OldRules(_)
            | Self::Identity
            | Self::Conflict { .. }
            | Self::Unjudged
            | Self::NoSuchRevision(_) => None,
        }
    }
}
