//! udev rules.

use fleet_base::udev_rules::{self, MAX_FILES, MAX_TOTAL};
use serde_json::Value;

use super::Refusal;

/// A rule file: its name without the ending `.rules`, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdevRule {
    /// Decides about the order in which udev reads it.
    pub name: String,
    /// The rules, with `\n` at the end of each line.
    pub text: String,
}

/// What is under a name of `os.udevRules`.
pub type NamedRule<'a> = (&'a str, Result<UdevRule, Refusal>);

/// The rule files of an object name → text, each by itself, with the name it has in the object.
///
/// # Errors
/// It is no object, or too much as a whole.
pub fn udev_rules(value: &Value, development: bool) -> Result<Vec<NamedRule<'_>>, Refusal> {
    let Value::Object(entries) = value else {
        return Err(Refusal::of_type("an object with a text for each name", value));
    };
    let total: usize = entries.values().filter_map(Value::as_str).map(str::len).sum();
    if entries.len() > MAX_FILES || total > MAX_TOTAL {
        return Err(Refusal::unnamed(
            "at most 64 rule files with 256 KiB together are taken",
        ));
    }
    let mut rules: Vec<NamedRule<'_>> = Vec::with_capacity(entries.len());
    for (name, text) in entries.iter().filter(|(_, text)| !text.is_null()) {
        let mut rule = read(name, text, development);
        if let Ok(rule_file) = &rule
            && rules
                .iter()
                .any(|(_, other)| other.as_ref().is_ok_and(|other| other.name == rule_file.name))
        {
            rule = Err(Refusal::unnamed("it is there twice, with and without .rules"));
        }
        rules.push((name, rule));
    }
    Ok(rules)
}

fn read(name: &str, text: &Value, development: bool) -> Result<UdevRule, Refusal> {
    let problem = |problem: udev_rules::Problem| Refusal::Problem(problem.to_string());
    let stem = udev_rules::stem(name).map_err(problem)?;
    let Value::String(text) = text else {
        return Err(Refusal::of_type("the text of a rule file", text));
    };
    // Written on Windows.
    let text = text.replace("\r\n", "\n");
    udev_rules::check(&text, development).map_err(problem)?;
    Ok(UdevRule {
        name: stem.to_owned(),
        text,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_file_stands_for_itself() {
        let value = json!({
            "56": "SUBSYSTEM==\"tty\", SYMLINK+=\"a\"\r\n",
            "56.rules": "",
            "../x": "",
            "run": "RUN+=\"/bin/sh\"",
            "number": 5,
            "gone": null,
        });
        let judged = |development| -> Vec<String> {
            let rules = udev_rules(&value, development).unwrap();
            let line = |(name, rule): (&str, Result<UdevRule, Refusal>)| match rule {
                Ok(rule) => format!("{name}: {} {:?}", rule.name, rule.text),
                Err(refusal) => format!("{name}: {refusal}"),
            };
            rules.into_iter().map(line).collect()
        };
        assert_eq!(
            judged(false),
            [
                "56: 56 \"SUBSYSTEM==\\\"tty\\\", SYMLINK+=\\\"a\\\"\\n\"",
                "56.rules: it is there twice, with and without .rules",
                "../x: the name of a rule file has 1 to 64 letters, digits and _ . -, beginning with a letter or digit",
                "run: line 1: RUN is for developmentMode only: it runs a program as root",
                "number: the text of a rule file was expected, not a number",
            ]
        );
        assert_eq!(judged(true)[3], "run: run \"RUN+=\\\"/bin/sh\\\"\"");
    }

    #[test]
    fn the_whole_has_limits() {
        assert!(udev_rules(&json!({}), false).unwrap().is_empty());
        let many: serde_json::Map<String, Value> =
            (0..65).map(|number| (number.to_string(), json!(""))).collect();
        let long: serde_json::Map<String, Value> = (0..9)
            .map(|number| (number.to_string(), json!("#".repeat(32_000))))
            .collect();
        for bad in [
            json!("x"),
            json!([]),
            json!(1),
            Value::Object(many),
            Value::Object(long),
        ] {
            assert!(udev_rules(&bad, true).is_err());
        }
    }
}
