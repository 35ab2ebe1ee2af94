//! Lines and tokens of a rule file: udev(7), "Rules Files", and `parse_line` of systemd's `udev-rules.c`.

use super::Problem;

/// What stands between a key and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `==`
    Match,
    /// `!=`
    NoMatch,
    /// What changes something.
    Assign(Assignment),
}

/// How something is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assignment {
    /// `=`
    Set,
    /// `+=`
    Add,
    /// `-=`
    Remove,
    /// `:=`
    Final,
}

impl Operator {
    /// Whether it changes something.
    #[must_use]
    pub const fn is_assignment(self) -> bool {
        matches!(self, Self::Assign(_))
    }
}

/// One `KEY{attribute}operator"value"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The key.
    pub key: String,
    /// What is in the braces.
    pub attribute: Option<String>,
    /// The operator.
    pub operator: Operator,
    /// The value, without quotes; `\"` is `"`.
    pub value: String,
}

impl Token {
    /// The key with its attribute, as it is written.
    pub(super) fn name(&self) -> String {
        match &self.attribute {
            Some(attribute) => format!("{}{{{attribute}}}", self.key),
            None => self.key.clone(),
        }
    }
}

/// Every key of udev(7). udev takes them in this case only.
const KEYS: &[&str] = &[
    "ACTION",
    "ATTR",
    "ATTRS",
    "CONST",
    "DEVPATH",
    "DRIVER",
    "DRIVERS",
    "ENV",
    "GOTO",
    "GROUP",
    "IMPORT",
    "KERNEL",
    "KERNELS",
    "LABEL",
    "MODE",
    "NAME",
    "OPTIONS",
    "OWNER",
    "PROGRAM",
    "RESULT",
    "RUN",
    "SECLABEL",
    "SUBSYSTEM",
    "SUBSYSTEMS",
    "SYMLINK",
    "SYSCTL",
    "TAG",
    "TAGS",
    "TEST",
];

/// What separates words (systemd's `WHITESPACE`; a line ends at the others of it).
const BLANKS: [char; 2] = [' ', '\t'];
/// udev ignores a joined line that is longer (`UTIL_LINE_SIZE`).
const MAX_LINE: usize = 16 * 1024;

/// The rules of a text: the number of the line that each begins in, and its tokens.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Result<(usize, Vec<Token>), Problem>> {
    let mut lines = text.split('\n').enumerate();
    let mut ended = false;
    std::iter::from_fn(move || {
        let mut joined: Option<(usize, String)> = None;
        while !ended {
            let Some((index, line)) = lines.next() else {
                ended = true;
                // udev ignores the whole line.
                return joined.map(|(line, _)| {
                    let rule = "the last line ends in a backslash";
                    Err(Problem::Syntax { line, rule })
                });
            };
            let number = index + 1;
            let syntax = |rule| Some(Err(Problem::Syntax { line: number, rule }));
            // A carriage return and NUL end a line for udev; no other control character has any use here.
            if line.chars().any(|char| char.is_control() && char != '\t') {
                ended = true;
                return syntax("a control character");
            }
            let line = line.trim_start_matches(BLANKS);
            // Also within a rule that goes on in the next line: there udev skips them too.
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (first, mut text) = joined.take().unwrap_or((number, String::new()));
            let more = line.ends_with('\\');
            text.push_str(line.strip_suffix('\\').unwrap_or(line));
            if text.len() >= MAX_LINE {
                ended = true;
                return syntax("a rule has at most 16 KiB");
            }
            if more {
                joined = Some((first, text));
                continue;
            }
            let tokens = tokens(&text).map_err(|rule| Problem::Syntax { line: first, rule });
            ended |= tokens.is_err();
            return Some(tokens.map(|tokens| (first, tokens)));
        }
        None
    })
}

fn tokens(mut line: &str) -> Result<Vec<Token>, &'static str> {
    let mut tokens = Vec::new();
    loop {
        line = line.trim_start_matches(|char| char == ',' || BLANKS.contains(&char));
        if line.is_empty() {
            return Ok(tokens);
        }
        let (token, rest) = token(line)?;
        tokens.push(token);
        line = rest;
    }
}

fn token(line: &str) -> Result<(Token, &str), &'static str> {
    let end = line
        .find(|char| "={+-!:".contains(char) || BLANKS.contains(&char))
        .ok_or("an operator was expected after the key")?;
    let (key, mut rest) = line.split_at(end);
    if !KEYS.contains(&key) {
        return Err("a key that udev does not know (they are in upper case)");
    }
    let mut attribute = None;
    if let Some(inner) = rest.strip_prefix('{') {
        let (name, after) = inner.split_once('}').ok_or("a closing brace is missing")?;
        attribute = Some(name.to_owned());
        rest = after;
    }
    rest = rest.trim_start_matches(BLANKS);
    let (operator, rest) = [
        ("==", Operator::Match),
        ("!=", Operator::NoMatch),
        ("+=", Operator::Assign(Assignment::Add)),
        ("-=", Operator::Assign(Assignment::Remove)),
        (":=", Operator::Assign(Assignment::Final)),
        ("=", Operator::Assign(Assignment::Set)),
    ]
    .into_iter()
    .find_map(|(text, operator)| Some((operator, rest.strip_prefix(text)?)))
    .ok_or("an operator was expected after the key: == != = += -= :=")?;
    // The prefixes e"" and i"" of newer releases are not taken: older ones ignore the whole line.
    let quoted = rest
        .trim_start_matches(BLANKS)
        .strip_prefix('"')
        .ok_or("a value in double quotes was expected")?;
    let mut value = String::new();
    let mut chars = quoted.char_indices().peekable();
    while let Some((index, char)) = chars.next() {
        match char {
            '"' => {
                let token = Token {
                    key: key.to_owned(),
                    attribute,
                    operator,
                    value,
                };
                return Ok((token, &quoted[index + 1..]));
            }
            '\\' if chars.peek().is_some_and(|(_, next)| *next == '"') => {
                chars.next();
                value.push('"');
            }
            other => value.push(other),
        }
    }
    Err("a closing quote is missing")
}
