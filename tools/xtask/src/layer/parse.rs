//! The layer as BitBake reads it: every recipe parses without an error or a warning, everything that the images ask for
//! has a provider, their tasks run dry, and what others' recipes have to be configured as is asserted.

use std::path::Path;

use super::bitbake::{BitBake, Section};
use super::proof::{Proof, Seen};
use super::{Outcome, Report, cases};

/// The kas file of `cargo xtask layer-check` without arguments: the machine of `kas.yml`, with the example of a product.
pub(super) const DEFAULT: &str = "docs/example/kas.yml";

/// The option with which testimage runs in an image.
const TESTIMAGE: &str = "kas/testimage.yml";

/// What is asked for a kas file.
#[derive(Clone, Copy)]
pub(super) struct Depth {
    /// Every recipe of every layer, or only of those folders that an image takes anything from: a third of the time.
    pub(super) whole: bool,
    /// Also `bitbake -n`: the tasks of the image, in their order, without running them. A process a task: many minutes.
    pub(super) dry_run: bool,
}

/// Masks the recipes that no image of ours takes anything from: of meta-openembedded nearly all, so that those it does are
/// named. BitBake says `Nothing RPROVIDES` of one that is missing here.
const MASK: &str = r#"    BBMASK = "/meta-(oe|networking|python|raspberrypi)/dynamic-layers/ \
        /meta-python/recipes- \
        /meta-oe/recipes-[^/]+/(?!(htop|iperf3|jansson|jq|keyutils|libmbim|libndp|libnvme|libqmi|libqrtr-glib|modemmanager|onig|pps-tools)/) \
        /meta-networking/recipes-[^/]+/(?!(chrony|dnsmasq|libnftnl|networkmanager|nftables|openvpn|tcpdump|wireguard)/) \
        /openembedded-core/meta/recipes-(rt|sato)/"
    BBFILE_PATTERN_IGNORE_EMPTY_meta-python = "1"
"#;

/// Parses for one kas file, and keeps what was proven for docs/layer-report.md.
pub(super) fn check(report: &mut Report<'_>, top: &Path, file: &str, depth: Depth) {
    let product = file == DEFAULT;
    let mut names = vec!["parse", "providers"];
    if depth.dry_run {
        names.push("dry run");
    }
    if product {
        names.push("features");
    }
    let label = |name: &str| format!("{name} ({file})");
    let extra = if depth.whole { "" } else { MASK };
    let bitbake = match BitBake::prepare(report, top, file, extra) {
        Ok(Ok(bitbake)) => bitbake,
        Ok(Err(reason)) => {
            for name in names {
                report.add(&label(name), Outcome::Skipped(reason.clone()));
            }
            return;
        }
        Err(error) => {
            report.add(&label(names[0]), Outcome::Failed(format!("{error:#}")));
            return;
        }
    };
    if product {
        report.add("cases of testimage", cases::check(&bitbake, top).into());
    }

    report.steps.say(&format!(
        "parsing with BitBake for {file}: a few minutes the first time"
    ));
    let seen = Seen::now(top);
    let commands: Vec<String> = names.iter().map(|name| command(name, file, top)).collect();
    let sections = match bitbake.session(&commands) {
        Ok(sections) => sections,
        Err(error) => {
            report.add(&label(names[0]), Outcome::Failed(format!("{error:#}")));
            return;
        }
    };
    for (name, section) in names.iter().zip(&sections) {
        let outcome = match *name {
            "features" if section.done => Outcome::Passed(section.text.trim().to_owned()),
            "features" => section.quiet(str::to_owned),
            _ => section.quiet(|text| figures(name, text)),
        };
        report.add(&label(name), outcome);
    }
    if shown(&names, &sections) {
        let kept = seen.and_then(|seen| Proof::of(top, file, depth, seen, &sections)?.keep(top));
        if let Err(error) = kept {
            report.add(&label("result"), Outcome::Failed(format!("{error:#}")));
        }
    }
}

/// Whether everything passed that a line of the report is about: not what is only asked once.
fn shown(names: &[&str], sections: &[Section]) -> bool {
    names
        .iter()
        .zip(sections)
        .filter(|(name, _)| **name != "features")
        .all(|(_, section)| matches!(section.quiet(str::to_owned), Outcome::Passed(_)))
}

/// What testimage waits for the login on is the last of these, and only the first has a console (kas/testimage.yml).
const ONE_CONSOLE: &str = r#"consoles=$(bitbake-getvar --quiet --value -r fleet-image-dev SERIAL_CONSOLES) && { test $(echo "$consoles" | wc -w) = 1 || { echo "ERROR: testimage would wait for a login on the last of $consoles"; false; }; } && "#;

/// The shell command of a part of the session.
fn command(name: &str, file: &str, top: &Path) -> String {
    match name {
        "parse" => "bitbake -p".to_owned(),
        // Figures are those of fleet-image, which therefore comes last.
        "providers" => format!(
            "{}bitbake -g fleet-image-dev{} && bitbake -g fleet-image && echo machine $(bitbake-getvar --quiet --value MACHINE) \
             && echo recipes $(grep -c . pn-buildlist) && echo tasks $(grep -c 'label=' task-depends.dot)",
            if file.contains(TESTIMAGE) { ONE_CONSOLE } else { "" },
            if file == DEFAULT { " pump-image" } else { "" }
        ),
        "dry run" => "bitbake -n fleet-image".to_owned(),
        _ => format!(
            "python3 -B {}",
            top.join("tools/xtask/src/layer/features.py").display()
        ),
    }
}

/// What a part that succeeded is worth saying of.
fn figures(name: &str, text: &str) -> String {
    match name {
        "parse" => format!("{} recipes parse", parsed(text).unwrap_or("all")),
        "providers" => format!(
            "the images have everything they need ({} recipes, {} tasks for fleet-image)",
            value(text, "recipes").unwrap_or("?"),
            value(text, "tasks").unwrap_or("?")
        ),
        _ => format!("{} tasks in their order", attempted(text).unwrap_or("all")),
    }
}

/// Of "Parsing of 2998 .bb files complete (…)".
pub(super) fn parsed(text: &str) -> Option<&str> {
    text.split_once("Parsing of ")?
        .1
        .split_once(" .bb files complete")
        .map(|(count, _)| count)
}

/// Of "Tasks Summary: Attempted 4344 tasks of which …".
pub(super) fn attempted(text: &str) -> Option<&str> {
    text.split_once("Summary: Attempted ")?
        .1
        .split_once(" tasks")
        .map(|(count, _)| count)
}

/// Of the line "key value".
pub(super) fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
        .map(str::trim)
}

/// What the sections of a session say, by the name of the part.
pub(super) struct Figures<'a> {
    /// Not where its cache had all of them.
    pub(super) parsed: Option<&'a str>,
    pub(super) machine: &'a str,
    pub(super) recipes: &'a str,
    pub(super) tasks: &'a str,
    pub(super) attempted: Option<&'a str>,
}

impl<'a> Figures<'a> {
    /// Read from the output of a session.
    pub(super) fn of(sections: &'a [Section], dry_run: bool) -> Option<Self> {
        let [parse, providers, rest @ ..] = sections else {
            return None;
        };
        Some(Self {
            parsed: parsed(&parse.text),
            machine: value(&providers.text, "machine")?,
            recipes: value(&providers.text, "recipes")?,
            tasks: value(&providers.text, "tasks")?,
            attempted: if dry_run {
                Some(attempted(&rest.first()?.text)?)
            } else {
                None
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_what_bitbake_says() {
        let parse = "Parsing recipes...done.\nParsing of 2999 .bb files complete (0 cached, 2999 parsed). 5248 targets, 782 skipped.\n";
        assert_eq!(parsed(parse), Some("2999"));
        let graph =
            "NOTE: PN build list saved to 'pn-buildlist'\nmachine raspberrypi5\nrecipes 274\ntasks 4344\n";
        assert_eq!(value(graph, "machine"), Some("raspberrypi5"));
        assert_eq!(value(graph, "recipes"), Some("274"));
        let dry = "NOTE: Tasks Summary: Attempted 4344 tasks of which 0 didn't need to be rerun and all succeeded.\n";
        assert_eq!(attempted(dry), Some("4344"));
    }
}
