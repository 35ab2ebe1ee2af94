//! Is every file of `dist/` installed by `make install`, and is everything that it installs in a package of the recipe?
//! A file that is in no package stops a build an hour after it was added.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::{Outcome, files_below, output, recipe};

/// What OpenEmbedded packages without being asked (`FILES:${PN}` and `-doc` in bitbake.conf), as far as it concerns us.
const DEFAULT_FILES: &[&str] = &[
    "/etc",
    "/usr/bin",
    "/usr/libexec",
    "/usr/sbin",
    "/usr/share/doc",
    "/usr/share/man",
    "/var",
];

/// Compares `dist/`, what `make install` makes of it, and the recipe's `FILES`.
pub(super) fn check(top: &Path) -> anyhow::Result<Outcome> {
    let installed = install(top)?;
    let mut problems = Vec::new();

    let dist = top.join("dist");
    for path in files_below(&dist)? {
        let name = below(&dist, &path);
        if !installed.contains_key(&name) {
            problems.push(format!("dist{} is not installed by make install", name.display()));
        }
    }
    let mut files: Vec<String> = DEFAULT_FILES.iter().map(|&path| path.to_owned()).collect();
    for word in recipe::words(top, "FILES:${PN}")? {
        files.push(recipe::expand(&word)?);
    }
    for name in installed.keys() {
        if !files
            .iter()
            .any(|pattern| name.starts_with(pattern.trim_end_matches("/*")))
        {
            problems.push(format!(
                "{} is in no package: add it to FILES:${{PN}} of the recipe",
                name.display()
            ));
        }
    }
    Ok(if problems.is_empty() {
        Outcome::Passed(format!("{} files", installed.len()))
    } else {
        Outcome::Failed(problems.join("; "))
    })
}

/// Whether the units that `SYSTEMD_SERVICE` names are those of `dist/` that have an `[Install]` section.
pub(super) fn check_units(top: &Path) -> anyhow::Result<Outcome> {
    let units = top.join("dist/usr/lib/systemd/system");
    let mut installable = BTreeSet::new();
    for path in files_below(&units)? {
        // A drop-in lies a folder deeper and is no unit.
        if path.parent() != Some(&units) {
            continue;
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if text.lines().any(|line| line.trim() == "[Install]") {
            installable.insert(
                below(&units, &path)
                    .display()
                    .to_string()
                    .trim_start_matches('/')
                    .to_owned(),
            );
        }
    }
    let named: BTreeSet<String> = recipe::words(top, "SYSTEMD_SERVICE:${PN}")?.into_iter().collect();
    Ok(if named == installable {
        Outcome::Passed(installable.into_iter().collect::<Vec<_>>().join(" "))
    } else {
        let missing: Vec<&str> = installable.difference(&named).map(String::as_str).collect();
        let extra: Vec<&str> = named.difference(&installable).map(String::as_str).collect();
        Outcome::Failed(format!(
            "SYSTEMD_SERVICE of the recipe lacks [{}] and has too much [{}]",
            missing.join(" "),
            extra.join(" ")
        ))
    })
}

/// What `make install` makes: the absolute paths, and where each was put. The executables are empty files: only their place
/// and mode matter.
pub(super) fn install(top: &Path) -> anyhow::Result<BTreeMap<PathBuf, PathBuf>> {
    let work = top.join("build/layer/installed");
    let (bindir, root) = (work.join("bin"), work.join("root"));
    if work.exists() {
        fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    }
    fs::create_dir_all(&bindir).with_context(|| format!("cannot make {}", bindir.display()))?;
    for executable in ["fleet", "fleet-certificate", "fleet-services"] {
        fs::write(bindir.join(executable), "")
            .with_context(|| format!("cannot write {}", bindir.display()))?;
    }

    let mut make = Command::new("make");
    make.arg("-s")
        .arg("install")
        .arg(format!("DESTDIR={}", root.display()))
        .arg(format!("BINDIR={}", bindir.display()))
        .current_dir(top);
    let (success, text) = output(&mut make)?;
    anyhow::ensure!(success, "make install failed: {text}");
    Ok(files_below(&root)?
        .into_iter()
        .map(|path| (below(&root, &path), path))
        .collect())
}

/// `path` as it is called on the device.
fn below(root: &Path, path: &Path) -> PathBuf {
    Path::new("/").join(path.strip_prefix(root).unwrap_or(path))
}
