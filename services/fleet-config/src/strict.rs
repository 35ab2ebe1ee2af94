//! The strict JSON reader.
//!
//! `serde_json` takes the last of two equal names; a person who wrote one twice meant one of them, and a program
//! that guesses wrong guesses silently. Everything else it gets right, so this wraps it: size, encoding, equal
//! names, an object at the top, and errors that a person can find in an editor.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Lines and columns count from 1; a column counts characters, as editors do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// Why bytes are not a document. Never carries content, which may be secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyntaxError {
    /// Nothing in it, or nothing but white space and NUL bytes, as a power cut leaves behind on FAT.
    Empty,
    /// Larger than the limit, in bytes.
    TooLarge(u64),
    /// It begins with a byte order mark, of this encoding.
    ByteOrderMark(&'static str),
    /// Not UTF-8 from here on.
    NotUtf8(Place),
    /// Not JSON, or not strict JSON: what was expected.
    Syntax(Place, String),
    /// Something else than an object at the top.
    NotAnObject(Place, &'static str),
}

impl SyntaxError {
    /// Where it is, if it is at one place.
    #[must_use]
    pub const fn place(&self) -> Option<Place> {
        match self {
            Self::TooLarge(_) => None,
            Self::Empty | Self::ByteOrderMark(_) => Some(Place { line: 1, column: 1 }),
            Self::NotUtf8(place) | Self::Syntax(place, _) | Self::NotAnObject(place, _) => Some(*place),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place() {
            write!(f, "{place}: ")?;
        }
        match self {
            Self::Empty => f.write_str("it is empty: a JSON object was expected, at least {}"),
            Self::TooLarge(limit) => write!(f, "it is larger than {} KiB", limit / 1024),
            Self::ByteOrderMark(encoding) => {
                write!(
                    f,
                    "it begins with a {encoding} byte order mark: save it as UTF-8 without one (BOM)"
                )
            }
            Self::NotUtf8(_) => f.write_str("this is not UTF-8: save the file as UTF-8"),
            Self::Syntax(_, what) => f.write_str(what),
            Self::NotAnObject(_, found) => {
                write!(
                    f,
                    "an object in braces {{ }} was expected at the top, not {found}"
                )
            }
        }
    }
}

impl std::error::Error for SyntaxError {}

/// Reads exactly one object.
///
/// # Errors
/// [`SyntaxError`].
pub(crate) fn object(bytes: &[u8], limit: u64) -> Result<Map<String, Value>, SyntaxError> {
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(SyntaxError::TooLarge(limit));
    }
    if bytes.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0) {
        return Err(SyntaxError::Empty);
    }
    for (mark, encoding) in [
        (&b"\xef\xbb\xbf"[..], "UTF-8"),
        (b"\xff\xfe", "UTF-16"),
        (b"\xfe\xff", "UTF-16"),
    ] {
        if bytes.starts_with(mark) {
            return Err(SyntaxError::ByteOrderMark(encoding));
        }
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| SyntaxError::NotUtf8(place_at(bytes, error.valid_up_to())))?;
    if let Some(offset) = bytes.iter().position(|byte| *byte == 0) {
        let what = "a NUL byte: the file was damaged, perhaps by a power cut; write it again";
        return Err(SyntaxError::Syntax(place_at(bytes, offset), what.to_owned()));
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = Strict
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| syntax(text, &error))?;
    match value {
        Value::Object(object) => Ok(object),
        other => {
            let start = text.len().saturating_sub(text.trim_start().len());
            Err(SyntaxError::NotAnObject(place_at(bytes, start), kind(&other)))
        }
    }
}

/// Reads one value, as strictly.
///
/// # Errors
/// [`SyntaxError`].
pub(crate) fn value(text: &str) -> Result<Value, SyntaxError> {
    let mut reader = serde_json::Deserializer::from_str(text);
    Strict
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| syntax(text, &error))
}

/// What a JSON value is, with its article.
pub(crate) const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The place of a byte.
fn place_at(bytes: &[u8], offset: usize) -> Place {
    let before = bytes.get(..offset).unwrap_or(bytes);
    let line_start = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    Place {
        line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
        column: String::from_utf8_lossy(&before[line_start..]).chars().count() + 1,
    }
}

/// Says what the parser met in words that name the remedy.
fn syntax(text: &str, error: &serde_json::Error) -> SyntaxError {
    let offset = offset_of(text, error.line(), error.column());
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or(&message);
    // The parser stops at the bracket after a trailing comma; the person has to find the comma.
    if message == "trailing comma" {
        let comma = text[..offset].rfind(',').unwrap_or(offset);
        let what = "there is a comma after the last entry: remove it".to_owned();
        return SyntaxError::Syntax(place_at(text.as_bytes(), comma), what);
    }
    let what = match message {
        "EOF while parsing an object" => "the file ends inside an object: it was cut off, or a } is missing",
        "EOF while parsing a list" => "the file ends inside an array: it was cut off, or a ] is missing",
        "EOF while parsing a string" => "the file ends inside a string: it was cut off, or a \" is missing",
        "EOF while parsing a value" => "the file ends where a value was expected: it was cut off",
        "expected `:`" => "a colon was expected after the name",
        "expected `,` or `}`" => "a comma or } was expected",
        "expected `,` or `]`" => "a comma or ] was expected",
        "expected value" | "expected ident" => {
            "a value was expected (JSON has no comments; strings need double quotes)"
        }
        "key must be a string" => "a name in double quotes was expected (JSON has no comments)",
        "trailing characters" => "the object ends before this: nothing may follow it",
        other if other.contains("escape") => {
            "this is not an escape of JSON (\\n, \\\", \\\\, \\u and four digits, …)"
        }
        "invalid number" => {
            "this is not a number of JSON (no + or 0 before it, and digits on both sides of a point)"
        }
        "recursion limit exceeded" => "this is nested deeper than 127 levels",
        other if other.starts_with("control character") => {
            "a string must end on its line: a \" is missing, or a control character needs \\u"
        }
        other => other,
    };
    SyntaxError::Syntax(place_at(text.as_bytes(), offset), what.to_owned())
}

/// The byte that the parser complains about. Its columns count bytes and point at the last one consumed.
fn offset_of(text: &str, line: usize, column: usize) -> usize {
    let start: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    let mut offset = start.saturating_add(column.saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

/// How `serde_json` hands a number over that is not a whole one of 64 bits (`arbitrary_precision`): as an object with this
/// name and the digits as they were written. An object of a file that has this name is read as a number, or refused.
const NUMBER: &str = "$serde_json::private::Number";

/// Builds a [`Value`] and refuses a name that comes twice.
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = entries.next_element_seed(Strict)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            if name == NUMBER && object.is_empty() {
                let digits: String = entries.next_value()?;
                return digits
                    .parse()
                    .map(Value::Number)
                    .map_err(serde::de::Error::custom);
            }
            if object.contains_key(&name) {
                let name: String = name.chars().take(64).collect();
                return Err(serde::de::Error::custom(format_args!(
                    "\"{}\" is in this object twice: remove one of them",
                    name.escape_debug()
                )));
            }
            let value = entries.next_value_seed(Strict)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(bytes: &[u8]) -> String {
        object(bytes, 1024).unwrap_err().to_string()
    }

    #[test]
    fn says_where_and_what() {
        let cases: &[(&[u8], &str)] = &[
            (b"", "line 1, column 1: it is empty"),
            (b" \n\0\0", "line 1, column 1: it is empty"),
            (
                b"{\n  \"a\": 1,\n}",
                "line 2, column 9: there is a comma after the last entry",
            ),
            (
                b"{\"a\": [1,]}",
                "line 1, column 9: there is a comma after the last entry",
            ),
            (b"{\"a\": 1,,}", "line 1, column 9: a name in double quotes"),
            (
                b"{\n\"a\": 1\n\"b\": 2}",
                "line 3, column 1: a comma or } was expected",
            ),
            ("{\"ä\": x}".as_bytes(), "line 1, column 7: a value was expected"),
            (b"{\"a\": 1", "line 1, column 7: the file ends inside an object"),
            (b"{\"a\": \"b", "line 1, column 8: the file ends inside a string"),
            (b"{\"a\"", "the file ends inside an object"),
            (
                b"[]",
                "line 1, column 1: an object in braces { } was expected at the top, not an array",
            ),
            (b"\n 1", "line 2, column 2: an object"),
            (b"{}{}", "line 1, column 3: the object ends before this"),
            (b"{} x", "line 1, column 4: the object ends before this"),
            (b"// c\n{}", "line 1, column 1: a value was expected"),
            (
                b"\xef\xbb\xbf{}",
                "line 1, column 1: it begins with a UTF-8 byte order mark",
            ),
            (
                b"\xff\xfe{\0}\0",
                "line 1, column 1: it begins with a UTF-16 byte order mark",
            ),
            (b"{\"a\": \"\xff\"}", "line 1, column 8: this is not UTF-8"),
            (b"{\"a\": 1}\0\0", "line 1, column 9: a NUL byte"),
            (b"{\"a\": {\"b\": 1, \"b\": 2}}", "\"b\" is in this object twice"),
            (b"{\"a\": \"b\n\"}", "a string must end on its line"),
        ];
        for (bytes, expected) in cases {
            let error = error(bytes);
            assert!(
                error.starts_with(expected) || error.contains(expected),
                "{error:?} for {expected:?}"
            );
        }
    }

    #[test]
    fn limits_size_and_depth() {
        assert_eq!(object(&[b' '; 1025], 1024), Err(SyntaxError::TooLarge(1024)));
        let deep = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        assert!(object(deep(127).as_bytes(), 1024).is_ok());
        let error = error(deep(128).as_bytes());
        assert!(error.contains("nested deeper than 127 levels"), "{error}");
    }

    #[test]
    fn keeps_the_order() {
        let value = value(r#"{"z":1,"a":[true,null,1.5,-2,"é"],"m":{}}"#).unwrap();
        assert_eq!(value.to_string(), r#"{"z":1,"a":[true,null,1.5,-2,"é"],"m":{}}"#);
    }

    #[test]
    fn keeps_numbers_as_they_were_written() {
        for number in [
            "0",
            "-1",
            "1.50",
            "-0",
            "18446744073709551616",
            "123456789012345678901234567890.10",
        ] {
            assert_eq!(value(number).unwrap().to_string(), number);
        }
        // The sign of the exponent is written out.
        assert_eq!(value("1e999").unwrap().to_string(), "1e+999");
        assert!(value(r#"{"$serde_json::private::Number":"x"}"#).is_err());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            let _ = object(&bytes, 1024).map_err(|error| error.to_string());
        }

        #[test]
        fn never_panics_on_nearly_json(text in r#"[\{\}\[\]:,"a1é \n\\/0-]{0,40}"#) {
            let _ = object(text.as_bytes(), 1024).map_err(|error| error.to_string());
        }
    }
}
