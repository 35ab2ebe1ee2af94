//! The device's identity.

use std::fmt;

use fleet_identity::id::Id;

use super::Refusal;

/// 32 hexadecimal digits (16 bytes), as balenaOS writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uuid(Id);

impl Uuid {
    /// The first seven digits: the host name of a device that has no other.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string().chars().take(7).collect()
    }
}

impl From<Id> for Uuid {
    fn from(id: Id) -> Self {
        Self(id)
    }
}

impl TryFrom<&str> for Uuid {
    type Error = Refusal;

    fn try_from(text: &str) -> Result<Self, Refusal> {
        Id::parse(text)
            .map(Self)
            .map_err(|_| Refusal::of(text, "an identity has 32 hexadecimal digits, not all of them 0"))
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
