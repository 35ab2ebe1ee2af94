//! Who may call which verb.
//!
//! One constant table. Root may call every verb; any other user only the verbs of its own row.

use std::fmt;

use fleet_base::bus;
use nix::errno::Errno;
use nix::unistd::{Uid, User};

/// A verb of the helper, and the D-Bus method of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    SetHostname,
    ReloadTimeSources,
    SetConnectionProfiles,
    SetDevelopmentMode,
    SetKernelParameters,
    SetProxy,
    SetWatchdog,
    ReloadJournal,
    SetJournalSync,
    SetUdevRules,
    SetTrustStore,
    SetRegulatoryDomain,
    SetJournalUpload,
    SetOpenVpn,
    ReadHandshakes,
    SetDnsFallback,
    SetMeteredPace,
    Repair,
    Reboot,
    FlushJournal,
    RelinquishJournal,
    TidyJournal,
    SyncJournal,
}

/// A service user that may call something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Config,
    Journal,
    JournalSync,
    Watch,
}

/// Verb → the one user besides root.
const TABLE: [(Verb, Caller); 23] = [
    (Verb::SetHostname, Caller::Config),
    (Verb::ReloadTimeSources, Caller::Config),
    (Verb::SetConnectionProfiles, Caller::Config),
    (Verb::SetDevelopmentMode, Caller::Config),
    (Verb::SetKernelParameters, Caller::Config),
    (Verb::SetProxy, Caller::Config),
    (Verb::SetWatchdog, Caller::Config),
    (Verb::ReloadJournal, Caller::Config),
    (Verb::SetJournalSync, Caller::Config),
    (Verb::SetUdevRules, Caller::Config),
    (Verb::SetTrustStore, Caller::Config),
    (Verb::SetRegulatoryDomain, Caller::Config),
    (Verb::SetJournalUpload, Caller::Config),
    (Verb::SetOpenVpn, Caller::Config),
    (Verb::ReadHandshakes, Caller::Watch),
    (Verb::SetDnsFallback, Caller::Watch),
    (Verb::SetMeteredPace, Caller::Watch),
    (Verb::Repair, Caller::Watch),
    (Verb::Reboot, Caller::Watch),
    (Verb::FlushJournal, Caller::Journal),
    (Verb::RelinquishJournal, Caller::Journal),
    (Verb::TidyJournal, Caller::Journal),
    (Verb::SyncJournal, Caller::JournalSync),
];

impl Caller {
    /// The name in sysusers.d.
    const fn name(self) -> &'static str {
        match self {
            Self::Config => "fleet-config",
            Self::Journal => "fleet-journal",
            Self::JournalSync => "fleet-journal-sync",
            Self::Watch => "fleet-watch",
        }
    }
}

/// The user database could not be read.
#[derive(Debug)]
pub(crate) struct ResolveError(&'static str, Errno);

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot look up the user {}: {}", self.0, self.1)
    }
}

impl std::error::Error for ResolveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.1)
    }
}

/// The numbers of the service users on this system; `None` for a user that does not exist here.
#[derive(Clone, Debug)]
pub(crate) struct Users {
    config: Option<Uid>,
    journal: Option<Uid>,
    journal_sync: Option<Uid>,
    watch: Option<Uid>,
}

impl Users {
    /// Asks the user database once.
    pub(crate) fn resolve() -> Result<Self, ResolveError> {
        let uid = |caller: Caller| {
            User::from_name(caller.name())
                .map(|user| user.map(|user| user.uid))
                .map_err(|error| ResolveError(caller.name(), error))
        };
        Ok(Self {
            config: uid(Caller::Config)?,
            journal: uid(Caller::Journal)?,
            journal_sync: uid(Caller::JournalSync)?,
            watch: uid(Caller::Watch)?,
        })
    }

    fn uid(&self, caller: Caller) -> Option<Uid> {
        match caller {
            Caller::Config => self.config,
            Caller::Journal => self.journal,
            Caller::JournalSync => self.journal_sync,
            Caller::Watch => self.watch,
        }
    }

    /// Whether the user `uid` may call `verb`.
    ///
    /// # Errors
    /// [`bus::Error::NotAllowed`].
    pub(crate) fn authorise(&self, verb: Verb, uid: Uid) -> bus::Result<()> {
        let allowed = uid.is_root()
            || TABLE
                .iter()
                .any(|&(listed, caller)| listed == verb && self.uid(caller) == Some(uid));
        if allowed {
            return Ok(());
        }
        log::warn!("refused {verb:?} to the user with number {uid}");
        Err(bus::Error::NotAllowed(format!(
            "{verb:?} is not for the user with number {uid}: only root and the service it is made for may call it"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: u32 = 560;
    const JOURNAL: u32 = 562;
    const JOURNAL_SYNC: u32 = 567;
    const WATCH: u32 = 561;

    fn users() -> Users {
        Users {
            config: Some(Uid::from_raw(CONFIG)),
            journal: Some(Uid::from_raw(JOURNAL)),
            journal_sync: Some(Uid::from_raw(JOURNAL_SYNC)),
            watch: Some(Uid::from_raw(WATCH)),
        }
    }

    fn allowed(users: &Users, verb: Verb, uid: u32) -> bool {
        users.authorise(verb, Uid::from_raw(uid)).is_ok()
    }

    #[test]
    fn each_verb_is_for_root_and_one_service() {
        let users = users();
        for (verb, caller) in TABLE {
            assert!(allowed(&users, verb, 0), "{verb:?} by root");
            for (service, uid) in [
                (Caller::Config, CONFIG),
                (Caller::Journal, JOURNAL),
                (Caller::JournalSync, JOURNAL_SYNC),
                (Caller::Watch, WATCH),
            ] {
                assert_eq!(
                    allowed(&users, verb, uid),
                    service == caller,
                    "{verb:?} by {service:?}"
                );
            }
            for stranger in [1, 563, 564, 565, 1000, 65534, u32::MAX] {
                assert!(!allowed(&users, verb, stranger), "{verb:?} by {stranger}");
            }
        }
    }

    #[test]
    fn every_verb_has_one_row() {
        for verb in [
            Verb::SetHostname,
            Verb::ReloadTimeSources,
            Verb::SetConnectionProfiles,
            Verb::SetDevelopmentMode,
            Verb::SetKernelParameters,
            Verb::SetProxy,
            Verb::SetWatchdog,
            Verb::ReloadJournal,
            Verb::SetJournalSync,
            Verb::SetUdevRules,
            Verb::SetTrustStore,
            Verb::SetRegulatoryDomain,
            Verb::SetJournalUpload,
            Verb::SetOpenVpn,
            Verb::ReadHandshakes,
            Verb::SetDnsFallback,
            Verb::SetMeteredPace,
            Verb::Repair,
            Verb::Reboot,
            Verb::FlushJournal,
            Verb::RelinquishJournal,
            Verb::TidyJournal,
            Verb::SyncJournal,
        ] {
            assert_eq!(TABLE.iter().filter(|row| row.0 == verb).count(), 1, "{verb:?}");
        }
    }

    #[test]
    fn a_user_that_does_not_exist_is_nobody() {
        let users = Users {
            config: None,
            journal: None,
            journal_sync: None,
            watch: None,
        };
        for (verb, _) in TABLE {
            assert!(!allowed(&users, verb, CONFIG) && !allowed(&users, verb, u32::MAX));
            assert!(allowed(&users, verb, 0));
        }
    }
}
