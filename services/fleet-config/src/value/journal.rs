//! Limits of the journal (journald.conf(5)).
//!
//! Each range is what journald still makes a journal of, and a device can afford.

use serde_json::Value;

use super::Refusal;
use super::primitive::whole_number;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// A limit: its type, its rule, and what it takes.
macro_rules! limit {
    ($(#[$doc:meta])* $name:ident($read:ident, $expected:literal, $rule:literal): $($range:tt)+) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name(u64);

        impl $name {
            const RULE: &'static str = $rule;

            /// The number.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl TryFrom<&Value> for $name {
            type Error = Refusal;

            fn try_from(value: &Value) -> Result<Self, Refusal> {
                match $read(value, $expected, Self::RULE)? {
                    number if matches!(number, $($range)+) => Ok(Self(number)),
                    _ => Err(refused(value, Self::RULE)),
                }
            }
        }
    };
}

const MIN_USE: u64 = 8 * MIB;
const MAX_USE: u64 = 64 * GIB;
const MIN_KEEP: u64 = MIB;
const MAX_KEEP: u64 = 64 * GIB;
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const TEN_YEARS: u64 = 10 * 366 * 24 * HOUR;

limit! {
    /// All that the stored journal may take, bytes. 8 MiB are six archived files of 1 MiB and room for two more
    /// (`journal_settings`); a smaller file could not hold one large record.
    MaxUse(bytes, "a number of bytes", "8M to 64G were expected: bytes as a number, or as a string with K, M or G"):
    MIN_USE..=MAX_USE
}

limit! {
    /// What the journal leaves free on its partition, bytes. More than the partition has keeps the journal in RAM.
    KeepFree(bytes, "a number of bytes", "1M to 64G were expected: bytes as a number, or as a string with K, M or G"):
    MIN_KEEP..=MAX_KEEP
}

limit! {
    /// `MaxRetentionSec=`, seconds; 0: no limit. Below an hour nothing would be left to look at.
    Retention(whole_number, "a number of seconds", "0 (no limit) or 3600 to 316224000 seconds were expected"):
    0 | HOUR..=TEN_YEARS
}

limit! {
    /// `SyncIntervalSec=`, seconds. 0 would mean that journald never syncs by itself (`server_schedule_sync` of
    /// journald); beyond an hour a journal that is kept for its last lines has not got them.
    SyncInterval(whole_number, "a number of seconds", "1 to 3600 seconds were expected"):
    1..=HOUR
}

limit! {
    /// `RateLimitIntervalSec=`, seconds; 0: no limit.
    RateInterval(whole_number, "a number of seconds", "0 (no limit) to 3600 seconds were expected"):
    0..=HOUR
}

limit! {
    /// `RateLimitBurst=`, messages of one service an interval; 0: no limit. Fewer than 100 would lose the lines that say
    /// why a service did not start.
    RateBurst(whole_number, "a number of messages", "0 (no limit) or 100 to 1000000 messages were expected"):
    0 | 100..=1_000_000
}

/// From which priority on a line is synced at once (sd-daemon(3)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncLevel {
    /// journald's own: critical and worse.
    #[default]
    Crit,
    /// Errors too.
    Err,
}

impl SyncLevel {
    const RULE: &'static str = "\"crit\" or \"err\" was expected";

    /// The word in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Crit => "crit",
            Self::Err => "err",
        }
    }
}

impl TryFrom<&Value> for SyncLevel {
    type Error = Refusal;

    fn try_from(value: &Value) -> Result<Self, Refusal> {
        match value.as_str() {
            Some("crit") => Ok(Self::Crit),
            Some("err") => Ok(Self::Err),
            Some(_) => Err(refused(value, Self::RULE)),
            None => Err(Refusal::of_type("a string", value)),
        }
    }
}

/// Bytes: a number, or a string of digits with K, M or G (of 1024) after it.
fn bytes(value: &Value, expected: &'static str, rule: &'static str) -> Result<u64, Refusal> {
    let Some((digits, unit)) = value.as_str().and_then(|text| {
        let unit = match text.bytes().last()? {
            b'K' => KIB,
            b'M' => MIB,
            b'G' => GIB,
            _ => return None,
        };
        Some((&text[..text.len() - 1], unit))
    }) else {
        return whole_number(value, expected, rule);
    };
    let number = (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| digits.parse::<u64>().ok()?.checked_mul(unit))
        .flatten();
    number.ok_or_else(|| refused(value, rule))
}

pub(super) fn refused(value: &Value, rule: &'static str) -> Refusal {
    match value {
        Value::String(text) => Refusal::of(text, rule),
        other => Refusal::of(&other.to_string(), rule),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sizes() {
        let read = |value| MaxUse::try_from(&value).map(MaxUse::get);
        assert_eq!(read(json!("64M")), Ok(64 << 20));
        assert_eq!(read(json!("8192K")), Ok(8 << 20));
        assert_eq!(read(json!("2G")), Ok(2 << 30));
        assert_eq!(read(json!(8_388_608)), Ok(8 << 20));
        assert_eq!(read(json!("8388608")), Ok(8 << 20));
        for bad in [
            json!(0),
            json!("0"),
            json!("1K"),
            json!("M"),
            json!(""),
            json!("8m"),
            json!("8MB"),
            json!("1.5G"),
            json!("-8M"),
            json!("+8M"),
            json!(" 8M"),
            json!("8M\n"),
            json!("99999999999G"),
            json!("8M "),
            json!("65G"),
            json!("8é"),
            json!([]),
            json!(null),
            json!(8.5e6),
            json!("infinity"),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
        assert!(KeepFree::try_from(&json!("1M")).is_ok() && KeepFree::try_from(&json!(0)).is_err());
    }

    #[test]
    fn spans_and_rates() {
        for (ok, bad) in [
            (json!(0), json!(1)),
            (json!("3600"), json!(3599)),
            (json!(316_224_000), json!(316_224_001_u64)),
        ] {
            assert!(
                Retention::try_from(&ok).is_ok() && Retention::try_from(&bad).is_err(),
                "{ok} {bad}"
            );
        }
        assert!(RateInterval::try_from(&json!(30)).is_ok() && RateInterval::try_from(&json!(3601)).is_err());
        assert!(RateBurst::try_from(&json!("0")).is_ok() && RateBurst::try_from(&json!(99)).is_err());
        assert!(SyncInterval::try_from(&json!(1)).is_ok() && SyncInterval::try_from(&json!(0)).is_err());
        assert!(
            SyncInterval::try_from(&json!("3600")).is_ok() && SyncInterval::try_from(&json!(3601)).is_err()
        );
        assert!(RateBurst::try_from(&json!("many")).is_err() && RateBurst::try_from(&json!({})).is_err());
    }

    #[test]
    fn levels() {
        for (word, level) in [("crit", SyncLevel::Crit), ("err", SyncLevel::Err)] {
            assert_eq!(SyncLevel::try_from(&json!(word)), Ok(level));
            assert_eq!(level.as_str(), word);
        }
        for bad in [
            json!(""),
            json!("warning"),
            json!("ERR"),
            json!("err "),
            json!(3),
            json!(null),
        ] {
            assert!(SyncLevel::try_from(&bad).is_err(), "{bad}");
        }
    }
}
