//! Where everything is that the service reads and writes.
//!
//! In one place, so that a test gives temporary folders.

use std::path::PathBuf;

use fleet_base::paths;
use fleet_journal::keeper::Keeper;

/// Where everything is.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// The boot partition.
    pub(crate) boot: PathBuf,
    /// The store.
    pub(crate) state: PathBuf,
    /// Rendered files and the report.
    pub(crate) run: PathBuf,
    /// Product defaults.
    pub(crate) defaults: PathBuf,
    /// The evidence of the board.
    pub(crate) board: PathBuf,
    /// What the helper remembers.
    pub(crate) helper: PathBuf,
    /// Each exists if the journal is stored, or shall be: at the next boot, for a time, now.
    pub(crate) journal: [PathBuf; 3],
    /// Who looks after a stored journal.
    pub(crate) journal_keeper: Option<Keeper>,
    /// The certificates that programs trust.
    pub(crate) certificates: PathBuf,
    /// The executable that looks into certificates.
    pub(crate) certificate_checker: String,
    /// Where udev reads rules that live for one boot.
    pub(crate) udev_rules: PathBuf,
    /// udevd's socket.
    pub(crate) udev_control: PathBuf,
    /// What `fleet-regdomain` read back.
    pub(crate) regulatory_domain: PathBuf,
}

impl Places {
    /// Those of a device.
    pub(crate) fn device() -> Self {
        Self {
            boot: paths::BOOT.into(),
            state: paths::STATE_CONFIG.into(),
            run: paths::RUN_CONFIG.into(),
            defaults: paths::DEFAULTS.into(),
            board: paths::RUN_BOARD.into(),
            helper: paths::RUN_HELPER.into(),
            journal: [paths::JOURNAL_FLAG, paths::JOURNAL_CALL, paths::JOURNAL_FLUSHED].map(Into::into),
            journal_keeper: Some(Keeper::device()),
            certificates: paths::CERTIFICATES.into(),
            certificate_checker: paths::CERTIFICATE_CHECKER.to_owned(),
            udev_rules: paths::UDEV_RULES.into(),
            udev_control: paths::UDEV_CONTROL.into(),
            regulatory_domain: paths::REGULATORY_DOMAIN.into(),
        }
    }

    /// Whether the helper never changed this thing, so that what it takes back is nothing. Looking saves starting it at
    /// every boot.
    pub(crate) fn is_untouched(&self, thing: &str) -> bool {
        matches!(self.helper.join(thing).try_exists(), Ok(false))
    }

    /// Whether nothing ever asked for a stored journal; otherwise the journal service is told what the configuration
    /// says, and looks after it. Looking saves starting it at every boot.
    pub(crate) fn journal_is_volatile(&self) -> bool {
        self.journal
            .iter()
            .all(|path| matches!(path.try_exists(), Ok(false)))
    }
}
