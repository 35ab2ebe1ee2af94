//! The udev rules of the configuration, where udev reads them.
//!
//! In `/run`, so that they go with the power, and a rule that does harm is gone after a reboot unless the configuration
//! still has it. Ours are told by their ending, behind the name that decides about the order; only ours are ever
//! removed.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fleet_base::command::{self, run};
use fleet_base::file::{self, Durability};
use fleet_base::{paths, udev_rules};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::argument::RuleSet;

const SUFFIX: &str = udev_rules::OURS;
const MODE: u32 = 0o644;
/// Where rules are verified first: private to this unit (`PrivateTmp=`), so that udev sees none of it.
const STAGING: &str = "/tmp/udev";
/// A call of udevadm. Each takes milliseconds; a small board in its start takes its time.
const LIMIT: Duration = Duration::from_secs(3);
/// All calls of udevadm for one set of rules, and the wait for the set before. Callers wait for ten seconds.
const LIMIT_OF_ALL: Duration = Duration::from_secs(8);
/// The set that is being made: files, and what udev has read, must be of the same one.
static UNDER_WAY: Mutex<()> = Mutex::const_new(());
/// What a udevadm says that cannot verify.
const UNKNOWN_VERB: &str = "Unknown command verb";
/// The longest text of a rule file that is there already.
const MAX_OLD: u64 = 1 << 20;

/// What could not be done.
#[derive(Debug)]
pub(crate) enum Error {
    /// The folder could not be made or read.
    Folder(PathBuf, io::Error),
    /// A rule file could not be written or removed.
    File(file::Error),
    /// udevadm failed.
    Command(command::Error),
    /// Another set is being made.
    Busy,
    /// All together took longer than [`LIMIT_OF_ALL`].
    Late,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path, error) => write!(f, "cannot use {}: {error}", path.display()),
            Self::File(error) => error.fmt(f),
            Self::Command(error) => error.fmt(f),
            Self::Busy => f.write_str("other rules are being set; try again"),
            Self::Late => write!(f, "it took longer than {} s", LIMIT_OF_ALL.as_secs()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Folder(_, error) => Some(error),
            Self::File(error) => Some(error),
            Self::Command(error) => Some(error),
            Self::Busy | Self::Late => None,
        }
    }
}

impl From<file::Error> for Error {
    fn from(error: file::Error) -> Self {
        Self::File(error)
    }
}

impl From<command::Error> for Error {
    fn from(error: command::Error) -> Self {
        Self::Command(error)
    }
}

/// Makes the rules exactly these; returns for each why udev does not take it, an empty text if it does.
///
/// # Errors
/// See [`Error`]. What was done before stays done; the call may be repeated.
pub(crate) async fn set(rules: &RuleSet) -> Result<Vec<String>, Error> {
    let deadline = Instant::now() + LIMIT_OF_ALL;
    let _alone = timeout_at(deadline, UNDER_WAY.lock())
        .await
        .map_err(|_| Error::Busy)?;
    let refused = verify_all(rules, deadline).await?;
    let good: Vec<(&str, &str)> = rules
        .iter()
        .zip(&refused)
        .filter(|(_, reason)| reason.is_empty())
        .map(|(rule, _)| rule)
        .collect();
    let folder = Path::new(paths::UDEV_RULES);
    let changed = replace(folder, &good)?;
    if !changed.is_empty() {
        log::info!(
            "udev rule files of the configuration changed; {} are there",
            good.len()
        );
        if let Err(error) = announce(&changed, deadline).await {
            // Or the next call would find nothing to do.
            replace(folder, &[])?;
            return Err(error);
        }
    }
    Ok(refused)
}

/// Makes udev read its rules again, and look at the devices that the changed ones are about.
async fn announce(changed: &[String], deadline: Instant) -> Result<(), Error> {
    udevadm(&["control", "--reload"], deadline).await?;
    trigger(changed, deadline).await
}

/// Runs it, for no longer than is left.
async fn udevadm(arguments: &[&str], deadline: Instant) -> Result<(), Error> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Error::Late);
    }
    Ok(run("udevadm", arguments, LIMIT.min(left)).await?)
}

/// Asks udev itself (udevadm(8), since systemd 254) why it would not take each; an empty text if it does. Names of users
/// and groups that do not exist count.
async fn verify_all(rules: &RuleSet, deadline: Instant) -> Result<Vec<String>, Error> {
    let staging = Path::new(STAGING);
    std::fs::create_dir_all(staging).map_err(|error| Error::Folder(staging.to_owned(), error))?;
    let mut paths = Vec::new();
    for (name, text) in rules.iter() {
        let path = staging.join(format!("{name}.rules"));
        file::write(&path, text.as_bytes(), MODE, Durability::Volatile)?;
        paths.push(path.to_string_lossy().into_owned());
    }
    let mut refused = vec![String::new(); paths.len()];
    // All at once; one by one only to find out which it is.
    if !paths.is_empty() && !verify(&paths, deadline).await?.is_empty() {
        for (reason, path) in refused.iter_mut().zip(&paths) {
            *reason = verify(std::slice::from_ref(path), deadline).await?;
            if !reason.is_empty() {
                log::warn!("udev does not take a rule file: {reason}");
            }
        }
    }
    std::fs::remove_dir_all(staging).map_err(|error| Error::Folder(staging.to_owned(), error))?;
    Ok(refused)
}

/// What udev says against files.
async fn verify(paths: &[String], deadline: Instant) -> Result<String, Error> {
    let mut arguments = vec!["verify", "--no-style", "--no-summary"];
    arguments.extend(paths.iter().map(String::as_str));
    match udevadm(&arguments, deadline).await {
        Ok(()) => Ok(String::new()),
        Err(Error::Command(command::Error::Failed(_, _, said))) if cannot_verify(&said) => {
            log::info!("this udevadm cannot verify rules; udev takes them as they are");
            Ok(String::new())
        }
        Err(Error::Command(command::Error::Failed(_, _, said))) => {
            Ok(said.replace(&format!("{STAGING}/"), ""))
        }
        Err(error) => Err(error),
    }
}

/// Whether udevadm is older than 254. What it says of rules has their text, but begins with the name of the file.
fn cannot_verify(said: &str) -> bool {
    said.starts_with(UNKNOWN_VERB)
}

/// Makes the files of ours in `folder` exactly these. Returns the texts that came, went or changed: both, where one
/// took the place of another.
fn replace(folder: &Path, rules: &[(&str, &str)]) -> Result<Vec<String>, Error> {
    let in_folder = |error| Error::Folder(folder.to_owned(), error);
    let mut changed = Vec::new();
    let mut old = |path: &Path| {
        if let Ok(bytes) = file::read(path, MAX_OLD) {
            changed.push(String::from_utf8_lossy(&bytes).into_owned());
        }
    };
    let mut wanted = HashSet::new();
    let mut written = Vec::new();
    for (name, text) in rules {
        let name = format!("{name}{SUFFIX}");
        let path = folder.join(&name);
        if !file::read(&path, MAX_OLD).is_ok_and(|bytes| bytes == text.as_bytes()) {
            std::fs::create_dir_all(folder).map_err(in_folder)?;
            old(&path);
            file::write(&path, text.as_bytes(), MODE, Durability::Volatile)?;
            written.push((*text).to_owned());
        }
        wanted.insert(OsString::from(name));
    }
    let names = match file::names(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        names => names.map_err(in_folder)?,
    };
    for name in names {
        if name.as_encoded_bytes().ends_with(SUFFIX.as_bytes()) && !wanted.contains(&name) {
            let path = folder.join(&name);
            old(&path);
            file::remove(&path, Durability::Volatile)?;
        }
    }
    changed.extend(written);
    Ok(changed)
}

/// Tells the kernel to announce the devices again that these rules are about: as a change, so that nothing is set up
/// anew, and only the subsystems that the rules name, where they do.
async fn trigger(changed: &[String], deadline: Instant) -> Result<(), Error> {
    let subsystems: Option<Vec<Vec<String>>> =
        changed.iter().map(|text| udev_rules::subsystems(text)).collect();
    let mut options: Vec<String> = vec!["--action=change".to_owned()];
    match subsystems.map(|all| all.concat()) {
        // Comments only.
        Some(named) if named.is_empty() => return Ok(()),
        Some(named) => options.extend(named.iter().map(|name| format!("--subsystem-match={name}"))),
        None => {}
    }
    let mut arguments = vec!["trigger"];
    arguments.extend(options.iter().map(String::as_str));
    udevadm(&arguments, deadline).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_cannot_say_that_udevadm_is_old() {
        assert!(cannot_verify("Unknown command verb verify."));
        assert!(cannot_verify("Unknown command verb 'verify'."));
        assert!(!cannot_verify(
            "/tmp/udev/56.rules:1 Unknown user 'Unknown command verb', ignoring."
        ));
        assert!(!cannot_verify(""));
    }

    #[tokio::test(start_paused = true)]
    async fn waits_for_the_set_before_and_no_longer_than_callers() {
        let rules = RuleSet::new(Vec::new(), false).unwrap();
        let _other = UNDER_WAY.lock().await;
        let begin = Instant::now();
        assert!(matches!(set(&rules).await, Err(Error::Busy)));
        assert!(begin.elapsed() < Duration::from_secs(10));
        assert!(matches!(udevadm(&["control"], begin).await, Err(Error::Late)));
    }

    #[test]
    fn makes_the_set_exact_and_leaves_others_alone() {
        let run = tempfile::tempdir().unwrap();
        let folder = run.path().join("rules.d");
        assert_eq!(replace(&folder, &[]).unwrap(), [""; 0]);
        assert!(!folder.exists(), "nothing is made for nothing");

        assert_eq!(replace(&folder, &[("56", "a"), ("57", "b")]).unwrap(), ["a", "b"]);
        std::fs::write(folder.join("61-fleet-disk.rules"), "x").unwrap();
        std::fs::write(folder.join("56.rules"), "x").unwrap();
        assert_eq!(replace(&folder, &[("56", "a"), ("57", "b")]).unwrap(), [""; 0]);
        assert_eq!(replace(&folder, &[("56", "c")]).unwrap(), ["a", "b", "c"]);
        assert_eq!(
            file::names(&folder).unwrap(),
            ["56.fleet.rules", "56.rules", "61-fleet-disk.rules"]
        );
        assert_eq!(replace(&folder, &[]).unwrap(), ["c"]);
        assert_eq!(file::names(&folder).unwrap(), ["56.rules", "61-fleet-disk.rules"]);
    }
}
