//! Why a command failed: a sentence for people, an exit code for scripts.

use std::fmt;

use fleet_base::bus;
use fleet_base::exit::Exit;

/// A command that failed.
#[derive(Debug)]
pub(super) struct Failure {
    sentence: String,
    exit: Exit,
}

impl Failure {
    /// With an exit code of its own.
    pub(super) fn new(exit: Exit, sentence: impl Into<String>) -> Self {
        Self {
            sentence: sentence.into(),
            exit,
        }
    }

    /// The command line was wrong; says where help is.
    pub(super) fn usage(sentence: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, format!("{sentence}\nSee `fleet help`."))
    }

    /// Nothing says it better than 1.
    pub(super) fn other(sentence: impl Into<String>) -> Self {
        Self::new(Exit::Failure, sentence)
    }

    /// A call to a service failed. `service` is its unit's name without `.service`.
    pub(super) fn call(service: &str, error: &zbus::Error) -> Self {
        let sentence = bus::sentence(error);
        match exit_code(error) {
            Exit::Unavailable => Self::new(
                Exit::Unavailable,
                format!("{service} does not answer ({sentence}). `systemctl status {service}` says why."),
            ),
            Exit::NotAllowed => Self::new(
                Exit::NotAllowed,
                format!("you may not do this ({sentence}). Be root, or a member of the group fleet."),
            ),
            exit => Self::new(exit, sentence),
        }
    }

    /// The exit code.
    pub(super) const fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Failure {}

/// The exit code for an error that came over the bus.
fn exit_code(error: &zbus::Error) -> Exit {
    let name = match error {
        zbus::Error::MethodError(name, _, _) => name.as_str(),
        zbus::Error::FDO(error) => match error.as_ref() {
            zbus::fdo::Error::AccessDenied(_) | zbus::fdo::Error::AuthFailed(_) => return Exit::NotAllowed,
            zbus::fdo::Error::ZBus(error) => return exit_code(error),
            _ => return Exit::Unavailable,
        },
        // No bus, a connection that broke, a call that nobody answered in time.
        _ => return Exit::Unavailable,
    };
    match name.strip_prefix("org.fleetos.Error.") {
        Some("InvalidArgument") => Exit::InvalidData,
        Some("NotAllowed") => Exit::NotAllowed,
        Some("Busy" | "Conflict") => Exit::TryAgain,
        Some(_) => Exit::Failure,
        None if name == "org.freedesktop.DBus.Error.AccessDenied" => Exit::NotAllowed,
        None => Exit::Unavailable,
    }
}
