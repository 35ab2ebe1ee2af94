//! What the kernel tells of the data partition without being asked: a mount, and an error of its file system.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// More than a number has.
const MOST: u64 = 64;

/// Waits for what changes the data partition; what cannot be waited for never rings.
pub(crate) struct Alarm {
    /// `/proc/self/mountinfo`: POLLPRI on a change (proc_pid_mountinfo(5)).
    mounts: Option<AsyncFd<File>>,
    /// The count of errors in sysfs: POLLPRI when it is another than was read.
    errors: Option<AsyncFd<File>>,
}

impl Alarm {
    /// From now on. Must be called inside a tokio runtime.
    pub(crate) fn set(mounts: &Path, errors: Option<&Path>) -> Self {
        let watched = |path: &Path| {
            let watched = watch(path);
            watched
                .inspect_err(|error| log::debug!("cannot wait for {}: {error}", path.display()))
                .ok()
        };
        Self {
            mounts: watched(mounts),
            errors: errors.and_then(watched),
        }
    }

    /// Returns when something changed since it was set.
    pub(crate) async fn rings(&self) {
        tokio::select! {
            () = ready(self.mounts.as_ref()) => {}
            () = ready(self.errors.as_ref()) => {}
        }
    }
}

#[expect(
    deprecated,
    reason = "the successor is unsafe; a File owns its descriptor and keeps it open"
)]
fn watch(path: &Path) -> io::Result<AsyncFd<File>> {
    let mut file = File::open(path)?;
    // Files of sysfs tell of changes since they were read.
    io::copy(&mut (&mut file).take(MOST), &mut io::sink())?;
    AsyncFd::with_interest(file, Interest::PRIORITY)
}

async fn ready(file: Option<&AsyncFd<File>>) {
    let ready = match file {
        Some(file) => file.ready(Interest::PRIORITY).await.is_ok(),
        None => false,
    };
    if !ready {
        std::future::pending().await
    }
}
