//! The command line's grammar.

mod apply;
mod export;
mod switch;

use std::ffi::{OsStr, OsString};

use lexopt::{Arg, Parser, ValueExt};

use super::failure::Failure;
#[cfg(feature = "workstation")]
use super::rollout;
use crate::cli::journal::export as journal_export;
use apply::Apply;
use export::Export;
pub(super) use switch::Switch;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invocation {
    /// `--json`: one JSON value instead of sentences.
    pub(super) json: bool,
    pub(super) command: Command,
}

/// The commands. Keys are dotted paths; values and files are as given.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Help(Vec<String>),
    Version,
    Status,
    /// Whether to go on and show every change: `--watch`.
    Connectivity(bool),
    ConfigShow,
    ConfigGet(String),
    ConfigSet(String, String),
    ConfigUnset(String),
    ConfigCheck(OsString),
    /// The file, or none to apply again; and the revision that it is meant for, 0 for any.
    ConfigApply(Option<OsString>, u64),
    ConfigHistory,
    ConfigRevert(u64),
    /// `config apply FILE --hosts LIST`.
    #[cfg(feature = "workstation")]
    Rollout(Box<rollout::Options>),
    JournalStatus,
    JournalPersist(Switch),
    JournalVolatile(Switch),
    JournalReset,
    JournalPurge,
    JournalExport(Box<journal_export::Options>),
}

/// Reads the arguments after the program's name.
pub(super) fn parse(arguments: &[OsString]) -> Result<Invocation, Failure> {
    let mut parser = Parser::from_args(arguments);
    let (mut json, mut help, mut watch) = (false, false, false);
    let mut words: Vec<OsString> = Vec::new();
    let (mut apply, mut switch) = (Apply::default(), Switch::default());
    let mut export = Export::default();
    while let Some(argument) = parser.next().map_err(Failure::usage)? {
        match argument {
            Arg::Long("json") => json = true,
            Arg::Long("watch") => watch = true,
            Arg::Short('h') | Arg::Long("help") => help = true,
            Arg::Short('V') | Arg::Long("version") => {
                return Ok(Invocation {
                    json,
                    command: Command::Version,
                });
            }
            Arg::Value(word) => {
                words.push(word);
                // Behind `config set KEY` comes a value, whatever it looks like: -5 is a number.
                if is_set_before_value(&words)
                    && let Some(value) = raw_value(&mut parser)?
                {
                    words.push(value);
                }
            }
            Arg::Long(name) => {
                let name = name.to_owned();
                if !apply.take(&name, &mut parser)?
                    && !switch.take(&name, &mut parser)?
                    && !export.take(&name, &mut parser)?
                {
                    return Err(Failure::usage(Arg::Long(&name).unexpected()));
                }
            }
            other => return Err(Failure::usage(other.unexpected())),
        }
    }
    let command = if help {
        Command::Help(texts(&words)?)
    } else {
        export.complete(switch.complete(apply.complete(command(&words)?)?)?)?
    };
    let command = match (watch, command) {
        (true, Command::Connectivity(_)) => Command::Connectivity(true),
        (true, Command::Help(topic)) => Command::Help(topic),
        (true, _) => return Err(Failure::usage("--watch belongs to `connectivity`")),
        (false, command) => command,
    };
    Ok(Invocation { json, command })
}

/// Whether the words so far are `config set KEY`.
fn is_set_before_value(words: &[OsString]) -> bool {
    matches!(words, [config, set, _] if config == "config" && set == "set")
}

/// The next argument, taken as it is unless it is an option of ours.
fn raw_value(parser: &mut Parser) -> Result<Option<OsString>, Failure> {
    let mut raw = parser.raw_args().map_err(Failure::usage)?;
    Ok(match raw.peek() {
        None => None,
        Some(next)
            if ["--json", "--help", "-h", "--"]
                .iter()
                .any(|option| next == *option) =>
        {
            None
        }
        Some(_) => raw.next(),
    })
}

fn command(words: &[OsString]) -> Result<Command, Failure> {
    let names = texts(words)?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Ok(match names.as_slice() {
        [] => Command::Help(Vec::new()),
        ["help", topic @ ..] => Command::Help(topic.iter().map(|&word| word.to_owned()).collect()),
        ["status"] => Command::Status,
        ["connectivity"] => Command::Connectivity(false),
        ["config", "show"] => Command::ConfigShow,
        ["config", "get", key] => Command::ConfigGet((*key).to_owned()),
        ["config", "set", key, value] => Command::ConfigSet((*key).to_owned(), (*value).to_owned()),
        ["config", "unset", key] => Command::ConfigUnset((*key).to_owned()),
        ["config", "check", _] => Command::ConfigCheck(words.last().cloned().unwrap_or_default()),
        ["config", "apply"] => Command::ConfigApply(None, 0),
        ["config", "apply", _] => Command::ConfigApply(words.last().cloned(), 0),
        ["config", "history"] => Command::ConfigHistory,
        ["config", "revert", revision] => Command::ConfigRevert(
            revision
                .parse()
                .map_err(|_| Failure::usage(format!("{revision:?} is not the number of a REVISION")))?,
        ),
        ["journal", "status"] => Command::JournalStatus,
        ["journal", "persist"] => Command::JournalPersist(Switch::default()),
        ["journal", "volatile"] => Command::JournalVolatile(Switch::default()),
        ["journal", "reset"] => Command::JournalReset,
        ["journal", "purge"] => Command::JournalPurge,
        ["journal", "export"] => Command::JournalExport(Box::default()),
        ["config", "get" | "unset"] => return Err(Failure::usage("which KEY?")),
        ["config", "set"] => return Err(Failure::usage("which KEY and VALUE?")),
        ["config", "set", key] => return Err(Failure::usage(format!("which VALUE for {key}?"))),
        ["config", "check"] => return Err(Failure::usage("which FILE?")),
        ["config", "revert"] => {
            return Err(Failure::usage(
                "which REVISION? `fleet config history` lists them",
            ));
        }
        ["config"] => {
            return Err(Failure::usage(
                "config what? show, get, set, unset, check, apply, history or revert",
            ));
        }
        ["journal"] => {
            return Err(Failure::usage(
                "journal what? status, persist, volatile, reset, purge or export",
            ));
        }
        ["status" | "connectivity", extra, ..]
        | ["config", "show" | "history", extra, ..]
        | [
            "config",
            "get" | "unset" | "check" | "apply" | "revert",
            _,
            extra,
            ..,
        ]
        | ["config", "set", _, _, extra, ..]
        | [
            "journal",
            "status" | "persist" | "volatile" | "reset" | "purge" | "export",
            extra,
            ..,
        ] => {
            return Err(Failure::usage(format!("unexpected argument {extra:?}")));
        }
        [group @ ("config" | "journal"), unknown, ..] => {
            return Err(Failure::usage(format!("there is no command `{group} {unknown}`")));
        }
        [unknown, ..] => return Err(Failure::usage(format!("there is no command `{unknown}`"))),
    })
}

/// The words as text. Only a file's name may be something else.
fn texts(words: &[OsString]) -> Result<Vec<String>, Failure> {
    let takes_file = |word: &OsString| word == OsStr::new("check") || word == OsStr::new("apply");
    let is_file = |index| index == 2 && words.get(1).is_some_and(takes_file);
    let mut texts = Vec::with_capacity(words.len());
    for (index, word) in words.iter().enumerate() {
        texts.push(match word.clone().string() {
            Ok(text) => text,
            Err(_) if is_file(index) => word.to_string_lossy().into_owned(),
            Err(error) => return Err(Failure::usage(error)),
        });
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn parsed(line: &str) -> Result<Invocation, Failure> {
        parse(
            &line
                .split(' ')
                .filter(|word| !word.is_empty())
                .map(OsString::from)
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn understands() {
        let set = |key: &str, value: &str| Command::ConfigSet(key.into(), value.into());
        let ok: [(&str, bool, Command); 18] = [
            ("", false, Command::Help(vec![])),
            ("status", false, Command::Status),
            ("--json status", true, Command::Status),
            ("connectivity --json", true, Command::Connectivity(false)),
            ("connectivity --watch --json", true, Command::Connectivity(true)),
            ("config set hostname pump", false, set("hostname", "pump")),
            (
                "config set os.network.connectivity.interval -5",
                false,
                set("os.network.connectivity.interval", "-5"),
            ),
            ("config set hostname pump --json", true, set("hostname", "pump")),
            ("config set hostname --weird", false, set("hostname", "--weird")),
            ("config check -", false, Command::ConfigCheck("-".into())),
            ("config apply", false, Command::ConfigApply(None, 0)),
            ("config apply -", false, Command::ConfigApply(Some("-".into()), 0)),
            (
                "config apply --expect 7 a.json --json",
                true,
                Command::ConfigApply(Some("a.json".into()), 7),
            ),
            ("config history", false, Command::ConfigHistory),
            ("config revert 3", false, Command::ConfigRevert(3)),
            ("config set hostname --hosts", false, set("hostname", "--hosts")),
            (
                "config set --help",
                false,
                Command::Help(vec!["config".into(), "set".into()]),
            ),
            ("help journal", false, Command::Help(vec!["journal".into()])),
        ];
        for (line, json, command) in ok {
            assert_eq!(parsed(line).unwrap(), Invocation { json, command }, "{line:?}");
        }
    }

    #[test]
    fn refuses_with_a_hint() {
        let bad = [
            ("stauts", "there is no command `stauts`"),
            ("config", "config what?"),
            ("config frob", "there is no command `config frob`"),
            ("config get", "which KEY?"),
            ("config set a", "which VALUE for a?"),
            ("config set a b c", "unexpected argument \"c\""),
            ("status --frob", "--frob"),
            ("journal persist now", "unexpected argument \"now\""),
            ("config revert", "which REVISION?"),
            ("config revert -1", "-1"),
            ("config revert x", "\"x\" is not the number"),
            ("config apply a b", "unexpected argument \"b\""),
            ("status --watch", "--watch belongs to `connectivity`"),
            ("config apply --expect 3", "--expect goes with a FILE"),
            ("config apply a --expect x", "--expect takes a number, not \"x\""),
            (
                "config show --expect 3",
                "--expect belongs to `config apply FILE`",
            ),
            ("config apply a --expect", "--expect"),
        ];
        for (line, hint) in bad {
            let failure = parsed(line).unwrap_err();
            assert_eq!(failure.exit(), fleet_base::exit::Exit::Usage);
            assert!(failure.to_string().contains(hint), "{line:?}: {failure}");
            assert!(failure.to_string().contains("fleet help"), "{line:?}: {failure}");
        }
    }
}
