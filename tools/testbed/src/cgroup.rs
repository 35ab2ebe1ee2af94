//! A run's control group: the guest's systemd needs one of its own, and it is the last handle on processes that
//! escaped everything else. Only the unified hierarchy is used; a hybrid host is fine.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long killed processes may take to leave their group.
const LEAVING: Duration = Duration::from_secs(5);

/// The directories of one group: the unified one first, then the same path in systemd's own legacy hierarchy,
/// where systemd-nspawn makes a twin on a hybrid host.
#[derive(Debug, Clone)]
pub(crate) struct Cgroup {
    unified: PathBuf,
    twin: Option<PathBuf>,
}

impl Cgroup {
    /// The group `name` below the caller's own one; nothing is created yet.
    pub(crate) fn below_own(name: &str) -> Result<Self> {
        let mounts =
            fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
        let own = fs::read_to_string("/proc/self/cgroup").context("cannot read /proc/self/cgroup")?;
        let Some(mount) = mount_point(&mounts, "cgroup2", None) else {
            bail!(
                "no cgroup2 file system is mounted: the guest's systemd needs one, see mount(8) and cgroups(7)"
            );
        };
        let relative = own_path(&own).join(name);
        Ok(Self {
            unified: mount.join(&relative),
            twin: mount_point(&mounts, "cgroup", Some("name=systemd")).map(|mount| mount.join(&relative)),
        })
    }

    /// A group that an earlier run has written down with [`Cgroup::lines`].
    pub(crate) fn from_lines(lines: &str) -> Option<Self> {
        let mut paths = lines.lines().map(PathBuf::from);
        Some(Self {
            unified: paths.next()?,
            twin: paths.next(),
        })
    }

    /// The group's directories, one a line.
    pub(crate) fn lines(&self) -> String {
        let mut lines = format!("{}\n", self.unified.display());
        if let Some(twin) = &self.twin {
            lines.push_str(&format!("{}\n", twin.display()));
        }
        lines
    }

    /// The group around this one, where a member goes that has to outlive it.
    pub(crate) fn outside(&self) -> PathBuf {
        self.unified
            .parent()
            .map_or_else(|| self.unified.clone(), Path::to_owned)
    }

    /// Makes the child group `name` and returns its directory.
    pub(crate) fn child(&self, name: &str) -> Result<PathBuf> {
        let path = self.unified.join(name);
        fs::create_dir_all(&path)
            .with_context(|| format!("cannot create the control group {}", path.display()))?;
        Ok(path)
    }

    /// Removes the group with all its children, and kills what does not leave it. Does nothing if it is gone.
    pub(crate) fn remove(&self) -> Result<()> {
        let started = Instant::now();
        let deadline = started + LEAVING;
        loop {
            // Not at once: an nsenter in the group is about to reap what it started, and to end by itself.
            if started.elapsed() > LEAVING / 4 {
                // ENOENT: gone already, or a kernel before 5.14.
                let _ = fs::write(self.unified.join("cgroup.kill"), "1");
            }
            let left = [Some(&self.unified), self.twin.as_ref()]
                .into_iter()
                .flatten()
                .find_map(|path| remove_tree(path).err().map(|error| (path, error)));
            match left {
                None => return Ok(()),
                Some((path, error)) if Instant::now() >= deadline => {
                    return Err(error)
                        .with_context(|| format!("cannot remove the control group {}", path.display()));
                }
                Some(_) => thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

/// Moves the calling process into the group in `directory`.
pub(crate) fn join(directory: &Path) -> Result<()> {
    fs::write(directory.join("cgroup.procs"), "0")
        .with_context(|| format!("cannot enter the control group {}", directory.display()))
}

/// Removes a directory of groups, the deepest first: rmdir is the only way, files in it are the kernel's.
fn remove_tree(path: &Path) -> std::io::Result<()> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Where a file system of `kind` is mounted, with `option` among its super block options; see proc(5).
fn mount_point(mountinfo: &str, kind: &str, option: Option<&str>) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut file_system = file_system.split(' ');
        let found = file_system.next()? == kind;
        let options = file_system.nth(1)?;
        let wanted = option.is_none_or(|wanted| options.split(',').any(|option| option == wanted));
        (found && wanted).then(|| mount.split(' ').nth(4).map(PathBuf::from))?
    })
}

/// The caller's place in the unified hierarchy, relative to its root.
fn own_path(cgroups: &str) -> PathBuf {
    let path = cgroups
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .unwrap_or("/");
    PathBuf::from(path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
24 22 0:21 / /sys rw - sysfs sysfs rw
30 24 0:27 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd
31 24 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
32 24 0:29 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw
";

    #[test]
    fn hierarchies_of_a_hybrid_host_are_found() {
        assert_eq!(
            mount_point(HYBRID, "cgroup2", None),
            Some("/sys/fs/cgroup/unified".into())
        );
        assert_eq!(
            mount_point(HYBRID, "cgroup", Some("name=systemd")),
            Some("/sys/fs/cgroup/systemd".into())
        );
        assert_eq!(mount_point(HYBRID, "cgroup", Some("pids")), None);
    }

    #[test]
    fn own_place_is_the_unified_line() {
        assert_eq!(
            own_path("4:memory:/a\n0::/user.slice/x.scope\n"),
            PathBuf::from("user.slice/x.scope")
        );
        assert_eq!(own_path("0::/\n"), PathBuf::from(""));
    }

    #[test]
    fn lines_survive_a_round_trip() {
        let group = Cgroup {
            unified: "/a".into(),
            twin: Some("/b".into()),
        };
        assert_eq!(
            Cgroup::from_lines(&group.lines()).map(|group| group.lines()),
            Some(group.lines())
        );
    }
}
