//! BitBake with the layers that kas checks out: a build directory a kas file, and what is asked in it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use super::{Outcome, Report, output, venv::Venv};
use crate::setup::{self, Tool};
use crate::step::tethered;

/// What BitBake looks for on the machine before it parses (`HOSTTOOLS` of bitbake.conf).
const TOOLS: &[Tool] = &[
    tool("chrpath", "chrpath"),
    tool("cpio", "cpio"),
    tool("diffstat", "diffstat"),
    tool("file", "file"),
    tool("g++", "g++"),
    tool("gawk", "gawk"),
    tool("git", "git"),
    tool("lz4c", "lz4"),
    tool("patch", "patch"),
    tool("rpcgen", "rpcsvc-proto"),
    tool("unshare", "util-linux"),
    tool("zstd", "zstd"),
    tool("locale-gen", "locales"),
];

const fn tool(file: &'static str, package: &'static str) -> Tool {
    Tool { file, package }
}

/// A layer that every build needs: when git reaches it, it reaches the others.
const PROBE: &str = "https://github.com/openembedded/bitbake.git";

/// A checkout in which BitBake can be run, for one kas file.
pub(super) struct BitBake {
    venv: Venv,
    top: PathBuf,
    work: PathBuf,
    /// The kas files, with the one that is only for parsing.
    files: String,
    /// Where kas writes conf/ and BitBake its cache: each kas file has its own, so that none spoils another's cache.
    build: PathBuf,
    /// Where the session's output goes.
    log: PathBuf,
}

impl BitBake {
    /// Checks the layers out for the kas file `file` (several: with colons), with the settings `extra` for parsing. The
    /// inner error says why that cannot be done on this machine.
    pub(super) fn prepare(
        report: &Report<'_>,
        top: &Path,
        file: &str,
        extra: &str,
    ) -> anyhow::Result<Result<Self, String>> {
        let venv = Venv::ensure(report.steps, top)?;
        if std::env::var_os("KAS_PREMIRRORS").is_none()
            && let Err(reason) = reachable()
        {
            return Ok(Err(format!(
                "the layers cannot be checked out: {reason}; KAS_PREMIRRORS may name mirrors (kas's manual)"
            )));
        }
        if let Err(error) = setup::ensure(&[TOOLS]).and_then(|()| locale()) {
            return Ok(Err(format!("BitBake cannot run here: {error:#}")));
        }
        if let Err(error) = unprivileged() {
            return Ok(Err(format!(
                "BitBake does not run as root, and there is no other way here: {error:#}"
            )));
        }

        let name = name(file);
        let work = top.join("build/layer");
        let (logs, build) = (work.join("log"), work.join("kas").join(format!("build-{name}")));
        for directory in [&work.join("home"), &logs, &build] {
            fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        }
        // kas wants all its files in one repository, so this one lies below build/ too.
        let parse = work.join(format!("parse-{name}.yml"));
        fs::write(&parse, format!("{}{extra}", include_str!("parse.yml")))
            .with_context(|| format!("cannot write {}", parse.display()))?;
        let bitbake = Self {
            venv,
            top: top.to_owned(),
            files: format!("{file}:build/layer/parse-{name}.yml"),
            build,
            log: logs.join(format!("bitbake-{name}.log")),
            work,
        };

        report.steps.say(&format!("checking out the layers of {file}"));
        let (success, text) = output(&mut tethered(&bitbake.kas(&["checkout", &bitbake.files])))?;
        if success {
            return Ok(Ok(bitbake));
        }
        // What git could not fetch is this machine's limit; everything else that kas says is a fault of ours.
        if let Some(fatal) = text.lines().find(|line| line.starts_with("fatal: ")) {
            return Ok(Err(format!("the layers cannot be checked out: {fatal}")));
        }
        bail!("kas does not accept {}:\n{text}", bitbake.files);
    }

    /// Where kas puts the other layers.
    pub(super) fn checkout(&self) -> PathBuf {
        self.work.join("kas")
    }

    /// A Python program of ours, in the environment of [`Venv`].
    pub(super) fn python(&self) -> Command {
        let mut command = self.venv.command("python");
        // No bytecode beside what is read.
        command.arg("-B").current_dir(&self.top);
        command
    }

    /// kas, as another user than root and at low priority.
    fn kas(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("nice");
        if nix::unistd::geteuid().is_root() {
            command.args(UNSHARE);
        }
        command
            .arg(self.venv.bin.join("kas"))
            .args(arguments)
            .current_dir(&self.top);
        command
            .env("HOME", self.work.join("home"))
            .env("LC_ALL", "en_US.UTF-8")
            .env("LANG", "en_US.UTF-8");
        command
            .env("KAS_WORK_DIR", self.checkout())
            .env("KAS_BUILD_DIR", &self.build);
        // One commit of each repository is enough, and a mirror may have no more.
        if std::env::var_os("KAS_CLONE_DEPTH").is_none() {
            command.env("KAS_CLONE_DEPTH", "1");
        }
        command
    }

    /// Runs shell commands in the build directory until one fails, all with one server: a new one would parse everything
    /// again after the first time (its cache key depends on a cache of Python code that only then is there).
    pub(super) fn session(&self, commands: &[String]) -> anyhow::Result<Vec<Section>> {
        let mut shell = "exec 2>&1; export BB_SERVER_TIMEOUT=60; true".to_owned();
        for command in commands {
            write!(shell, " && {{ {command}; }} && echo {DONE:?}")?;
        }
        shell.push_str("; bitbake -m");
        let (_, text) = output(&mut tethered(&self.kas(&["shell", &self.files, "-c", &shell])))?;
        fs::write(&self.log, &text).with_context(|| format!("cannot write {}", self.log.display()))?;
        Ok(sections(&text, commands.len()))
    }
}

/// A kas file's name for directories and logs.
pub(super) fn name(file: &str) -> String {
    file.replace(".yml", "").replace(['/', ':'], "-")
}

/// Ends the output of a command that succeeded, on a line of its own.
const DONE: &str = "-- done --";

/// What a command printed.
#[derive(Default)]
pub(super) struct Section {
    pub(super) text: String,
    started: bool,
    pub(super) done: bool,
}

impl Section {
    /// Any error or warning is a failure.
    pub(super) fn quiet(&self, good: impl FnOnce(&str) -> String) -> Outcome {
        let findings = findings(&self.text);
        if !findings.is_empty() {
            Outcome::Failed(format!(
                "{} errors and warnings:\n{}",
                findings.len(),
                findings.join("\n")
            ))
        } else if self.done {
            Outcome::Passed(format!("{}, no error, no warning", good(&self.text)))
        } else if self.started {
            Outcome::Failed(format!("it ended early:\n{}", self.text))
        } else {
            Outcome::Skipped("the step before it failed".to_owned())
        }
    }
}

/// The output of a session's commands.
fn sections(text: &str, count: usize) -> Vec<Section> {
    let mut sections: Vec<Section> = std::iter::repeat_with(Section::default).take(count).collect();
    let mut part = 0;
    for line in text.lines() {
        let Some(section) = sections.get_mut(part) else {
            break;
        };
        section.started = true;
        if line.trim() == DONE {
            section.done = true;
            part += 1;
        } else {
            section.text.push_str(line);
            section.text.push('\n');
        }
    }
    sections
}

/// Root, seen from inside as an ordinary user: BitBake refuses uid 0, and the checkout may lie in root's home.
const UNSHARE: &[&str] = &["unshare", "--user", "--map-user=1000", "--map-group=1000", "--"];

fn unprivileged() -> anyhow::Result<()> {
    if nix::unistd::geteuid().is_root() {
        let (success, text) = output(Command::new(UNSHARE[0]).args(&UNSHARE[1..]).arg("true"))?;
        anyhow::ensure!(success, "{text}");
    }
    Ok(())
}

/// Whether git reaches the layers' hosts; the error is git's last line.
fn reachable() -> Result<(), String> {
    let mut command = Command::new("timeout");
    command
        .args(["20", "git", "ls-remote", "--exit-code", PROBE, "HEAD"])
        .env("GIT_TERMINAL_PROMPT", "0");
    match output(&mut command) {
        Ok((true, _)) => Ok(()),
        Ok((false, text)) => Err(text
            .lines()
            .next_back()
            .unwrap_or("no answer within 20 s")
            .to_owned()),
        Err(error) => Err(format!("{error:#}")),
    }
}

/// BitBake wants exactly this locale. As root it is made, on Debian.
fn locale() -> anyhow::Result<()> {
    const NAME: &str = "en_US.UTF-8";
    let there =
        || output(Command::new("locale").arg("-a")).is_ok_and(|(_, text)| text.contains("en_US.utf8"));
    if there() {
        return Ok(());
    }
    if nix::unistd::geteuid().is_root() {
        // Whether it worked is asked below; localedef also fails for a mere warning.
        output(Command::new("localedef").args(["-i", "en_US", "-f", "UTF-8", NAME]))?;
    }
    anyhow::ensure!(
        there(),
        "there is no locale {NAME}; make it with `localedef -i en_US -f UTF-8 {NAME}` as root"
    );
    Ok(())
}

/// The errors and warnings in BitBake's output, with the indented lines that go on with them. A progress line may precede
/// one on the same line.
fn findings(text: &str) -> Vec<String> {
    let mut findings: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in text.lines() {
        let found = ["ERROR: ", "WARNING: "].iter().find_map(|word| line.find(word));
        if let Some(at) = found {
            findings.push(line[at..].to_owned());
            goes_on = true;
        } else if goes_on && (line.is_empty() || line.starts_with(' ')) {
            if let Some(finding) = findings.last_mut().filter(|_| !line.is_empty()) {
                finding.push('\n');
                finding.push_str(line);
            }
        } else {
            goes_on = false;
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_seen_behind_the_progress_line() {
        let text =
            "Loading cache...done.\nParsing recipes...   ERROR: a.bb: no\nNOTE: fine\nWARNING: b.bb: hm\n";
        assert_eq!(findings(text), ["ERROR: a.bb: no", "WARNING: b.bb: hm"]);
    }

    #[test]
    fn a_finding_has_the_lines_that_say_what_it_is() {
        let text = "ERROR:  a potential misconfiguration.\n    These are:\n\n    TMPDIR has moved.\n\nSummary: 1 ERROR message\n  x\n";
        assert_eq!(
            findings(text),
            ["ERROR:  a potential misconfiguration.\n    These are:\n    TMPDIR has moved."]
        );
    }

    #[test]
    fn a_part_that_was_not_reached_is_skipped() {
        let sections = sections("Parsing\n-- done --\nERROR: no provider of x\n", 3);
        let outcomes: Vec<Outcome> = sections
            .iter()
            .map(|section| section.quiet(str::to_owned))
            .collect();
        assert!(matches!(
            outcomes[..],
            [Outcome::Passed(_), Outcome::Failed(_), Outcome::Skipped(_)]
        ));
    }
}
