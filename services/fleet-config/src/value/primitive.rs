//! Booleans and numbers, in the forms that real files have.

use serde_json::Value;

use super::Refusal;

/// A boolean: `true`, `false`, 1, 0, or one of these as a string. Files of balenaOS devices have all of them.
///
/// # Errors
/// [`Refusal`]: anything else.
pub fn boolean(value: &Value) -> Result<bool, Refusal> {
    const EXPECTED: &str = "true or false";
    match value {
        Value::Bool(value) => Ok(*value),
        Value::Number(number) => match number.as_u64() {
            Some(1) => Ok(true),
            Some(0) => Ok(false),
            _ => Err(Refusal::of(&number.to_string(), "true or false was expected")),
        },
        Value::String(text) => match text.as_str() {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(Refusal::of(text, "true or false was expected")),
        },
        other => Err(Refusal::of_type(EXPECTED, other)),
    }
}

/// A time span in whole seconds, at most what NetworkManager keeps (31 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds(u32);

impl Seconds {
    const MAX: u32 = i32::MAX.unsigned_abs();
    const RULE: &'static str = "whole seconds from 0 to 2147483647 were expected";

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl TryFrom<u64> for Seconds {
    type Error = Refusal;

    fn try_from(number: u64) -> Result<Self, Refusal> {
        u32::try_from(number)
            .ok()
            .filter(|number| *number <= Self::MAX)
            .map(Self)
            .ok_or_else(|| Refusal::of(&number.to_string(), Self::RULE))
    }
}

impl TryFrom<&Value> for Seconds {
    type Error = Refusal;

    fn try_from(value: &Value) -> Result<Self, Refusal> {
        whole_number(value, "a number of seconds", Self::RULE).and_then(Self::try_from)
    }
}

/// A whole number that is not negative, as a number or as a string of digits.
pub(super) fn whole_number(
    value: &Value,
    expected: &'static str,
    rule: &'static str,
) -> Result<u64, Refusal> {
    match value {
        Value::Number(number) => number
            .as_u64()
            .ok_or_else(|| Refusal::of(&number.to_string(), rule)),
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.parse().map_err(|_| Refusal::of(text, rule))
        }
        Value::String(text) => Err(Refusal::of(text, rule)),
        other => Err(Refusal::of_type(expected, other)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn booleans_in_every_documented_form() {
        for yes in [json!(true), json!(1), json!("true"), json!("1")] {
            assert_eq!(boolean(&yes), Ok(true), "{yes}");
        }
        for no in [json!(false), json!(0), json!("false"), json!("0")] {
            assert_eq!(boolean(&no), Ok(false), "{no}");
        }
        for bad in [
            json!(2),
            json!(-1),
            json!(1.5),
            json!("yes"),
            json!(""),
            json!([]),
            json!({}),
            json!("True"),
        ] {
            assert!(boolean(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn seconds_as_number_or_text() {
        assert_eq!(Seconds::try_from(&json!(3600)).map(Seconds::get), Ok(3600));
        assert_eq!(Seconds::try_from(&json!("0")).map(Seconds::get), Ok(0));
        for bad in [
            json!(-1),
            json!(1.5),
            json!("1h"),
            json!(""),
            json!("+1"),
            json!(4_294_967_296_u64),
            json!(true),
        ] {
            assert!(Seconds::try_from(&bad).is_err(), "{bad}");
        }
    }
}
