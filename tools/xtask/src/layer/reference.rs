//! Are the product's files the same on both images? `make install` makes them for both. What could still tell the images
//! apart is looked at here: more steps in the recipe, a file of `reference/overlay` in the place of a product's, and
//! another mode, owner or target on the reference image as it was built.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{Outcome, files_below, packaged, recipe};

/// Whether the reference image has to be there, and be of this state of the checkout.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Image {
    Required,
    Optional,
}

/// Compares them.
pub(super) fn check(top: &Path, image: Image) -> anyhow::Result<Outcome> {
    let installed = packaged::install(top)?;
    let mut problems = Vec::new();

    for step in recipe::function(top, "do_install")? {
        let makes = step.starts_with("oe_runmake ") && step.contains(" install ");
        if !makes || !step.contains("DESTDIR=${D}") {
            problems.push(format!(
                "do_install of the recipe also does `{step}`, which the reference image lacks: let `make install` do it"
            ));
        }
    }

    let overlay = top.join("reference/overlay");
    for path in files_below(&overlay)? {
        let name = Path::new("/").join(path.strip_prefix(&overlay).unwrap_or(&path));
        if installed.contains_key(&name) {
            problems.push(format!(
                "reference/overlay{} takes the place of a file of dist/",
                name.display()
            ));
        }
    }

    let root = top.join("build/reference/current/root");
    let built = if root.exists() {
        compare(&installed, &root)?
    } else {
        Difference {
            old: vec!["there is none".to_owned()],
            ..Difference::default()
        }
    };
    problems.extend(built.other);
    if image == Image::Required {
        problems.extend(built.old);
    } else if problems.is_empty() && !built.old.is_empty() {
        return Ok(Outcome::Skipped(format!(
            "the reference image is not of this state ({}): `cargo xtask image`",
            built.old.join("; ")
        )));
    }
    Ok(if problems.is_empty() {
        Outcome::Passed(format!(
            "{} with the same mode, owner and content",
            installed.len()
        ))
    } else {
        Outcome::Failed(problems.join("; "))
    })
}

/// How a built image differs.
#[derive(Default)]
struct Difference {
    /// In what only another state of the checkout explains.
    old: Vec<String>,
    /// In what is a fault of the image's making.
    other: Vec<String>,
}

/// The files that `make install` made, by their name on the device, against the root of an image.
fn compare(installed: &BTreeMap<PathBuf, PathBuf>, root: &Path) -> anyhow::Result<Difference> {
    let mut difference = Difference::default();
    for (name, path) in installed {
        let there = root.join(name.strip_prefix("/").unwrap_or(name));
        let name = name.display();
        let wanted =
            fs::symlink_metadata(path).with_context(|| format!("cannot look at {}", path.display()))?;
        let Ok(found) = fs::symlink_metadata(&there) else {
            difference.old.push(format!("{name} is missing"));
            continue;
        };
        if wanted.is_symlink() {
            if fs::read_link(path).ok() != fs::read_link(&there).ok() {
                difference.other.push(format!("{name} leads elsewhere"));
            }
            continue;
        }
        // The executables are empty files here: they are built for each image.
        if wanted.len() > 0 && fs::read(path).ok() != fs::read(&there).ok() {
            difference.old.push(format!("{name} has another content"));
        }
        let mode = |data: &fs::Metadata| data.permissions().mode() & 0o7777;
        if (mode(&found), found.uid(), found.gid()) != (mode(&wanted), 0, 0) {
            difference.other.push(format!(
                "{name} is {:o} of {}:{}, and not {:o} of root",
                mode(&found),
                found.uid(),
                found.gid(),
                mode(&wanted)
            ));
        }
    }
    Ok(difference)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_a_fault_and_a_missing_file_is_an_old_image() {
        let folder = std::env::temp_dir().join(format!("fleet-reference-{}", std::process::id()));
        let (made, root) = (folder.join("made"), folder.join("root"));
        for directory in [&made, &root] {
            fs::create_dir_all(directory).unwrap();
            fs::write(directory.join("a"), "text").unwrap();
        }
        fs::write(made.join("b"), "text").unwrap();
        fs::set_permissions(root.join("a"), fs::Permissions::from_mode(0o600)).unwrap();
        let installed = ["a", "b"]
            .map(|name| (Path::new("/").join(name), made.join(name)))
            .into();
        let difference = compare(&installed, &root).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(difference.old, ["/b is missing"]);
        assert_eq!(difference.other.len(), 1, "{:?}", difference.other);
    }
}
