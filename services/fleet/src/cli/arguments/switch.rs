//! The options of `journal persist` and `journal volatile`.

use lexopt::{Parser, ValueExt};

use super::Command;
use crate::cli::failure::Failure;

/// The options of a switch. What was not given is 0, which leaves it to the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::cli) struct Switch {
    /// `--for`: seconds.
    pub(in crate::cli) seconds: u64,
    /// `--max-use`: bytes.
    pub(in crate::cli) max_use: u64,
    /// `--keep-free`: bytes.
    pub(in crate::cli) keep_free: u64,
}

/// Seconds in a unit of time.
const SPANS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3600), ("d", 24 * 3600)];
/// Bytes in a unit of size, as in `config.json`.
const SIZES: [(&str, u64); 3] = [("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30)];

impl Switch {
    /// Takes the option of this name and its value; `false` if it is none of these.
    pub(super) fn take(&mut self, name: &str, parser: &mut Parser) -> Result<bool, Failure> {
        let (field, units, example) = match name {
            "for" => (&mut self.seconds, &SPANS[..], "a time such as 90m, 24h or 7d"),
            "max-use" => (&mut self.max_use, &SIZES[..], "a size such as 64M"),
            "keep-free" => (&mut self.keep_free, &SIZES[..], "a size such as 64M"),
            _ => return Ok(false),
        };
        let value = parser
            .value()
            .and_then(ValueExt::string)
            .map_err(Failure::usage)?;
        *field = number(&value, units)
            .ok_or_else(|| Failure::usage(format!("--{name} takes {example}, not {value:?}")))?;
        Ok(true)
    }

    /// Gives the options to the command that they are for.
    pub(super) fn complete(self, command: Command) -> Result<Command, Failure> {
        let misplaced =
            |name: &str, whose: &str| Err(Failure::usage(format!("--{name} belongs to `journal {whose}`")));
        match command {
            Command::JournalPersist(_) => Ok(Command::JournalPersist(self)),
            _ if self.max_use > 0 => misplaced("max-use", "persist"),
            _ if self.keep_free > 0 => misplaced("keep-free", "persist"),
            Command::JournalVolatile(_) => Ok(Command::JournalVolatile(self)),
            _ if self.seconds > 0 => misplaced("for", "persist` and `journal volatile"),
            other => Ok(other),
        }
    }
}

/// A number above 0 with a unit behind it.
fn number(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    units.iter().find_map(|(unit, factor)| {
        let digits = text.strip_suffix(unit)?;
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = is_number.then(|| digits.parse::<u64>().ok()).flatten()?;
        number.checked_mul(*factor).filter(|&number| number > 0)
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::parsed;
    use super::*;

    #[test]
    fn understands_spans_and_sizes() {
        let switch = Switch {
            seconds: 24 * 3600,
            max_use: 64 << 20,
            keep_free: 1 << 30,
        };
        for line in [
            "journal persist --for 24h --max-use 64M --keep-free 1G",
            "journal --for 1d persist --max-use 65536K --keep-free 1024M",
        ] {
            assert_eq!(
                parsed(line).unwrap().command,
                Command::JournalPersist(switch),
                "{line}"
            );
        }
        let command = parsed("journal volatile --for 90m").unwrap().command;
        let Command::JournalVolatile(switch) = command else {
            panic!()
        };
        assert_eq!(switch.seconds, 5400);
    }

    #[test]
    fn refuses_with_the_rule() {
        for (line, hint) in [
            ("journal persist --for", "--for"),
            ("journal persist --for 24", "90m, 24h or 7d, not \"24\""),
            ("journal persist --for 0h", "\"0h\""),
            ("journal persist --for -1h", "--for"),
            ("journal persist --for 1.5h", "\"1.5h\""),
            ("journal persist --for 99999999999999999999d", "--for takes"),
            ("journal persist --for 999999999999999999d", "--for takes"),
            ("journal persist --max-use 64", "64M"),
            ("journal persist --max-use 1kb", "64M"),
            (
                "journal volatile --max-use 64M",
                "--max-use belongs to `journal persist`",
            ),
            ("journal status --for 1h", "--for belongs to"),
            ("config show --for 1h", "--for belongs to"),
        ] {
            let failure = parsed(line).unwrap_err();
            assert_eq!(failure.exit(), fleet_base::exit::Exit::Usage, "{line}");
            assert!(failure.to_string().contains(hint), "{line}: {failure}");
        }
    }
}
