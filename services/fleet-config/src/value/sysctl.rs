//! Kernel parameters.

use fleet_base::sysctl::{self, TABLE};
use serde_json::Value;

use super::Refusal;
use crate::key::distance;

/// Kernel parameters of the allow-list ([`fleet_base::sysctl`]) with values in their ranges, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters(Vec<(&'static str, i64)>);

/// An entry of the object: its name, and that it is good, or refused and why.
pub(crate) type Entry<'a> = (&'a str, Result<(&'static str, i64), Refusal>);

impl Parameters {
    /// Those of the object's entries that are good.
    #[must_use]
    pub fn read(value: &Value) -> Self {
        let mut good: Vec<_> = entries(value)
            .into_iter()
            .filter_map(|(_, entry)| entry.ok())
            .collect();
        good.sort_unstable();
        Self(good)
    }

    /// Names and values.
    #[must_use]
    pub fn as_slice(&self) -> &[(&'static str, i64)] {
        &self.0
    }
}

/// The entries of the object, each by itself; one that is `null` is none.
pub(crate) fn entries(value: &Value) -> Vec<Entry<'_>> {
    let object = value.as_object().into_iter().flatten();
    object
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.as_str(), read(name, value)))
        .collect()
}

fn read(name: &str, value: &Value) -> Result<(&'static str, i64), Refusal> {
    let Some(parameter) = sysctl::find(name) else {
        return Err(unknown(name));
    };
    let number = match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        Value::String(_) => None,
        other => return Err(Refusal::of_type("a whole number", other)),
    };
    match number.filter(|number| parameter.takes(*number)) {
        Some(number) => Ok((parameter.name, number)),
        None => {
            let rule = format!(
                "a whole number from {} to {} was expected",
                parameter.min, parameter.max
            );
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            Err(Refusal::of(&text, rule))
        }
    }
}

/// Names those of the list that are nearest.
fn unknown(name: &str) -> Refusal {
    if name.starts_with("net.") {
        return Refusal::of(
            name,
            "parameters of the network are NetworkManager's; put them into a connection profile",
        );
    }
    let limit = 1 + name.len() / 4;
    let mut near: Vec<(usize, &str)> = TABLE
        .iter()
        .filter_map(|parameter| Some((distance(name, parameter.name, limit)?, parameter.name)))
        .collect();
    near.sort_unstable();
    let names: Vec<&str> = near.iter().take(3).map(|(_, name)| *name).collect();
    let meant = match names.as_slice() {
        [] => String::new(),
        names => format!("; the nearest that may: {}", names.join(", ")),
    };
    Refusal::of(
        name,
        format!(
            "this is not one of the kernel parameters that may be set (docs/config.md has the list){meant}"
        ),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn entries_are_judged_one_by_one() {
        let value = json!({
            "vm.swappiness": "10",
            "vm.min_free_kbytes": 8192,
            "vm.overcommit_memory": 2,
            "vm.swapiness": 1,
            "net.ipv4.ip_forward": 1,
            "../../etc/passwd": 1,
            "kernel.panic": null,
            "fs.file-max": {},
            "vm": { "swappiness": 1 },
        });
        assert_eq!(
            Parameters::read(&value).as_slice(),
            [("vm.min_free_kbytes", 8192), ("vm.swappiness", 10)]
        );
        let refused: Vec<String> = entries(&value)
            .into_iter()
            .filter_map(|(name, entry)| Some(format!("{name}: {}", entry.err()?)))
            .collect();
        assert_eq!(refused.len(), 6, "{refused:#?}");
        assert_eq!(
            refused[0],
            "vm.overcommit_memory: \"2\": a whole number from 0 to 1 was expected"
        );
        assert!(
            refused[1].ends_with("the nearest that may: vm.swappiness"),
            "{}",
            refused[1]
        );
        assert!(refused[2].contains("NetworkManager"), "{}", refused[2]);
    }

    #[test]
    fn values_are_whole_numbers_in_range() {
        for ok in [json!(0), json!(200), json!("60"), json!("0")] {
            assert!(read("vm.swappiness", &ok).is_ok(), "{ok}");
        }
        for bad in [
            json!(-1),
            json!(201),
            json!(1.5),
            json!(""),
            json!("1 2"),
            json!(" 1"),
            json!(true),
            json!([]),
            json!("9".repeat(30)),
        ] {
            assert!(read("vm.swappiness", &bad).is_err(), "{bad}");
        }
    }
}
