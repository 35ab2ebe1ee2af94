//! The reference page, for people.

use std::fmt::Write;

use anyhow::Context;
use fleet_config::key::{self, Class, Key};
use serde_json::Value;

use crate::entry::{Entry, Topic, topics};

const HEAD: &str = "\
<!-- Made by `cargo xtask schema` of tools/config-reference/keys/*.toml; changes are overwritten. -->

# Keys of config.json

What each key holds and does. [config.md](config.md) says what becomes of a key, of a file that is broken and of
keyfiles; [config.schema.json](config.schema.json) says the same as this page to an editor.

A key that is absent, `null` or, where it is a string, empty has its default. `\"null\"` is the string. A boolean is
`true` or `false`; 1, 0, `\"true\"`, `\"false\"`, `\"1\"` and `\"0\"` are understood as well.
";

/// The page as Markdown.
///
/// # Errors
/// The source is not in order.
pub fn page() -> anyhow::Result<String> {
    let topics = topics()?;
    let mut text = HEAD.to_owned();
    text.push_str("\n| key | value | default | since |\n|---|---|---|---|\n");
    for entry in topics.iter().flat_map(|topic| &topic.keys) {
        let key = key_of(entry)?;
        let value = match key.class {
            Class::Applied | Class::Identity | Class::Later => one_line(&entry.rule),
            Class::Kept => "*kept for other software*".to_owned(),
            Class::OtherBoards => "*not supported on these boards*".to_owned(),
        };
        writeln!(
            text,
            "| [`{}`](#{}) | {} | {} | {} |",
            entry.path,
            anchor(&entry.path),
            cell(&value),
            cell(&one_line(&entry.default)),
            entry.since.as_str(),
        )?;
    }
    for topic in &topics {
        write_topic(&mut text, topic)?;
    }
    Ok(text)
}

fn key_of(entry: &Entry) -> anyhow::Result<&'static Key> {
    key::find(&entry.path).with_context(|| format!("{} is no key", entry.path))
}

fn write_topic(text: &mut String, topic: &Topic) -> anyhow::Result<()> {
    writeln!(text, "\n## {}", topic.title)?;
    if !topic.text.is_empty() {
        writeln!(text, "\n{}", topic.text.trim())?;
    }
    for entry in &topic.keys {
        let key = key_of(entry)?;
        writeln!(text, "\n### {}\n\n{}\n", entry.path, entry.text.trim())?;
        match key.class {
            Class::Applied | Class::Identity => {}
            Class::Later => text.push_str("- Used by a later release; its shape is checked now.\n"),
            Class::Kept => text.push_str("- Kept for other software, and not looked at.\n"),
            Class::OtherBoards => text.push_str(
                "- Not supported on the boards that there are images for: kept, and not looked at.\n",
            ),
        }
        if key.secret {
            text.push_str("- Secret: shown as `\"…\"` everywhere.\n");
        }
        let fields = [
            ("Value", &entry.rule),
            ("Default", &entry.default),
            ("On change", &entry.effect),
            ("In force", &entry.in_force),
            ("Read back", &entry.read_back),
        ];
        for (name, field) in fields.into_iter().filter(|(_, field)| !field.is_empty()) {
            writeln!(text, "- {name}: {}", one_line(field))?;
        }
        if !entry.examples.is_empty() {
            let examples: Vec<String> = entry.examples.iter().map(code).collect();
            writeln!(text, "- Examples: {}", examples.join(", "))?;
        }
        writeln!(text, "- Since: {}", entry.since.as_str())?;
    }
    Ok(())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// As GitHub and VS Code make it of a heading.
fn anchor(heading: &str) -> String {
    heading
        .chars()
        .filter(|character| character.is_alphanumeric() || "-_".contains(*character))
        .flat_map(char::to_lowercase)
        .collect()
}

/// A value as code, shortened: a key of ssh is longer than a line.
fn code(value: &Value) -> String {
    let text = value.to_string();
    let mut short: String = text.chars().take(100).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("`{short}`")
}
