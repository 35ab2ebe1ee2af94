//! Where the export goes, and in which form: the name says it.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fleet_base::exit::Exit;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::Options;
use crate::cli::failure::Failure;

/// The form of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As journalctl reads it: `.journal`.
    Journal,
    /// Compressed: `.journal.zst`. journalctl does not read it as it is ("Bad message", systemd 257).
    Compressed,
}

impl Form {
    /// The program that makes it.
    pub(super) fn program(self) -> Option<&'static str> {
        (self == Self::Compressed).then_some("zstd")
    }
}

/// Where it goes.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) form: Form,
    /// `None`: standard output.
    path: Option<PathBuf>,
    force: bool,
}

impl Target {
    /// Reads the options.
    pub(super) fn of(options: &Options, json: bool) -> Result<Self, Failure> {
        if options.output.as_ref().is_some_and(|output| output == "-") {
            if json {
                return Err(Failure::usage(
                    "--json writes to standard output, where --output - has the journal go: name a file",
                ));
            }
            if io::stdout().is_terminal() {
                return Err(Failure::usage(
                    "a compressed journal is nothing for a terminal: name a file, or redirect standard output",
                ));
            }
            return Ok(Self {
                form: Form::Compressed,
                path: None,
                force: options.force,
            });
        }
        let path = PathBuf::from(options.output.clone().unwrap_or_else(default_name));
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        let form = match name {
            name if name.ends_with(b".journal.zst") => Form::Compressed,
            name if name.ends_with(b".journal") => Form::Journal,
            _ => {
                return Err(Failure::usage(format!(
                    "--output takes a name that ends with .journal.zst or .journal, or -, not {}",
                    path.display()
                )));
            }
        };
        let target = Self {
            form,
            path: Some(path),
            force: options.force,
        };
        // Before minutes of work; it is looked at again when the file gets its name.
        if let Some(path) = target.path().filter(|path| path.symlink_metadata().is_ok()) {
            target.may_replace(path)?;
        }
        Ok(target)
    }

    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The folder of the file.
    pub(super) fn folder(&self) -> Option<&Path> {
        let folder = self.path()?.parent()?;
        Some(match folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => folder,
        })
    }

    fn may_replace(&self, path: &Path) -> Result<(), Failure> {
        match self.force {
            true if path.is_dir() => Err(cannot_write(path, &io::ErrorKind::IsADirectory.into())),
            true => Ok(()),
            false => Err(Failure::new(
                Exit::CannotWrite,
                format!("{} is there already; --force replaces it", path.display()),
            )),
        }
    }

    /// Gives a finished file of the same folder its name.
    pub(super) fn name(&self, finished: &Path, path: &Path) -> Result<(), Failure> {
        let flags = match self.force {
            true => RenameFlags::empty(),
            false => RenameFlags::RENAME_NOREPLACE,
        };
        match renameat2(AT_FDCWD, finished, AT_FDCWD, path, flags) {
            Ok(()) => Ok(()),
            Err(nix::errno::Errno::EEXIST) => self.may_replace(path),
            Err(error) => Err(cannot_write(path, &error.into())),
        }
    }
}

/// HOSTNAME-TIME.journal.zst, the time in UTC.
fn default_name() -> OsString {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    // By date(1), which is there: the standard library knows no calendar.
    let time = Command::new("date")
        .args(["-u", "+%Y%m%dT%H%M%SZ"])
        .stdin(Stdio::null())
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default();
    let kept = |text: &str| -> String {
        let plain = |character: &char| character.is_ascii_alphanumeric() || "-.".contains(*character);
        text.chars().filter(plain).collect()
    };
    format!("{}-{}.journal.zst", kept(host.trim()), kept(&time)).into()
}

/// A file or folder cannot be written.
pub(super) fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Exit::CannotWrite,
        format!("cannot write {}: {error}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(output: &str, force: bool) -> Result<Target, Failure> {
        let options = Options {
            output: Some(output.into()),
            force,
            ..Options::default()
        };
        Target::of(&options, false)
    }

    #[test]
    fn the_name_says_the_form() {
        assert_eq!(target("/x/a.journal", false).unwrap().form, Form::Journal);
        let compressed = target("a.journal.zst", false).unwrap();
        assert_eq!(compressed.form, Form::Compressed);
        assert_eq!(compressed.folder(), Some(Path::new(".")));
        for bad in ["a", "a.zst", "a.journal.xz", "", "/", "a.journal.zst/.."] {
            assert_eq!(target(bad, false).unwrap_err().exit(), Exit::Usage, "{bad}");
        }
        let name = default_name().into_string().unwrap();
        assert!(name.ends_with("Z.journal.zst") && !name.contains('/'), "{name}");
        let options = Options {
            output: Some("-".into()),
            ..Options::default()
        };
        assert_eq!(Target::of(&options, true).unwrap_err().exit(), Exit::Usage);
    }

    #[test]
    fn nothing_is_replaced_unless_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.journal");
        let name = path.to_str().unwrap();
        let careful = target(name, false).unwrap();
        std::fs::write(&path, "old").unwrap();
        let finished = folder.path().join("new");
        std::fs::write(&finished, "new").unwrap();
        let refused = careful.name(&finished, &path).unwrap_err();
        assert!(refused.to_string().contains("--force"), "{refused}");
        assert_eq!(target(name, false).unwrap_err().exit(), Exit::CannotWrite);
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        target(name, true).unwrap().name(&finished, &path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        let folder = folder.path().join("b.journal");
        std::fs::create_dir(&folder).unwrap();
        assert_eq!(
            target(folder.to_str().unwrap(), true).unwrap_err().exit(),
            Exit::CannotWrite
        );
    }
}
