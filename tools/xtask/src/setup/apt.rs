//! `apt-get install`, on Debian 12 with QEMU from bookworm-backports.
//!
//! Debian 12's own QEMU cannot be installed beside a qemu-utils from backports, and is two years older; so there it
//! comes from backports always. The suite is added at run time, from the machine's own mirror.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};

use super::sources::{self, Source};

/// Where the added suite is written.
const BACKPORTS_FILE: &str = "/etc/apt/sources.list.d/fleet-backports.sources";
/// Package lists older than this are fetched anew before something is installed.
const STALE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How many lines of apt-get's output are shown when it failed.
const TAIL: usize = 15;
/// What comes from bookworm-backports on Debian 12.
const FROM_BACKPORTS: &[&str] = &["qemu-system-arm", "qemu-system-x86", "qemu-utils"];

/// Installs `packages` without recommended ones. Needs root.
pub(super) fn install(packages: &[&str]) -> anyhow::Result<()> {
    eprintln!("setup: installing {}", packages.join(" "));
    let bookworm = codename().as_deref() == Some("bookworm");
    let (from_backports, ordinary): (Vec<&str>, Vec<&str>) = packages
        .iter()
        .partition(|name| bookworm && FROM_BACKPORTS.contains(name));

    let added = !from_backports.is_empty() && add_backports()?;
    if added || lists_are_stale() {
        apt_get(&["update"])?;
    }
    install_from(None, &ordinary)?;
    install_from(Some("bookworm-backports"), &from_backports)
}

/// Tries once more with fresh lists: a mirror drops a package's old version when a new one comes.
fn install_from(suite: Option<&str>, packages: &[&str]) -> anyhow::Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    if let Some(suite) = suite {
        arguments.extend(["--target-release", suite]);
    }
    arguments.extend(packages);
    if apt_get(&arguments).is_err() {
        apt_get(&["update"])?;
        apt_get(&arguments)?;
    }
    Ok(())
}

fn apt_get(arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("apt-get")
        .args(["-qq", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .output()
        .context("cannot run apt-get")?;
    if !output.status.success() {
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL)..].join("\n");
        bail!(
            "apt-get {} failed ({}); the end of what it said:\n{tail}",
            arguments.join(" "),
            output.status
        );
    }
    Ok(())
}

/// Adds bookworm-backports from the mirror that bookworm comes from. False if the machine has the suite already.
fn add_backports() -> anyhow::Result<bool> {
    let all = sources::read()?;
    if all
        .iter()
        .any(|source| source.suites.iter().any(|suite| suite == "bookworm-backports"))
    {
        return Ok(false);
    }
    let Some(main) = all
        .iter()
        .find(|source| source.suites.iter().any(|suite| suite == "bookworm"))
    else {
        bail!(
            "apt's sources have no suite bookworm, so its backports cannot be found; add bookworm-backports to them"
        );
    };
    let backports = Source {
        suites: vec!["bookworm-backports".into()],
        components: vec!["main".into()],
        ..main.clone()
    };
    fs::write(BACKPORTS_FILE, backports.to_deb822())
        .with_context(|| format!("cannot write {BACKPORTS_FILE}"))?;
    eprintln!("setup: added bookworm-backports in {BACKPORTS_FILE}");
    Ok(true)
}

/// `VERSION_CODENAME` of os-release(5).
fn codename() -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
        .map(|value| value.trim_matches('"').to_owned())
}

/// Whether no package list is younger than [`STALE`]; container images come with none.
fn lists_are_stale() -> bool {
    let Ok(entries) = fs::read_dir(Path::new("/var/lib/apt/lists")) else {
        return true;
    };
    let now = SystemTime::now();
    !entries.filter_map(Result::ok).any(|entry| {
        // ctime says when apt fetched the list; its mtime is the mirror's.
        let fetched = entry
            .metadata()
            .ok()
            .and_then(|data| u64::try_from(data.ctime()).ok());
        let age = fetched.and_then(|at| {
            now.duration_since(SystemTime::UNIX_EPOCH + Duration::from_secs(at))
                .ok()
        });
        entry.file_name().to_string_lossy().contains("_Packages") && age.is_some_and(|age| age < STALE)
    })
}
