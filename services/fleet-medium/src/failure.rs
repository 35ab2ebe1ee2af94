//! Why a command failed: a sentence for people, an exit code for scripts.

use std::fmt;
use std::io;
use std::path::Path;

use fleet_base::exit::Exit;

/// A command that failed.
#[derive(Debug)]
pub struct Failure {
    sentence: String,
    exit: Exit,
}

impl Failure {
    /// With an exit code of its own.
    pub fn new(exit: Exit, sentence: impl Into<String>) -> Self {
        Self {
            sentence: sentence.into(),
            exit,
        }
    }

    /// What was given is not what it should be.
    pub fn invalid(sentence: impl Into<String>) -> Self {
        Self::new(Exit::InvalidData, sentence)
    }

    /// A file or device cannot be opened.
    #[must_use]
    pub fn open(path: &Path, error: &io::Error) -> Self {
        let path = path.display();
        match error.kind() {
            io::ErrorKind::NotFound => Self::new(
                Exit::NoInput,
                format!("there is no {path}: name a file or device that is there"),
            ),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::new(
                Exit::NotAllowed,
                format!(
                    "cannot open {path}: {error}. Make it writable for you; a block device needs root (sudo)"
                ),
            ),
            io::ErrorKind::ResourceBusy => Self::new(
                Exit::TryAgain,
                format!("{path} is in use: unmount what is mounted from it, and try again"),
            ),
            _ => Self::new(Exit::Failure, format!("cannot open {path}: {error}")),
        }
    }

    /// A file or device cannot be read.
    #[must_use]
    pub fn read(path: &Path, error: &io::Error) -> Self {
        Self::new(Exit::Failure, format!("cannot read {}: {error}", path.display()))
    }

    /// A file or device cannot be written.
    #[must_use]
    pub fn write(path: &Path, error: &io::Error) -> Self {
        Self::new(
            Exit::CannotWrite,
            format!("cannot write {}: {error}", path.display()),
        )
    }

    /// The same with more said.
    #[must_use]
    pub fn and(mut self, more: &str) -> Self {
        self.sentence += more;
        self
    }

    /// The exit code.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Failure {}
