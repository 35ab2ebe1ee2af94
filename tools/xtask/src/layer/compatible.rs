//! The layer as the Yocto Project's own checker sees it: what adding it changes for a build that has not asked for its
//! distribution. Nothing may; every append of ours is gated by the override `fleet`.

use std::fs;
use std::path::Path;

use anyhow::Context;

use super::bitbake::BitBake;
use super::proof::{Compatible, Seen};
use super::{Outcome, Report};

/// The checkout that the layer is added to: the kas file without a board's layers.
const FILE: &str = "kas.yml";

/// What the checker adds by itself because `meta-fleet` depends on it, from where kas has put it.
const DEPENDENCIES: &[&str] = &[
    "meta-openembedded/meta-oe",
    "meta-openembedded/meta-python",
    "meta-openembedded/meta-networking",
    "meta-rauc",
];

/// A build that knows nothing of this repository: oe-core alone, for its ordinary machine, with no distribution.
const LOCAL_CONF: &str = r#"MACHINE = "qemux86-64"
BB_NO_NETWORK = "1"
"#;

/// Runs `yocto-check-layer` on `meta-fleet`.
pub(super) fn check(report: &mut Report<'_>, top: &Path) {
    let name = "yocto-check-layer";
    let bitbake = match BitBake::prepare(report, top, FILE, "") {
        Ok(Ok(bitbake)) => bitbake,
        Ok(Err(reason)) => return report.add(name, Outcome::Skipped(reason)),
        Err(error) => return report.add(name, Outcome::Failed(format!("{error:#}"))),
    };
    report
        .steps
        .say("yocto-check-layer: signatures of every recipe, with the layer and without: half an hour");
    report.add(name, run(&bitbake, top).into());
}

fn run(bitbake: &BitBake, top: &Path) -> anyhow::Result<Outcome> {
    let checkout = bitbake.checkout();
    let build = checkout.join("build-yocto-check-layer");
    let conf = build.join("conf");
    fs::create_dir_all(&conf).with_context(|| format!("cannot make {}", conf.display()))?;
    let layers = format!(
        "BBPATH = \"${{TOPDIR}}\"\nBBFILES ?= \"\"\nBBLAYERS = \"{}\"\n",
        checkout.join("openembedded-core/meta").display()
    );
    for (file, text) in [("bblayers.conf", layers.as_str()), ("local.conf", LOCAL_CONF)] {
        let path = conf.join(file);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let dependencies: Vec<String> = DEPENDENCIES
        .iter()
        .map(|layer| checkout.join(layer).display().to_string())
        .collect();
    let command = format!(
        "cd {0} && BUILDDIR={0} BBPATH={0} yocto-check-layer --no-auto-dependency --dependency {1} -- {2}",
        build.display(),
        dependencies.join(" "),
        top.join("meta-fleet").display()
    );
    let seen = Seen::now(top)?;
    let sections = bitbake.session(&[command])?;
    let section = sections.first().context("the session said nothing")?;
    let (true, Some(cases)) = (section.done, counted(&section.text)) else {
        return Ok(Outcome::Failed(format!("\n{}", section.text)));
    };
    let cases = cases.to_owned();
    let passed = Outcome::Passed(format!("{cases} cases"));
    Compatible { cases, seen }.keep(top)?;
    Ok(passed)
}

/// Of "INFO: Ran 14 tests in 312.541s".
fn counted(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("Ran ")?;
    rest.split_once(" tests in ").map(|(count, _)| count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cases_are_counted() {
        assert_eq!(counted("INFO: Ran 14 tests in 312.541s\nINFO: OK\n"), Some("14"));
        assert_eq!(counted("ERROR: no\n"), None);
    }
}
