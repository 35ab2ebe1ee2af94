//! Time limits of the hardware watchdog.

use serde_json::Value;

use super::Refusal;
use super::primitive::whole_number;

/// Seconds without a sign of life after which the hardware resets the device; 0: off.
///
/// 10 to 600: shorter ones fire while a slow card is busy, and few watchdogs reach longer ones. The helper checks the same
/// rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchdogTimeout(u32);

impl WatchdogTimeout {
    const RULE: &'static str = "0 (off) or 10 to 600 seconds were expected";

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u64> for WatchdogTimeout {
    type Error = Refusal;

    fn try_from(number: u64) -> Result<Self, Refusal> {
        u32::try_from(number)
            .ok()
            .filter(|number| matches!(number, 0 | 10..=600))
            .map(Self)
            .ok_or_else(|| Refusal::of(&number.to_string(), Self::RULE))
    }
}

impl TryFrom<&Value> for WatchdogTimeout {
    type Error = Refusal;

    fn try_from(value: &Value) -> Result<Self, Refusal> {
        whole_number(value, "a number of seconds", Self::RULE).and_then(Self::try_from)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn off_or_within_what_boards_have() {
        for ok in [json!(0), json!(10), json!("30"), json!(600)] {
            assert!(WatchdogTimeout::try_from(&ok).is_ok(), "{ok}");
        }
        for bad in [
            json!(1),
            json!(9),
            json!(601),
            json!(-1),
            json!("off"),
            json!(true),
            json!(10.5),
            json!(""),
        ] {
            assert!(WatchdogTimeout::try_from(&bad).is_err(), "{bad}");
        }
    }
}
