//! The JSON Schema (draft 2020-12), for editors.

use anyhow::{Context, bail};
use fleet_base::sysctl::{self, Parameter};
use fleet_config::key::{self, Class, Key};
use serde_json::{Map, Value, json};

use crate::entry::{Entry, topics};
use crate::is_judged;

/// The dialect that the schema names as its own.
pub const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema as text.
///
/// # Errors
/// The source is not in order.
pub fn schema() -> anyhow::Result<String> {
    let mut root = json!({
        "$schema": DIALECT,
        "title": "config.json of Fleet OS",
        "description": "The configuration of a device. Keys that are not described here are kept for other software.",
        "type": "object",
        "properties": {},
        "additionalProperties": true,
    });
    let topics = topics()?;
    for topic in &topics {
        for group in &topic.groups {
            let object = object_at(&mut root, &group.path)?;
            object.insert("description".to_owned(), plain(&group.text).into());
        }
    }
    for entry in topics.iter().flat_map(|topic| &topic.keys) {
        let key = key::find(&entry.path).with_context(|| format!("{} is no key", entry.path))?;
        *object_at(&mut root, &entry.path)? = described(entry, key)?;
    }
    Ok(format!("{root:#}\n"))
}

/// The schema of the value at a path; objects on the way are made.
fn object_at<'a>(root: &'a mut Value, path: &str) -> anyhow::Result<&'a mut Map<String, Value>> {
    let mut object = root.as_object_mut().context("no object")?;
    for step in path.split('.') {
        // Where a key of this way comes before its group.
        if !object.contains_key("properties") {
            object.insert("type".to_owned(), json!(["object", "null"]));
            object.insert("properties".to_owned(), json!({}));
        }
        object = object
            .get_mut("properties")
            .and_then(Value::as_object_mut)
            .with_context(|| format!("{path}: no object on the way"))?
            .entry(step)
            .or_insert_with(|| json!({}))
            .as_object_mut()
            .with_context(|| format!("{path}: no object on the way"))?;
    }
    Ok(object)
}

fn described(entry: &Entry, key: &Key) -> anyhow::Result<Map<String, Value>> {
    let mut object = Map::new();
    let mut text = entry.text.trim().to_owned();
    for (name, more) in [
        ("Value", &entry.rule),
        ("Default", &entry.default),
        ("On change", &entry.effect),
    ] {
        if !more.is_empty() {
            text.push_str(&format!("\n\n{name}: {}", more.trim()));
        }
    }
    match key.class {
        Class::Applied | Class::Identity => {}
        Class::Later => text.push_str("\n\nUsed by a later release; its shape is checked now."),
        Class::Kept => text.push_str("\n\nKept for other software; a device does not look at it."),
        Class::OtherBoards => {
            text.push_str("\n\nNot supported on the boards that there are images for; kept.")
        }
    }
    object.insert("description".to_owned(), plain(&text).into());
    object.insert("markdownDescription".to_owned(), text.into());
    if let Some(value) = &entry.default_value {
        object.insert("default".to_owned(), value.clone());
    }
    if !entry.examples.is_empty() {
        object.insert("examples".to_owned(), Value::from(entry.examples.clone()));
    }
    if key.secret {
        object.insert("writeOnly".to_owned(), true.into());
    }
    if entry.path == "os.sysctl" {
        object.extend(parameters());
    }
    if is_judged(key) {
        object.extend(or_null(&entry.schema).with_context(|| format!("the schema of {}", entry.path))?);
    }
    Ok(object)
}

/// The kernel parameters with their ranges, and no others.
fn parameters() -> Map<String, Value> {
    let entry = |parameter: &Parameter| {
        let (min, max) = (parameter.min, parameter.max);
        let forms = json!([
            { "type": "integer", "minimum": min, "maximum": max },
            { "type": "string", "pattern": "^[0-9]+$" },
            { "type": "null" },
        ]);
        let range = format!("A whole number from {min} to {max}.");
        let described = json!({ "description": range, "anyOf": forms });
        (parameter.name.to_owned(), described)
    };
    let all: Map<String, Value> = sysctl::TABLE.iter().map(entry).collect();
    let mut object = Map::new();
    object.insert("properties".to_owned(), all.into());
    // One that is not in the list may be null, which sets nothing.
    object.insert("additionalProperties".to_owned(), json!({ "type": "null" }));
    object
}

/// A key that is `null` is not set, whatever it is.
fn or_null(schema: &Map<String, Value>) -> anyhow::Result<Map<String, Value>> {
    let mut schema = schema.clone();
    if let Some(kind) = schema.get_mut("type") {
        match kind {
            Value::String(_) => *kind = json!([kind.clone(), "null"]),
            Value::Array(kinds) => kinds.push("null".into()),
            _ => bail!("`type` is neither a string nor an array"),
        }
        if schema.contains_key("enum") || schema.contains_key("anyOf") {
            bail!("`type` beside `enum` or `anyOf`");
        }
    } else if let Some(Value::Array(values)) = schema.get_mut("enum") {
        values.push(Value::Null);
    } else if let Some(Value::Array(forms)) = schema.get_mut("anyOf") {
        forms.push(json!({ "type": "null" }));
    } else {
        bail!("one of `type`, `enum` and `anyOf` was expected");
    }
    Ok(schema)
}

/// Markdown without its marks and line breaks within a paragraph, for editors that show plain text.
fn plain(text: &str) -> String {
    let paragraph = |text: &str| {
        text.replace(['`', '\n'], " ")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    text.replace('`', "")
        .split("\n\n")
        .map(paragraph)
        .collect::<Vec<_>>()
        .join("\n")
}
