//! The kernel's own file systems.
//!
//! An initramfs hands them over mounted; without one (Raspberry Pi, BeagleBone) only `/dev` is there. systemd accepts
//! what it finds mounted.

use std::io;
use std::path::Path;

use fleet_base::mount_point;
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
        if !mount_point::is_one(Path::new(place))? {
            mount(Some(kind), place, Some(kind), flags | MsFlags::MS_NOSUID, options)
                .map_err(|error| io::Error::other(format!("{place}: {error}")))?;
        }
    }
    Ok(())
}
