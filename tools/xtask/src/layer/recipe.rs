//! The services' recipe, read as text: the few assignments that other files have to agree with.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::Outcome;

/// Its name. Not `fleet`: that is the distro's override.
pub(super) const NAME: &str = "fleet-services";
/// The generated list of crates, beside it.
pub(super) const CRATES: &str = "fleet-services-crates.inc";

/// Where it is.
pub(super) fn directory(top: &Path) -> PathBuf {
    top.join("meta-fleet/recipes-rust").join(NAME)
}

/// The recipe's file and text.
fn read(top: &Path) -> anyhow::Result<(PathBuf, String)> {
    let directory = directory(top);
    let recipes: Vec<PathBuf> = super::files_below(&directory)?
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "bb"))
        .collect();
    let [path] = recipes.as_slice() else {
        bail!(
            "{} must hold one recipe, and holds {}",
            directory.display(),
            recipes.len()
        );
    };
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok((path.clone(), text))
}

/// The words of every assignment to `variable`: `X = "…"` and `X += "…"`, over continued lines.
pub(super) fn words(top: &Path, variable: &str) -> anyhow::Result<Vec<String>> {
    let (path, text) = read(top)?;
    let words: Vec<String> = values(&text, variable)
        .iter()
        .flat_map(|value| value.split_whitespace())
        .map(str::to_owned)
        .collect();
    if words.is_empty() {
        bail!("{} has no {variable}", path.display());
    }
    Ok(words)
}

/// The value of every assignment to `variable` in the text of a recipe.
pub(super) fn values(recipe: &str, variable: &str) -> Vec<String> {
    let joined = recipe.replace("\\\n", " ");
    joined
        .lines()
        .filter_map(|line| {
            let value = line.strip_prefix(variable)?.trim_start();
            let value = value
                .strip_prefix("+=")
                .or_else(|| value.strip_prefix('='))?
                .trim();
            value.strip_prefix('"')?.strip_suffix('"')
        })
        .map(str::to_owned)
        .collect()
}

/// The lines of a shell function of the recipe, without comments.
pub(super) fn function(top: &Path, name: &str) -> anyhow::Result<Vec<String>> {
    let (path, text) = read(top)?;
    let body = body(&text, name).with_context(|| format!("{} has no function {name}", path.display()))?;
    Ok(body
        .lines()
        .map(|line| line.trim().to_owned())
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect())
}

/// What is between the braces of a shell function in the text of a recipe.
pub(super) fn body<'a>(recipe: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = recipe.split_once(&format!("\n{name}() {{\n"))?;
    rest.split_once("\n}\n").map(|(body, _)| body)
}

/// A path of the recipe, with oe-core's variables as they are on a merged /usr (bitbake.conf).
pub(super) fn expand(path: &str) -> anyhow::Result<String> {
    const VARIABLES: &[(&str, &str)] = &[
        ("${bindir}", "/usr/bin"),
        ("${datadir}", "/usr/share"),
        ("${libexecdir}", "/usr/libexec"),
        ("${localstatedir}", "/var"),
        ("${nonarch_libdir}", "/usr/lib"),
        ("${sbindir}", "/usr/sbin"),
        ("${sysconfdir}", "/etc"),
        ("${systemd_system_unitdir}", "/usr/lib/systemd/system"),
        ("${systemd_unitdir}", "/usr/lib/systemd"),
    ];
    let mut expanded = path.to_owned();
    for (variable, value) in VARIABLES {
        expanded = expanded.replace(variable, value);
    }
    if expanded.contains('$') {
        bail!("FILES has {path}, which layer/recipe.rs does not know: add the variable there");
    }
    Ok(expanded)
}

/// Whether the recipe's file name has the version of the workspace.
pub(super) fn check_version(top: &Path) -> anyhow::Result<Outcome> {
    let (path, _) = read(top)?;
    let manifest = top.join("Cargo.toml");
    let text =
        fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    let version = text
        .lines()
        .find_map(|line| line.strip_prefix("version = "))
        .context("Cargo.toml has no version")?
        .trim_matches('"');
    let wanted = format!("{NAME}_{version}.bb");
    Ok(if path.ends_with(&wanted) {
        Outcome::Passed(version.to_owned())
    } else {
        Outcome::Failed(format!(
            "the workspace is {version}: rename {} to {wanted}",
            path.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_joined_over_lines() {
        let recipe = "FILES:${PN} += \"${datadir}/a \\\n    ${datadir}/b\"\nFILES:${PN}-doc = \"c\"\nFILES:${PN} += \"d\"\n";
        assert_eq!(
            values(recipe, "FILES:${PN}"),
            ["${datadir}/a      ${datadir}/b", "d"]
        );
    }

    #[test]
    fn an_unknown_variable_is_an_error() {
        assert_eq!(expand("${nonarch_libdir}/fleet").unwrap(), "/usr/lib/fleet");
        assert!(expand("${servicedir}/x").is_err());
    }
}
