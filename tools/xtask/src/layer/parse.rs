//! The layer as BitBake reads it, with the layers that kas checks out: every recipe parses without an error or a
//! warning, everything that the image asks for has a provider, and the recipes of others came out configured as meant.

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

/// What appends of ours turn on and off, by recipe.
const CONFIGURED: &[Configured] = &[
    Configured {
        recipe: "systemd",
        on: &["journal-upload", "microhttpd", "pstore", "repart"],
        off: &[
            "networkd",
            "nss-resolve",
            "polkit",
            "resolved",
            "serial-getty-generator",
            "timesyncd",
        ],
    },
    Configured {
        recipe: "networkmanager",
        on: &[
            "concheck",
            "dnsmasq",
            "gnutls",
            "man-resolv-conf",
            "nmcli",
            "wifi",
        ],
        off: &["ifupdown", "nss", "polkit"],
    },
    Configured {
        recipe: "chrony",
        on: &["privdrop"],
        off: &[],
    },
    Configured {
        recipe: "openssh",
        on: &["systemd-sshd-service-mode"],
        off: &["hostkey-ecdsa", "systemd-sshd-socket-mode"],
    },
];

/// A recipe and words of its `PACKAGECONFIG`.
struct Configured {
    recipe: &'static str,
    on: &'static [&'static str],
    off: &'static [&'static str],
}

/// Parses for one kas file: three checks, or as many skipped ones with one reason.
pub(super) fn check(report: &mut Report<'_>, top: &Path, file: &str) {
    let names = ["parse", "providers", "configuration"].map(|name| format!("{name} ({file})"));
    let bitbake = match BitBake::prepare(report, top, file) {
        Ok(Ok(bitbake)) => bitbake,
        Ok(Err(reason)) => {
            for name in &names {
                report.add(name, Outcome::Skipped(reason.clone()));
            }
            return;
        }
        Err(error) => {
            report.add(&names[0], Outcome::Failed(format!("{error:#}")));
            return;
        }
    };
    report.steps.say(&format!(
        "parsing with BitBake for {file}: a few minutes the first time"
    ));
    match bitbake.session() {
        Ok([parse, providers, configuration]) => {
            report.add(&names[0], parse.quiet("every recipe parses"));
            report.add(&names[1], providers.quiet("fleet-image has everything it needs"));
            report.add(&names[2], configuration.configured());
        }
        Err(error) => report.add(&names[0], Outcome::Failed(format!("{error:#}"))),
    }
}

/// A checkout in which BitBake can be run.
struct BitBake {
    venv: Venv,
    top: PathBuf,
    work: PathBuf,
    /// The kas files, with the one that is only for parsing.
    files: String,
    /// Where the session's output goes.
    log: PathBuf,
}

impl BitBake {
    /// Checks the layers out. The inner error says why that cannot be done on this machine.
    fn prepare(report: &Report<'_>, top: &Path, file: &str) -> anyhow::Result<Result<Self, String>> {
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

        let work = top.join("build/layer");
        let home = work.join("home");
        fs::create_dir_all(&home).with_context(|| format!("cannot make {}", home.display()))?;
        // kas wants all its files in one repository, so this one lies below build/ too.
        let parse = work.join("parse.yml");
        fs::write(&parse, include_str!("parse.yml"))
            .with_context(|| format!("cannot write {}", parse.display()))?;
        let logs = work.join("log");
        fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
        let log = logs.join(format!(
            "bitbake-{}.log",
            file.replace('/', "-").trim_end_matches(".yml")
        ));
        let bitbake = Self {
            venv,
            top: top.to_owned(),
            work,
            files: format!("{file}:build/layer/parse.yml"),
            log,
        };

        report.steps.say("checking out the layers");
        fs::create_dir_all(bitbake.checkout())
            .with_context(|| format!("cannot make {}", bitbake.checkout().display()))?;
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

    /// Where kas puts the other layers, and the build directory.
    fn checkout(&self) -> PathBuf {
        self.work.join("kas")
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
            .env("KAS_WORK_DIR", self.work.join("kas"))
            .env_remove("KAS_BUILD_DIR");
        // One commit of each repository is enough, and a mirror may have no more.
        if std::env::var_os("KAS_CLONE_DEPTH").is_none() {
            command.env("KAS_CLONE_DEPTH", "1");
        }
        command
    }

    /// Parses, resolves the image and asks for the configuration of recipes, all with one server: a new one would
    /// parse everything again after the first time (its cache key depends on a cache of Python code that only then is
    /// there).
    fn session(&self) -> anyhow::Result<[Section; 3]> {
        let mut shell = format!(
            "exec 2>&1; export BB_SERVER_TIMEOUT=60; bitbake -p && echo {DONE:?} && bitbake -g fleet-image && echo {DONE:?}"
        );
        for Configured { recipe, .. } in CONFIGURED {
            write!(
                shell,
                " && echo {recipe} $(bitbake-getvar --quiet --value --recipe {recipe} PACKAGECONFIG)"
            )?;
        }
        write!(shell, " && echo {DONE:?}; bitbake -m")?;
        let (_, text) = output(&mut tethered(&self.kas(&["shell", &self.files, "-c", &shell])))?;
        fs::write(&self.log, &text).with_context(|| format!("cannot write {}", self.log.display()))?;
        Ok(sections(&text))
    }
}

/// Ends the output of a part of the session that succeeded, on a line of its own.
const DONE: &str = "-- done --";

/// What a part of the session printed.
#[derive(Default)]
struct Section {
    text: String,
    started: bool,
    done: bool,
}

impl Section {
    /// Any error or warning is a failure.
    fn quiet(&self, good: &str) -> Outcome {
        let findings = findings(&self.text);
        if !findings.is_empty() {
            Outcome::Failed(format!(
                "{} errors and warnings:\n{}",
                findings.len(),
                findings.join("\n")
            ))
        } else if self.done {
            Outcome::Passed(format!("{good}, no error, no warning"))
        } else if self.started {
            Outcome::Failed(format!(
                "BitBake ended early and does not say why:\n{}",
                self.text
            ))
        } else {
            Outcome::Skipped("the step before it failed".to_owned())
        }
    }

    /// Lines of a recipe and the words of its `PACKAGECONFIG`, against [`CONFIGURED`].
    fn configured(&self) -> Outcome {
        if !self.done {
            return self.quiet("");
        }
        let mut problems = Vec::new();
        for Configured { recipe, on, off } in CONFIGURED {
            let words: Vec<&str> = self
                .text
                .lines()
                .map(|line| line.split_whitespace().collect::<Vec<_>>())
                .find(|words| words.first() == Some(recipe))
                .unwrap_or_default();
            problems.extend(
                on.iter()
                    .filter(|&word| !words.contains(word))
                    .map(|word| format!("{recipe} lacks {word}")),
            );
            problems.extend(
                off.iter()
                    .filter(|&word| words.contains(word))
                    .map(|word| format!("{recipe} has {word}")),
            );
        }
        if problems.is_empty() {
            Outcome::Passed(
                CONFIGURED
                    .iter()
                    .map(|configured| configured.recipe)
                    .collect::<Vec<_>>()
                    .join(" "),
            )
        } else {
            Outcome::Failed(problems.join("; "))
        }
    }
}

/// The output of the session's three parts.
fn sections(text: &str) -> [Section; 3] {
    let mut sections = <[Section; 3]>::default();
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

/// The errors and warnings in BitBake's output. A progress line may precede one on the same line.
fn findings(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| {
            ["ERROR: ", "WARNING: "]
                .iter()
                .find_map(|word| line.find(word))
                .map(|at| &line[at..])
        })
        .collect()
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
    fn a_part_that_was_not_reached_is_skipped() {
        let [parse, providers, configuration] = sections("Parsing\n-- done --\nERROR: no provider of x\n");
        assert!(matches!(parse.quiet(""), Outcome::Passed(_)));
        assert!(matches!(providers.quiet(""), Outcome::Failed(_)));
        assert!(matches!(configuration.configured(), Outcome::Skipped(_)));
    }
}
