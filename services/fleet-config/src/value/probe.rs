//! How often `fleet-watch` probes, and what that may cost.

use serde_json::Value;

use super::Refusal;
use super::journal::refused;
use super::primitive::whole_number;

/// Between two rounds of probes while nothing changes, seconds. Quicker than 10 s is what every change and fault is looked
/// at anyway; rarer than a day is no watching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeInterval(u32);

/// What probes on metered uplinks may use in a month, bytes; 0: nothing. Beyond 1 GB nobody would need a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeBudget(u32);

impl ProbeInterval {
    const RULE: &'static str = "10 to 86400 seconds were expected";

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl ProbeBudget {
    const RULE: &'static str = "0 (no probes) to 1000000000 bytes were expected";

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<&Value> for ProbeInterval {
    type Error = Refusal;

    fn try_from(value: &Value) -> Result<Self, Refusal> {
        let number = whole_number(value, "a number of seconds", Self::RULE)?;
        let number = u32::try_from(number)
            .ok()
            .filter(|number| matches!(number, 10..=86_400));
        number.map(Self).ok_or_else(|| refused(value, Self::RULE))
    }
}

impl TryFrom<&Value> for ProbeBudget {
    type Error = Refusal;

    fn try_from(value: &Value) -> Result<Self, Refusal> {
        let number = whole_number(value, "a number of bytes", Self::RULE)?;
        let number = u32::try_from(number)
            .ok()
            .filter(|number| *number <= 1_000_000_000);
        number.map(Self).ok_or_else(|| refused(value, Self::RULE))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ranges() {
        for good in [json!(10), json!("300"), json!(86_400)] {
            assert!(ProbeInterval::try_from(&good).is_ok(), "{good}");
        }
        for bad in [
            json!(9),
            json!(86_401),
            json!(-1),
            json!(true),
            json!("1m"),
            json!(u64::MAX),
        ] {
            assert!(ProbeInterval::try_from(&bad).is_err(), "{bad}");
        }
        assert_eq!(ProbeBudget::try_from(&json!(0)).map(ProbeBudget::get), Ok(0));
        assert!(ProbeBudget::try_from(&json!(1_000_000_001)).is_err());
    }
}
