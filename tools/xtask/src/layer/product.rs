//! Does a product in a repository of its own get this layer by the kas file that docs/product-layer.md shows? kas is run on
//! exactly that text, with this checkout at the place of its url.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::{Outcome, files_below, output, venv::Venv};

const DOCUMENT: &str = "docs/product-layer.md";
/// What the text has instead of a repository.
const URL: &str = "https://git.example/fleet-os.git";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// What kas reads of this repository.
const READ: &[&str] = &["kas", "meta-fleet"];
/// Everything that kas does beyond reading the files and fetching what they include: it would fetch the other layers, or
/// needs them.
const SKIPPED: &[&str] = &[
    "finish_setup_repos",
    "repos_checkout",
    "repos_apply_patches",
    "setup_environ",
];

/// Makes the product, and looks at the `bblayers.conf` that kas writes for it.
pub(super) fn check(venv: &Venv, top: &Path) -> anyhow::Result<Outcome> {
    let document =
        fs::read_to_string(top.join(DOCUMENT)).with_context(|| format!("cannot read {DOCUMENT}"))?;
    let text = block(&document).with_context(|| format!("{DOCUMENT} has no block of yaml"))?;
    ensure!(
        text.contains(URL) && text.contains(COMMIT),
        "the kas file of {DOCUMENT} has not the url {URL} at {COMMIT}"
    );

    let work = top.join("build/layer/product");
    if work.exists() {
        fs::remove_dir_all(&work).with_context(|| format!("cannot remove {}", work.display()))?;
    }
    let (fleet, product) = (work.join("fleet-os"), work.join("product"));
    for name in READ {
        for path in files_below(&top.join(name))? {
            let below = path.strip_prefix(top).unwrap_or(&path);
            write(
                &fleet.join(below),
                &fs::read(&path).context("cannot read the layer")?,
            )?;
        }
    }
    let commit = commit(&fleet)?;
    let text = text
        .replace(URL, &fleet.display().to_string())
        .replace(COMMIT, &commit);
    write(&product.join("kas.yml"), text.as_bytes())?;
    write(&product.join("meta-pump/conf/layer.conf"), b"")?;
    self::commit(&product)?;

    let mut kas = venv.command("kas");
    kas.arg("checkout");
    for step in SKIPPED {
        kas.args(["--skip", step]);
    }
    kas.arg("kas.yml").current_dir(&product);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"KAS_")) {
        kas.env_remove(name);
    }
    let (success, said) = output(&mut kas)?;
    if !success || said.contains("WARNING") {
        return Ok(Outcome::Failed(format!("\n{said}")));
    }
    let conf = product.join("build/conf/bblayers.conf");
    let conf = fs::read_to_string(&conf).with_context(|| format!("cannot read {}", conf.display()))?;
    let layers = layers(&conf, &product.join("build"));
    let others = others(top)?;
    // Those of others are not fetched here.
    let (there, absent): (Vec<PathBuf>, Vec<PathBuf>) = layers
        .into_iter()
        .filter(|layer| !others.iter().any(|other| layer.starts_with(product.join(other))))
        .partition(|layer| layer.join("conf/layer.conf").exists());
    let wanted = ["fleet-os/meta-fleet", "meta-pump"].map(|layer| product.join(layer));
    Ok(if absent.is_empty() && there == wanted {
        Outcome::Passed("meta-fleet comes from its repository".to_owned())
    } else {
        Outcome::Failed(format!(
            "besides the layers of others the product gets {there:?}, and {absent:?}, which are not there"
        ))
    })
}

/// The repositories that the files in kas/ name with a url.
fn others(top: &Path) -> anyhow::Result<Vec<String>> {
    let mut others = Vec::new();
    for path in files_below(&top.join("kas"))? {
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let urls = text.lines().filter_map(|line| line.trim().strip_prefix("url: "));
        others.extend(urls.filter_map(|url| url.strip_suffix(".git")?.rsplit('/').next().map(str::to_owned)));
    }
    Ok(others)
}

/// The first block of YAML in a text.
fn block(document: &str) -> Option<&str> {
    let (_, rest) = document.split_once("```yaml\n")?;
    rest.split_once("```").map(|(block, _)| block)
}

/// The folders that a `bblayers.conf` of kas names: a line each, from the build directory.
fn layers(conf: &str, build: &Path) -> Vec<PathBuf> {
    conf.lines()
        .map(|line| line.trim().trim_end_matches([' ', '\\', '"']))
        .filter_map(|line| line.strip_prefix("${TOPDIR}"))
        .map(|path| {
            // Without the `..` that kas puts behind ${TOPDIR}.
            let path = path.trim_start_matches('/');
            match (path.strip_prefix("../"), build.parent()) {
                (Some(beside), Some(parent)) => parent.join(beside),
                _ => build.join(path),
            }
        })
        .collect()
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Makes a git repository of a folder, and says its commit.
fn commit(folder: &Path) -> anyhow::Result<String> {
    let git = |arguments: &[&str]| -> anyhow::Result<String> {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=layer-check", "-c", "user.email=layer-check"])
            .args(["-c", "commit.gpgsign=false"])
            .args(arguments)
            .current_dir(folder);
        let (success, said) = output(&mut git)?;
        ensure!(success, "git {}: {said}", arguments.join(" "));
        Ok(said)
    };
    git(&["init", "--quiet", "--initial-branch=main"])?;
    git(&["add", "--all"])?;
    git(&["commit", "--quiet", "--message=layer-check"])?;
    git(&["rev-parse", "HEAD"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_block_is_taken() {
        assert_eq!(block("a\n```yaml\nb: c\n```\n```yaml\nd\n```\n"), Some("b: c\n"));
        assert_eq!(block("a\n```sh\nb\n```\n"), None);
    }

    #[test]
    fn layers_are_beside_the_build_directory() {
        let conf =
            "BBLAYERS ?= \" \\\n    ${TOPDIR}/../fleet-os/meta-fleet \\\n    ${TOPDIR}/../meta-pump\"\n";
        assert_eq!(
            layers(conf, Path::new("/p/build")),
            [Path::new("/p/fleet-os/meta-fleet"), Path::new("/p/meta-pump")]
        );
    }
}
