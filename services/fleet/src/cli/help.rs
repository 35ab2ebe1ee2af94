//! Help that a person can work from.

use fleet_base::exit::Exit;

use super::failure::Failure;
use super::output;

/// A page: the words that ask for it, and its text.
const PAGES: &[(&[&str], &str)] = &[
    (&[], include_str!("help/fleet.txt")),
    (&["config"], include_str!("help/config.txt")),
    (&["connectivity"], include_str!("help/connectivity.txt")),
    (&["journal"], include_str!("help/journal.txt")),
    #[cfg(feature = "workstation")]
    (&["rollout"], include_str!("help/rollout.txt")),
    (&["exit-codes"], include_str!("help/exit-codes.txt")),
];

/// `fleet help [TOPIC]`. The page of the first word covers its subcommands.
pub(super) fn show(topic: &[String]) -> Result<Exit, Failure> {
    let first = topic.first().map(String::as_str);
    let page = PAGES
        .iter()
        .find(|(words, _)| words.first().copied() == first.filter(|&word| word != "status"));
    match page {
        Some((_, text)) => output::line(text.trim_end()),
        None => Err(Failure::usage(format!(
            "there is no help on {:?}",
            topic.join(" ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_a_page_for_every_command() {
        for topic in ["status", "config", "connectivity", "journal", "exit-codes"] {
            assert!(show(&[topic.to_owned()]).is_ok(), "{topic}");
        }
        let rollout = show(&["rollout".to_owned()]);
        assert_eq!(rollout.is_ok(), cfg!(feature = "workstation"));
        assert!(show(&["frob".to_owned()]).is_err());
    }

    #[test]
    fn fits_a_terminal() {
        for (words, text) in PAGES {
            for line in text.lines() {
                assert!(line.chars().count() <= 80, "{words:?}: {line}");
            }
        }
    }
}
