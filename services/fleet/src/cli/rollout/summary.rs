//! What a rollout came to: what was changed where, what was not and why, and how to go on.

use std::path::Path;

use fleet_base::exit::Exit;
use serde_json::{Value, json};

use super::course::{Course, Stop};
use super::hosts::Host;
use super::options::Options;
use super::outcome::{self, Outcome};
use super::view::{Board, Mark};
use crate::cli::failure::Failure;
use crate::cli::output;

/// Tells it, and returns the exit code.
pub(super) fn show(board: &Board, course: &Course, options: &Options, json: bool) -> Result<Exit, Failure> {
    let result = Verdict::of(board, course);
    if json {
        output::line(&to_json(board, result, options).to_string())?;
    } else {
        for line in lines(board, result, options) {
            output::line(&line)?;
        }
    }
    Ok(result.exit())
}

/// How a rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Every device has the values.
    Complete,
    /// Every device that could be reached has.
    Incomplete,
    /// The first device of the list could not be reached.
    FirstUnreachable,
    /// A device ended badly.
    Stopped,
    /// A person ended it.
    Interrupted,
}

impl Verdict {
    fn of(board: &Board, course: &Course) -> Self {
        match course.stopped() {
            Some(Stop::Bad) => Self::Stopped,
            Some(Stop::FirstUnreachable) => Self::FirstUnreachable,
            Some(Stop::Interrupted) => Self::Interrupted,
            None if board
                .outcomes()
                .any(|(_, outcome)| matches!(outcome, Outcome::Unreachable(_))) =>
            {
                Self::Incomplete
            }
            None => Self::Complete,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Incomplete => "incomplete",
            Self::FirstUnreachable => "first-unreachable",
            Self::Stopped => "stopped",
            Self::Interrupted => "interrupted",
        }
    }

    const fn exit(self) -> Exit {
        match self {
            Self::Complete => Exit::Done,
            Self::Incomplete | Self::FirstUnreachable => Exit::Unavailable,
            Self::Stopped | Self::Interrupted => Exit::Failure,
        }
    }
}

fn to_json(board: &Board, result: Verdict, options: &Options) -> Value {
    let devices: Vec<Value> = board
        .rows()
        .map(|(host, mark)| {
            let (state, change, reason) = match mark {
                Mark::Waiting => ("not-started", None, ""),
                Mark::At(step, _) => (step.word(), step.change(), ""),
                Mark::Ended(outcome) => (outcome.word(), outcome.change(), outcome.reason()),
            };
            let mut device = outcome::json(&host.to_string(), state, change, reason);
            if let Some(device) = device.as_object_mut() {
                device.shift_remove("event");
            }
            device
        })
        .collect();
    let go_on = (result != Verdict::Complete).then(|| command(options));
    json!({
        "event": "summary",
        "result": result.word(),
        "counts": board.counts().into_iter().map(|(word, count)| (word.replace(' ', "-"), Value::from(count))).collect::<serde_json::Map<_, _>>(),
        "devices": devices,
        "go_on": go_on,
    })
}

fn lines(board: &Board, result: Verdict, options: &Options) -> Vec<String> {
    let counts: Vec<String> = board
        .counts()
        .into_iter()
        .map(|(word, count)| format!("{count} {word}"))
        .collect();
    let mut lines = vec![String::new(), format!("{}.", counts.join(", "))];
    let list = |lines: &mut Vec<String>, title: &str, wanted: &dyn Fn(&Outcome) -> bool| {
        let mut found = board.outcomes().filter(|(_, outcome)| wanted(outcome)).peekable();
        if found.peek().is_some() {
            lines.push(title.to_owned());
        }
        lines.extend(
            found.map(|(host, outcome)| format!("  {host}: {}: {}", outcome.word(), outcome.sentence())),
        );
    };
    list(&mut lines, "Stopped, because of:", &|outcome| {
        matches!(outcome, Outcome::Failed(_))
    });
    list(&mut lines, "Not reached, and nothing sent:", &|outcome| {
        matches!(outcome, Outcome::Unreachable(_))
    });
    if result == Verdict::Complete {
        return lines;
    }
    let dropped: Vec<String> = board
        .rows()
        .filter_map(|(host, mark)| dropped(host, mark))
        .collect();
    if !dropped.is_empty() {
        lines.push("Under way when this was ended; what became of them is not known:".to_owned());
        lines.extend(dropped);
    }
    list(&mut lines, "Changed, and so they stay:", &|outcome| {
        matches!(outcome, Outcome::Done(_))
    });
    let is_changed = |mark: &Mark| match mark {
        Mark::Waiting => false,
        Mark::At(step, _) => step.change().is_some(),
        Mark::Ended(outcome) => outcome.change().is_some(),
    };
    if board.rows().any(|(_, mark)| is_changed(mark)) {
        lines.push(
            "To undo a change, on the device: `fleet config revert N`, N being the revision before the arrow.".to_owned(),
        );
    }
    if result == Verdict::FirstUnreachable {
        lines.push(
            "The first device of the list is the one that a change is tried on: wait for it, or put another one first."
                .to_owned(),
        );
    }
    if board.outcomes().any(|(_, outcome)| outcome.word() == "lost") {
        lines.push(
            "Do not go on before you know why a device was lost: it was well before this change.".to_owned(),
        );
    }
    lines.push(format!(
        "To go on, the same again: devices that have the values are left as they are.\n  {}",
        command(options)
    ));
    lines
}

/// The line of a device that a second Ctrl-C left in the middle.
fn dropped(host: &Host, mark: &Mark) -> Option<String> {
    let Mark::At(step, _) = mark else { return None };
    let change = step.change().map(|change| format!(", {}", change.sentence()));
    Some(format!("  {host}: {}{}", step.word(), change.unwrap_or_default()))
}

/// The command line that goes on, as a shell takes it.
fn command(options: &Options) -> String {
    let usual = Options::default();
    let mut words = vec![
        "fleet".to_owned(),
        "config".to_owned(),
        "apply".to_owned(),
        Path::new(&options.file).display().to_string(),
    ];
    let mut option = |name: &str, value: String| words.extend([format!("--{name}"), value]);
    if let Some(list) = &options.list {
        option("hosts", Path::new(list).display().to_string());
    }
    for host in &options.hosts {
        option("host", host.clone());
    }
    if let Some(few) = options.few {
        option("few", few.to_string());
    }
    if options.parallel != usual.parallel {
        option("parallel", options.parallel.to_string());
    }
    if options.settle != usual.settle {
        option("settle", options.settle.to_string());
    }
    if options.patience != usual.patience {
        option("patience", options.patience.to_string());
    }
    if let Some(file) = &options.ssh_config {
        option("ssh-config", Path::new(file).display().to_string());
    }
    for value in &options.ssh_options {
        option("ssh-option", value.clone());
    }
    words
        .iter()
        .map(|word| quoted(word))
        .collect::<Vec<_>>()
        .join(" ")
}

/// In quotes where a shell wants them.
fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./=:@,+%".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::course::Ending;
    use super::super::hosts;
    use super::super::outcome::{Change, Failed, Fault};
    use super::*;

    fn options() -> Options {
        Options {
            file: "a patch.json".into(),
            list: Some("hosts".into()),
            settle: 2,
            ssh_options: vec!["ProxyCommand=x 'y'".into()],
            ..Options::default()
        }
    }

    fn rollout(outcomes: Vec<Outcome>) -> (Board, Course) {
        let hosts = hosts::parse_list("alpha\nbeta\ngamma\n").unwrap();
        let mut course = Course::new(hosts.len(), None, 1);
        let mut board = Board::new(Arc::new(hosts));
        for (index, outcome) in outcomes.into_iter().enumerate() {
            assert_eq!(course.next(), Some(index));
            course.ended(outcome.ending());
            board.ended(index, outcome);
        }
        (board, course)
    }

    const fn done() -> Outcome {
        Outcome::Done(Change {
            before: 4,
            after: Some(5),
        })
    }

    #[test]
    fn exit_codes_say_how_it_ended() {
        let refused = || {
            Outcome::Failed(Failed {
                fault: Fault::Refused,
                reason: "no".into(),
                change: None,
            })
        };
        let away = || Outcome::Unreachable("away".into());
        let cases = [
            (vec![done(), Outcome::Unchanged(1), done()], Verdict::Complete, 0),
            (vec![done(), away(), done()], Verdict::Incomplete, 69),
            (vec![away()], Verdict::FirstUnreachable, 69),
            (vec![done(), refused()], Verdict::Stopped, 1),
        ];
        for (outcomes, result, exit) in cases {
            let (board, course) = rollout(outcomes);
            assert!(course.is_over());
            let found = Verdict::of(&board, &course);
            assert_eq!((found, found.exit() as u8), (result, exit));
        }
        let (board, mut course) = rollout(vec![done()]);
        course.interrupt();
        assert_eq!(Verdict::of(&board, &course).exit() as u8, 1);
        assert_eq!(done().ending(), Ending::Well);
    }

    #[test]
    fn a_stopped_one_says_what_was_changed_and_how_to_go_on() {
        let refused = Outcome::Failed(Failed {
            fault: Fault::Refused,
            reason: "hostname: no".into(),
            change: None,
        });
        let (board, course) = rollout(vec![done(), refused]);
        let found = lines(&board, Verdict::of(&board, &course), &options());
        assert_eq!(
            found.join("\n"),
            "\n\
             1 done, 1 refused, 1 not started.\n\
             Stopped, because of:\n  \
             beta: refused: nothing was changed; hostname: no\n\
             Changed, and so they stay:\n  \
             alpha: done: revision 4 → 5\n\
             To undo a change, on the device: `fleet config revert N`, N being the revision before the arrow.\n\
             To go on, the same again: devices that have the values are left as they are.\n  \
             fleet config apply 'a patch.json' --hosts hosts --settle 2 --ssh-option 'ProxyCommand=x '\\''y'\\'''"
        );
        let json = to_json(&board, Verdict::Stopped, &options());
        assert_eq!(json["result"], "stopped");
        assert_eq!(json["counts"]["not-started"], 1);
        assert_eq!(json["devices"][1]["state"], "refused");
        assert_eq!(json["devices"][0]["revision"], 5);
        assert_eq!(json["devices"][2]["state"], "not-started");
    }
}
