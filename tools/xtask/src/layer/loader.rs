//! Does the recipe fleet-boot make the environment that GRUB takes? Its `do_compile` is run for GRUB, in folders that lie as
//! the recipe says, and a second time, as BitBake does when only another file has changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::{Outcome, output, recipe};

const RECIPE: &str = "meta-fleet/recipes-bsp/fleet-boot/fleet-boot_1.0.bb";
const SOURCES: &str = "meta-fleet/recipes-bsp/fleet-boot/files";
/// What GRUB calls an environment block (`DEFAULT_ENVBLK_SIZE` of its util/grub-editenv.c): filled up with `#`.
const SIZE: usize = 1024;

/// Runs it, and looks at what it made.
pub(super) fn check(top: &Path) -> anyhow::Result<Outcome> {
    let text = fs::read_to_string(top.join(RECIPE)).with_context(|| format!("cannot read {RECIPE}"))?;
    let body = recipe::body(&text, "do_compile").with_context(|| format!("{RECIPE} has no do_compile"))?;
    let folders = Folders::of(&text, &top.join("build/layer/loader"));
    let mut wanted = fs::read(top.join(SOURCES).join("grub.env")).context("cannot read grub.env")?;
    ensure!(wanted.len() <= SIZE, "grub.env is longer than {SIZE} bytes");
    wanted.resize(SIZE, b'#');

    folders.unpack(&top.join(SOURCES))?;
    for run in ["first", "second"] {
        let mut shell = Command::new("sh");
        shell
            .args(["-e", "-c", &without_python(body)])
            .env("FLEET_LOADER", "grub")
            .env("S", &folders.source)
            .env("B", &folders.build)
            .current_dir(&folders.build);
        let (success, said) = output(&mut shell)?;
        let block = fs::read(folders.build.join("grub.env")).unwrap_or_default();
        if !success || block != wanted {
            return Ok(Outcome::Failed(format!(
                "the {run} run of do_compile makes {} bytes that are not grub.env filled up to {SIZE}; {said}",
                block.len()
            )));
        }
    }
    Ok(Outcome::Passed(format!(
        "{SIZE} bytes, from a second run as from the first"
    )))
}

/// The recipe's folders, below one of ours.
struct Folders {
    work: PathBuf,
    source: PathBuf,
    build: PathBuf,
}

impl Folders {
    /// `S` and `B` as the recipe sets them; `B` is `S` where it does not (bitbake.conf).
    fn of(text: &str, work: &Path) -> Self {
        let value = |name: &str, default: &str| {
            recipe::values(text, name)
                .pop()
                .unwrap_or_else(|| default.to_owned())
                .replace("${UNPACKDIR}", "${WORKDIR}/sources")
                .replace("${WORKDIR}", &work.display().to_string())
        };
        let source = value("S", "${UNPACKDIR}");
        Self {
            build: value("B", "${S}").replace("${S}", &source).into(),
            source: source.into(),
            work: work.to_owned(),
        }
    }

    /// The recipe's files, as `do_unpack` leaves them.
    fn unpack(&self, files: &Path) -> anyhow::Result<()> {
        if self.work.exists() {
            fs::remove_dir_all(&self.work)
                .with_context(|| format!("cannot remove {}", self.work.display()))?;
        }
        for folder in [&self.source, &self.build] {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        for path in super::files_below(files)? {
            let name = path.file_name().unwrap_or_default();
            fs::copy(&path, self.source.join(name))
                .with_context(|| format!("cannot copy {}", path.display()))?;
        }
        Ok(())
    }
}

/// A shell function without what BitBake puts in before the shell sees it (`${@…}`): arguments of the kernel here.
fn without_python(body: &str) -> String {
    let mut parts = body.split("${@");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str(part.split_once('}').map_or("", |(_, rest)| rest));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_those_of_the_recipe() {
        let work = Path::new("/w");
        let default = Folders::of("S = \"${UNPACKDIR}\"\n", work);
        assert_eq!(default.build, default.source);
        let own = Folders::of("S = \"${UNPACKDIR}\"\nB = \"${WORKDIR}/build\"\n", work);
        assert_eq!(own.source, Path::new("/w/sources"));
        assert_eq!(own.build, Path::new("/w/build"));
    }

    #[test]
    fn what_bitbake_expands_is_left_out() {
        assert_eq!(without_python("a ${@'%s' % d.getVar('X')} b ${Y}"), "a  b ${Y}");
    }
}
