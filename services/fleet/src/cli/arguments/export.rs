//! The options of `journal export`.

use lexopt::Parser;

use super::Command;
use crate::cli::failure::Failure;
use crate::cli::journal::export::Options;

/// The options of `journal export`.
#[derive(Default)]
pub(super) struct Export {
    /// The first that was given.
    given: Option<String>,
    options: Options,
}

impl Export {
    /// Takes the option of this name and its value; `false` if it is none of these.
    pub(super) fn take(&mut self, name: &str, parser: &mut Parser) -> Result<bool, Failure> {
        // A value may begin with a hyphen: the boot before is -1.
        let mut value = || parser.value().map(Some).map_err(Failure::usage);
        match name {
            "since" => self.options.since = value()?,
            "until" => self.options.until = value()?,
            "boot" => self.options.boot = value()?,
            "output" => self.options.output = value()?,
            "force" => self.options.force = true,
            "no-redact" => self.options.no_redact = true,
            _ => return Ok(false),
        }
        self.given.get_or_insert_with(|| name.to_owned());
        Ok(true)
    }

    /// Gives the options to the command that they are for.
    pub(super) fn complete(self, command: Command) -> Result<Command, Failure> {
        match (command, self.given) {
            (Command::JournalExport(_), _) => Ok(Command::JournalExport(Box::new(self.options))),
            (_, Some(given)) => Err(Failure::usage(format!("--{given} belongs to `journal export`"))),
            (command, None) => Ok(command),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::parsed;
    use super::*;

    #[test]
    fn understands_an_export() {
        let line = "journal export --since -1h --until now --boot -1 --output - --force --no-redact";
        let wanted = Options {
            since: Some("-1h".into()),
            until: Some("now".into()),
            boot: Some("-1".into()),
            output: Some("-".into()),
            force: true,
            no_redact: true,
        };
        assert_eq!(
            parsed(line).unwrap().command,
            Command::JournalExport(Box::new(wanted))
        );
        assert_eq!(
            parsed("--json journal export").unwrap().command,
            Command::JournalExport(Box::default())
        );
    }

    #[test]
    fn refuses_an_export_that_cannot_be() {
        for (line, hint) in [
            (
                "journal status --since now",
                "--since belongs to `journal export`",
            ),
            ("journal export x", "unexpected argument \"x\""),
            ("journal export --boot", "--boot"),
            ("journal export --force=yes", "--force"),
        ] {
            let failure = parsed(line).unwrap_err();
            assert_eq!(failure.exit(), fleet_base::exit::Exit::Usage);
            assert!(failure.to_string().contains(hint), "{line:?}: {failure}");
        }
    }
}
