//! The kernel's own file systems.
//!
//! An initramfs hands them over mounted; without one (Raspberry Pi, BeagleBone) only `/dev` is there. systemd accepts
//! what it finds mounted.

use std::io;
use std::path::Path;

use nix::mount::{MsFlags, mount};

/// Mount point, file system type, flags beside nosuid, options: as systemd mounts them (src/shared/mount-setup.c).
const MOUNTS: [(&str, &str, MsFlags, Option<&str>); 4] = [
    ("/proc", "proc", MsFlags::MS_NOEXEC.union(MsFlags::MS_NODEV), None),
    ("/sys", "sysfs", MsFlags::MS_NOEXEC.union(MsFlags::MS_NODEV), None),
    ("/dev", "devtmpfs", MsFlags::MS_STRICTATIME, Some("mode=755")),
    (
        "/run",
        "tmpfs",
        MsFlags::MS_NODEV.union(MsFlags::MS_STRICTATIME),
        Some("mode=755,size=20%,nr_inodes=800k"),
    ),
];

/// Mounts those that are missing.
pub(crate) fn ensure() -> io::Result<()> {
    for (place, kind, flags, options) in MOUNTS {
        if !is_mount_point(Path::new(place))? {
            mount(Some(kind), place, Some(kind), flags | MsFlags::MS_NOSUID, options)
                .map_err(|error| io::Error::other(format!("{place}: {error}")))?;
        }
    }
    Ok(())
}

/// Whether something is mounted there: its device differs from that of the folder it is in.
///
/// Enough for different file systems; a bind mount of the same one is not seen.
pub(crate) fn is_mount_point(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let parent = path.parent().unwrap_or(Path::new("/"));
    Ok(std::fs::metadata(path)?.dev() != std::fs::metadata(parent)?.dev())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_a_mount_point() {
        assert!(is_mount_point(Path::new("/proc")).unwrap());
        assert!(!is_mount_point(Path::new("/proc/self")).unwrap());
    }
}
