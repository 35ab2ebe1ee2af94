//! The options of `config apply`.

use std::str::FromStr;

use lexopt::Parser;

use super::Command;
use crate::cli::failure::Failure;
#[cfg(feature = "workstation")]
use crate::cli::rollout;

/// The options of `config apply`.
#[derive(Default)]
pub(super) struct Apply {
    /// The first that was given.
    given: Option<String>,
    expected: Option<u64>,
    #[cfg(feature = "workstation")]
    rollout: rollout::Options,
}

impl Apply {
    /// Takes the option of this name and its value; `false` if it is none of these.
    pub(super) fn take(&mut self, name: &str, parser: &mut Parser) -> Result<bool, Failure> {
        match name {
            "expect" => self.expected = Some(number(name, parser)?),
            #[cfg(feature = "workstation")]
            "hosts" => self.rollout.list = Some(parser.value().map_err(Failure::usage)?),
            #[cfg(feature = "workstation")]
            "host" => self.rollout.hosts.push(text(parser)?),
            #[cfg(feature = "workstation")]
            "few" => self.rollout.few = Some(number(name, parser)?),
            #[cfg(feature = "workstation")]
            "parallel" => self.rollout.parallel = number(name, parser)?,
            #[cfg(feature = "workstation")]
            "settle" => self.rollout.settle = number(name, parser)?,
            #[cfg(feature = "workstation")]
            "patience" => self.rollout.patience = number(name, parser)?,
            #[cfg(feature = "workstation")]
            "ssh-config" => self.rollout.ssh_config = Some(parser.value().map_err(Failure::usage)?),
            #[cfg(feature = "workstation")]
            "ssh-option" => self.rollout.ssh_options.push(text(parser)?),
            #[cfg(not(feature = "workstation"))]
            "hosts" | "host" => {
                return Err(Failure::new(
                    fleet_base::exit::Exit::Usage,
                    "a device does not reach out to others: run this on a workstation that has ssh and `fleet` \
                     (`cargo install` of Fleet OS builds it)",
                ));
            }
            _ => return Ok(false),
        }
        self.given.get_or_insert_with(|| name.to_owned());
        Ok(true)
    }

    /// Gives the options to the command that they are for.
    pub(super) fn complete(self, command: Command) -> Result<Command, Failure> {
        let Some(given) = self.given else {
            return Ok(command);
        };
        let Command::ConfigApply(file, _) = command else {
            return Err(Failure::usage(format!(
                "--{given} belongs to `config apply FILE`"
            )));
        };
        let file = file.ok_or_else(|| Failure::usage(format!("--{given} goes with a FILE to apply")))?;
        #[cfg(feature = "workstation")]
        if self.rollout != rollout::Options::default() {
            if self.expected.is_some() {
                return Err(Failure::usage(
                    "--expect is for one device: revisions differ from device to device",
                ));
            }
            let rollout = self.rollout.complete(file).map_err(Failure::usage)?;
            return Ok(Command::Rollout(Box::new(rollout)));
        }
        Ok(Command::ConfigApply(Some(file), self.expected.unwrap_or(0)))
    }
}

/// An option's value as text.
#[cfg(feature = "workstation")]
fn text(parser: &mut Parser) -> Result<String, Failure> {
    parser
        .value()
        .and_then(lexopt::ValueExt::string)
        .map_err(Failure::usage)
}

/// An option's value as a number.
fn number<T: FromStr>(name: &str, parser: &mut Parser) -> Result<T, Failure> {
    let value = parser.value().map_err(Failure::usage)?;
    let number = value.to_str().and_then(|text| text.parse().ok());
    number.ok_or_else(|| Failure::usage(format!("--{name} takes a number, not {value:?}")))
}

#[cfg(test)]
mod tests {
    use super::super::tests::parsed;
    #[cfg(feature = "workstation")]
    use super::*;

    #[cfg(feature = "workstation")]
    #[test]
    fn understands_a_rollout() {
        let line = "config apply a.json --hosts list --few 3 --parallel 4 --settle 5 --patience 6 --ssh-config c --ssh-option A=b --json";
        let parsed = parsed(line).unwrap();
        let Command::Rollout(options) = parsed.command else {
            panic!("{:?}", parsed.command)
        };
        assert!(parsed.json);
        let wanted = rollout::Options {
            file: "a.json".into(),
            list: Some("list".into()),
            few: Some(3),
            parallel: 4,
            settle: 5,
            patience: 6,
            ssh_config: Some("c".into()),
            ssh_options: vec!["A=b".into()],
            ..rollout::Options::default()
        };
        assert_eq!(*options, wanted);
    }

    #[cfg(feature = "workstation")]
    #[test]
    fn refuses_a_rollout_that_cannot_be() {
        let bad = [
            ("config apply --hosts list", "--hosts goes with a FILE"),
            ("config check a --hosts list", "--hosts belongs to"),
            ("config apply a --few 3", "--hosts"),
            ("config apply - --hosts -", "standard input"),
            (
                "config apply a --hosts b --expect 3",
                "--expect is for one device",
            ),
            ("config apply a --hosts b --parallel 0", "--parallel"),
        ];
        for (line, hint) in bad {
            let failure = parsed(line).unwrap_err();
            assert_eq!(failure.exit(), fleet_base::exit::Exit::Usage);
            assert!(failure.to_string().contains(hint), "{line:?}: {failure}");
        }
    }

    #[cfg(not(feature = "workstation"))]
    #[test]
    fn a_device_says_where_a_rollout_is_to_be_run() {
        let failure = parsed("config apply a --hosts list").unwrap_err();
        assert!(failure.to_string().contains("workstation"), "{failure}");
    }
}
