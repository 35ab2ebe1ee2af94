//! `base.tar`: Debian 13 packages, with a boot loader and an initial RAM disk made from them, by mmdebstrap.

use std::fs;
use std::process::Command;

use anyhow::Context;

use super::inputs::Inputs;
use super::{SOURCE_DATE_EPOCH, Workshop, remove};
use crate::debian;

/// Its file in build/reference.
pub(super) const OUTPUT: &str = "base.tar";
/// The Debian release: systemd 257, NetworkManager 1.52.
const SUITE: &str = "trixie";
/// The hash of what it was made from.
const STAMP: &str = ".base.tar.inputs";

/// Whether it was made from the files as they are now. The mirror, and the versions it has today, do not count.
pub(super) fn is_current(workshop: &Workshop) -> anyhow::Result<bool> {
    let inputs = inputs(workshop)?;
    Ok(workshop.output(OUTPUT).exists()
        && fs::read_to_string(workshop.output(STAMP)).is_ok_and(|stamp| stamp == inputs))
}

/// Adds it to a generation's inputs: what it is made from, and when, because `--fresh` brings other packages.
pub(super) fn add_to(inputs: Inputs, workshop: &Workshop) -> anyhow::Result<Inputs> {
    let made = fs::metadata(workshop.output(OUTPUT)).and_then(|data| data.modified());
    let made = made.with_context(|| format!("cannot look at {OUTPUT}"))?;
    Ok(inputs.text(&self::inputs(workshop)?).text(&format!("{made:?}")))
}

fn inputs(workshop: &Workshop) -> anyhow::Result<String> {
    let mut inputs = Inputs::new(SUITE).text(SOURCE_DATE_EPOCH);
    for name in ["packages", "dpkg.cfg", "base.sh", "initrd"] {
        inputs = inputs.path(&workshop.reference(name))?;
    }
    Ok(inputs.finish())
}

/// Makes it anew.
pub(super) fn make(workshop: &Workshop) -> anyhow::Result<()> {
    let inputs = inputs(workshop)?;
    let list = read(workshop, "packages")?;
    let packages = packages(&list);
    workshop.steps.say(&format!(
        "{OUTPUT}: {} Debian packages and what they depend on",
        packages.len()
    ));
    let made = workshop.output("base.new.tar");
    remove(&made)?;

    let mut command = Command::new("mmdebstrap");
    command.args([
        "--variant=essential",
        "--mode=root",
        "--architectures=amd64",
        "--format=tar",
    ]);
    command.arg(format!("--keyring={}", debian::KEYRING));
    command.arg("--aptopt=APT::Install-Recommends \"false\"");
    for option in debian::host_options()? {
        command.arg(format!("--aptopt={option}"));
    }
    for exclude in lines(&read(workshop, "dpkg.cfg")?) {
        command.arg(format!("--dpkgopt={exclude}"));
    }
    command.arg(format!("--include={}", packages.join(",")));
    // The hooks get the root as $1, and their files from the environment: no quoting of this machine's paths.
    command.arg("--customize-hook=cp \"$FLEET_REFERENCE/initrd/init\" \"$1/tmp/init\"");
    command.arg("--customize-hook=chroot \"$1\" /bin/sh -s <\"$FLEET_REFERENCE/base.sh\"");
    command.env("FLEET_REFERENCE", workshop.reference(""));
    command.env("SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH);
    command.arg(SUITE).arg(&made);
    command.args(debian::mirrors(SUITE)?);

    workshop.steps.clear("base");
    workshop.steps.run("base", &command)?;
    // An interrupt between these only means that it is made again.
    remove(&workshop.output(STAMP))?;
    fs::rename(&made, workshop.output(OUTPUT)).with_context(|| format!("cannot rename to {OUTPUT}"))?;
    fs::write(workshop.output(STAMP), inputs).with_context(|| format!("cannot write {STAMP}"))
}

fn read(workshop: &Workshop, name: &str) -> anyhow::Result<String> {
    let path = workshop.reference(name);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// The lines of a list without comments.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty())
}

fn packages(text: &str) -> Vec<&str> {
    lines(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_of_the_list_are_no_packages() {
        assert_eq!(packages("# a\n\nsystemd  # PID 1\nudev\n"), ["systemd", "udev"]);
    }
}
